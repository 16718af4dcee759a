"""The report of an open-loop comparison: one HTML file with its pictures inside, and the pictures beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mbrl_ros.core.layout import STATE
from mbrl_ros.evaluation import report_pictures as pictures
from mbrl_ros.evaluation.comparison import BASELINES, BagComparison
from mbrl_ros.evaluation.picture_style import save_png

_PICTURES = {"errors": pictures.draw_errors, "map": pictures.draw_map, "moments": pictures.draw_moments}


def write_report(comparisons: Mapping[str, BagComparison], folder: str | Path) -> Path:
    """Write ``folder/report.html`` and ``folder/BAG-errors|map|moments.png``; the path of the former.

    Args:
        comparisons: by the name that the report gives to the recording.
        folder: made if need be; what is there is replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    bags = []
    for name, comparison in comparisons.items():
        images = {}
        for kind, draw in _PICTURES.items():
            file = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}-{kind}.png"
            images[kind] = save_png(draw(comparison), folder / file)
        bags.append(_facts(name, comparison) | {"images": images})
    environment = Environment(
        loader=PackageLoader("mbrl_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    path = folder / "report.html"
    path.write_text(environment.get_template("report.html.j2").render(bags=bags), encoding="utf-8")
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
        "rmse": [(s.model, [s.rmse.get(n) for n in columns]) for s in comparison.scores if s.horizon_s == horizons[-1]],
        "lead": pictures.lead(comparison),
    }


def _span(interval: tuple[float, float], start_s: float, end_s: float) -> str:
    low, high = max(interval[0], start_s) - start_s, min(interval[1], end_s) - start_s
    return f"{low:.1f} to {high:.1f} s"
