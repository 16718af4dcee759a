"""The report of an open-loop comparison: one HTML file with its pictures inside, and the pictures beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mbrl_ros.core.files import write_whole
from mbrl_ros.core.layout import STATE
from mbrl_ros.evaluation import report_pictures as pictures
from mbrl_ros.evaluation.comparison import BASELINES, BagComparison, Progress
from mbrl_ros.evaluation.coverage import EVERYWHERE
from mbrl_ros.evaluation.moment_pictures import draw_moments
from mbrl_ros.evaluation.picture_style import save_png
from mbrl_ros.evaluation.regime_pictures import draw_calibration, draw_regimes
from mbrl_ros.evaluation.timing import ROLLOUTS, STEPS

_PICTURES = {
    "errors": pictures.draw_errors,
    "map": pictures.draw_map,
    "moments": draw_moments,
    "regimes": draw_regimes,
    "states": pictures.draw_states,
    "calibration": draw_calibration,
}


def write_report(
    comparisons: Mapping[str, BagComparison],
    rollout_times_s: Mapping[str, float],
    folder: str | Path,
    progress: Progress | None = None,
) -> Path:
    """Write ``folder/report.html`` and its pictures, ``folder/BAG-errors.png`` and so on; the path of the former.

    Args:
        comparisons: by the name that the report gives to the recording.
        rollout_times_s: by model, see `timing.rollout_time_s`.
        folder: made if need be; what is there is replaced.
        progress: told before each recording that it is drawn.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    bags = []
    for name, comparison in comparisons.items():
        if progress is not None:
            progress(f"pictures of {name}")
        images = {}
        for kind, draw in _PICTURES.items():
            if kind == "calibration" and not comparison.coverage:
                continue
            file = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}-{kind}.png"
            images[kind] = save_png(draw(comparison), folder / file)
        bags.append(_facts(name, comparison) | {"images": images})
    environment = Environment(
        loader=PackageLoader("mbrl_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    path = folder / "report.html"
    page = environment.get_template("report.html.j2").render(
        bags=bags,
        models=list(dict.fromkeys(row["model"] for bag in bags for row in bag["rows"])),
        times_ms={name: 1e3 * time_s for name, time_s in rollout_times_s.items()},
        plan=(ROLLOUTS, STEPS),
    )
    write_whole(path, page)
    return path


def _facts(name: str, comparison: BagComparison) -> dict[str, Any]:
    drive, windows = comparison.drive, comparison.windows
    horizons = sorted({score.horizon_s for score in comparison.scores})
    best = {
        h: min((s.ade_m for s in comparison.scores if s.horizon_s == h and s.model != "floor"), default=math.inf)
        for h in horizons
    }
    columns = [n for n in STATE.names if n not in ("x", "y") and any(n in s.rmse for s in comparison.scores)]
    return {
        "name": name,
        "source": drive.source,
        "sha256": drive.source_hash,
        "seconds": sum(len(segment) * drive.dt for segment in drive.segments),
        "rate_hz": 1 / drive.dt,
        "segments": len(drive.segments),
        "topics": drive.topics,
        "min_speed": comparison.min_speed,
        "starts": len(windows),
        "held_out": [_span(interval, drive.start_s, drive.end_s) for interval in comparison.held_out],
        "notes": [*comparison.notes, *drive.notes],
        "horizons": horizons,
        "counts": {h: next(s.starts for s in comparison.scores if s.horizon_s == h) for h in horizons},
        "rows": [
            {
                "model": model,
                "baseline": model in BASELINES,
                "scores": [
                    {"score": s, "best": s.ade_m == best[s.horizon_s]} for s in comparison.scores if s.model == model
                ],
            }
            for model in comparison.predicted
        ],
        "columns": [(n, STATE.unit(n)) for n in columns],
        "rmse": {
            h: [(s.model, [s.rmse.get(n) for n in columns]) for s in comparison.scores if s.horizon_s == h]
            for h in horizons
        },
        "novel": _novel(comparison),
        "lead": pictures.lead(comparison),
    }


def _novel(comparison: BagComparison) -> dict[str, float]:
    """Share of the starts that a model calls novel, by model that says so."""
    return {c.model: c.novel for c in comparison.coverage if c.regime == EVERYWHERE}


def _span(interval: tuple[float, float], start_s: float, end_s: float) -> str:
    low, high = max(interval[0], start_s) - start_s, min(interval[1], end_s) - start_s
    return f"{low:.1f} to {high:.1f} s"
