"""The report of a planner in a recording's shadow: figures and pictures in one HTML file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from mbrl_ros.core.files import write_whole
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.agreement import Agreement
from mbrl_ros.evaluation.iteration_pictures import draw_iterations
from mbrl_ros.evaluation.picture_style import save_png
from mbrl_ros.evaluation.shadow import Shadowed
from mbrl_ros.evaluation.shadow_pictures import pictures
from mbrl_ros.evaluation.shadow_score import Band
from mbrl_ros.planning.ddp import Solution

Row = tuple[str, Sequence[str]]
"""A figure's name, and its value for each band."""

_ACTIONS = ACTIONS["acceleration"]


def rows(bands: Sequence[Band]) -> list[Row]:
    """The figures of a table whose columns are ``bands``."""
    listed: list[Row] = [
        ("speed [m/s]", ["{:.1f}–{:.1f}".format(*np.round(band.speed_mps, 1) + 0.0) for band in bands]),
        ("cycles with a plan", [str(band.cycles) for band in bands]),
    ]
    for when, found in (
        ("now", [band.instant for band in bands]),
        ("0.5 s", [band.ahead for band in bands]),
    ):
        listed += _agreement_rows(when, found)
    for k, path in enumerate(bands[0].paths):
        of_band = [band.paths[k] for band in bands]
        listed += [
            (f"path, {path.horizon_s:g} s [m]", [_shown(p.rms_m, 3) for p in of_band]),
            ("  ahead, mean [m]", [_shown(p.ahead_m, 3, "+") for p in of_band]),
            ("  left, mean [m]", [_shown(p.left_m, 3, "+") for p in of_band]),
        ]
    for term in bands[0].costs:
        listed.append((f"cost: {term}", [_shown(band.costs[term], 3) for band in bands]))
    return listed


def write_shadow_report(
    folder: Path,
    title: str,
    facts: Mapping[str, str],
    bands: Sequence[Band],
    track: Track,
    shadowed: Shadowed,
    planner: str,
    optimised: Solution | None = None,
) -> Path:
    """Write ``folder/report.html`` and a PNG per picture; the path of the former.

    Args:
        folder: made if need be; what is there is replaced.
        title: heading.
        facts: what was replayed, and with what.
        bands: see `shadow_score.score`.
        track: what was driven on.
        shadowed: what the pictures are of.
        planner: its name in pictures.
        optimised: an optimisation to be shown iteration by iteration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = list(pictures(track, shadowed, planner))
    if optimised is not None:
        drawn.append(("iterations", draw_iterations(optimised, "Where they disagree most, planned anew", track)))
    images = {name: save_png(figure, folder / f"{name}.png") for name, figure in drawn}
    environment = Environment(
        loader=PackageLoader("mbrl_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("shadow_report.html.j2").render(
        title=title,
        facts=facts,
        columns=[band.name for band in bands],
        rows=rows(bands),
        notes=shadowed.recorded.notes,
        images=images,
    )
    path = folder / "report.html"
    write_whole(path, page)
    return path


def _agreement_rows(when: str, found: Sequence[Agreement]) -> list[Row]:
    listed: list[Row] = []
    for k, (name, unit) in enumerate(zip(("steering", "acceleration"), _ACTIONS.units, strict=True)):
        listed += [
            (f"{name}, {when} [{unit}]", [_shown(a.rms[k], 4) for a in found]),
            ("  mean", [_shown(a.bias[k], 4, "+") for a in found]),
            ("  correlation", [_shown(a.correlation[k], 3, "+") for a in found]),
        ]
    return listed


def _shown(value: float, decimals: int, sign: str = "") -> str:
    return f"{value:{sign}.{decimals}f}" if math.isfinite(value) else "–"
