"""What the demo says in the end: its drives side by side, in a table, a report with pictures, and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from mbrl_ros.bringup.newcomer import HELD_OUT, HORIZON_S
from mbrl_ros.cli.drive import Outcome
from mbrl_ros.cli.figures import shown
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, VX, YAW, X, Y
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.comparison import BagComparison, compare
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.evaluation.drive_pictures import fan, laps_by_distance, speed_maps
from mbrl_ros.evaluation.drive_report import Row, write_drive_report
from mbrl_ros.evaluation.report_pictures import draw_errors
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner, Problem


@dataclass(frozen=True)
class Run:
    """One drive of the demo, and the model that it was planned with."""

    name: str
    model: LoadedModel
    outcome: Outcome


def write(
    console: Console,
    folder: Path,
    vehicle: Vehicle,
    track: Track,
    runs: Sequence[Run],
    recorded: Sequence[Drive],
    verdict: str,
    planner: Planner,
) -> dict[str, Any]:
    """Print the table and write the report; returns the figures of each drive by its model's name.

    Args:
        console: where to print.
        folder: of the demo.
        vehicle: the car.
        track: what it drove on.
        runs: the drives, in order.
        recorded: the drives on whose held-out parts every model is scored, at the step of the learned one.
        verdict: on the learned model, a sentence.
        planner: that of the last drive, ready to plan.
    """
    models = {run.name: run.model for run in runs}
    comparisons = compare(models, recorded, split=HELD_OUT, horizons_s=(0.1, 0.5, HORIZON_S))
    errors_m = {name: {_bag(c): _error_m(c, name) for c in comparisons} for name in models}
    rows = _rows(runs, errors_m)
    log = runs[-1].outcome.log
    pictures = {
        "Speed around the track": speed_maps(track, [(run.name, run.outcome.log) for run in runs]),
        "A lap of each drive": laps_by_distance(track, [(run.name, run.outcome.log) for run in runs]),
        "One planning cycle": _fan(planner, vehicle, track, log),
        "Open loop error by horizon": draw_errors(comparisons[-1]),
    }
    report = write_drive_report(
        folder / "report", "mbrl_ros: a car that learns from its drives", list(models), rows, pictures, [verdict]
    )
    console.print()
    console.print(_table(rows, list(models)))
    console.print(f"report with pictures: {report}", highlight=False, soft_wrap=True)
    return {
        run.name: {**run.outcome.summary.to_json(), "pace": run.outcome.pace, "model_error_m": errors_m[run.name]}
        for run in runs
    }


def _bag(comparison: BagComparison) -> str:
    return Path(comparison.drive.source).resolve().name


def _error_m(comparison: BagComparison, model: str) -> float:
    return next(s.fde_m for s in comparison.scores if s.model == model and s.horizon_s == HORIZON_S)


def _rows(runs: Sequence[Run], errors_m: dict[str, dict[str, float]]) -> list[Row]:
    summaries = [run.outcome.summary for run in runs]
    every_lap = [summary.laps for summary in summaries]
    return [
        ("lap times", [", ".join(f"{lap.time_s:.2f} s" for lap in laps) for laps in every_lap]),
        (
            "laps without leaving the track",
            [f"{sum(lap.exits == 0 for lap in laps)} of {len(laps)}" for laps in every_lap],
        ),
        ("lateral error, mean", [_metres(np.mean, [lap.mean_lateral_m for lap in laps]) for laps in every_lap]),
        ("lateral error, max", [_metres(np.max, [lap.max_lateral_m for lap in laps]) for laps in every_lap]),
        ("top speed", [f"{summary.top_speed_mps:.2f} m/s" for summary in summaries]),
        ("control cycles in their slot", [f"{100 * summary.control_rate_kept:.2f} %" for summary in summaries]),
        ("simulated seconds per second", [shown(run.outcome.pace, 2) for run in runs]),
        ("solve time, p50 / p99", [f"{s.solve_p50_ms:.2f} / {s.solve_p99_ms:.2f} ms" for s in summaries]),
        ("estimated position, RMSE", [f"{summary.estimator_position_rmse_m:.4f} m" for summary in summaries]),
        *(
            (
                f"model's position error after {HORIZON_S:g} s, held out of {bag}",
                [f"{errors_m[run.name][bag]:.4f} m" for run in runs],
            )
            for bag in errors_m[runs[0].name]
        ),
    ]


def _metres(of: Callable[[Sequence[float]], float], values: Sequence[float]) -> str:
    return f"{of(values):.3f} m"


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    table = Table(title="drive by drive")
    for name in ("", *columns):
        table.add_column(name)
    for name, values in rows:
        table.add_row(name, *values)
    return table


def _fan(planner: Planner, vehicle: Vehicle, track: Track, log: DriveLog) -> Figure:
    """The candidates of a planning cycle at the fastest moment of a drive, planned again."""
    stamp_s, state = max(log.estimates, key=lambda estimate: float(estimate[1][VX]))
    history = CommandHistory(state[[STEERING_ANGLE, ACCELERATION]])
    for _ in range(10):  # a drive's plan has the previous one to begin with, too
        plan = planner.plan(Problem(state, stamp_s, history))
    states, costs = planner.candidates(256)
    assert plan.states is not None  # noqa: S101  # planners predict
    return fan(
        track,
        vehicle,
        states[..., [X, Y]],
        costs,
        plan.states[:, [X, Y, YAW]],
        f"A plan at {state[VX]:.1f} m/s over {plan.end_s - plan.stamp_s:.1f} s, and {len(costs)} of its candidates",
    )
