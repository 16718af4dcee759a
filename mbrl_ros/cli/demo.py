"""`mbrl demo`: drive, record, fit, drive again, report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mbrl_ros.bringup.graph import SimulationOptions, config_file
from mbrl_ros.cli.drive import Outcome, run_drive
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.fit import fit_with_progress
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.layout import VX, X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import BagComparison, compare
from mbrl_ros.evaluation.drive_pictures import fan, speed_maps
from mbrl_ros.evaluation.drive_report import Row, write_drive_report
from mbrl_ros.evaluation.fitting import start_model
from mbrl_ros.evaluation.report_pictures import draw_errors
from mbrl_ros.models import passport
from mbrl_ros.models.identification import Options
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.racing import racing_mppi
from mbrl_ros.planning.settings import RacingPlannerSettings

VEHICLE = "f1tenth"
NOMINAL_PLANNER, FITTED_PLANNER = "mppi_f1tenth", "mppi_f1tenth_grip"
TRACK = TrackSettings(
    length_m=70.0, corners=9, min_radius_m=1.2, max_radius_m=4.0, min_half_width_m=0.75, max_half_width_m=1.0, gap_m=0.3
)
HELD_OUT = "time:0.7"
HORIZON_S = 1.0
LONGEST_DRIVE_S = 240.0


@dataclass(frozen=True)
class Run:
    """One drive of the demo, and the error of the model it was planned with on the recording that was fitted."""

    name: str
    outcome: Outcome
    model_error_m: float


def demo(
    out: Annotated[Path, typer.Option(help="folder; each demo makes a numbered one in it")] = Path("runs/demo"),
    laps: Annotated[int, typer.Option(min=1, help="laps per drive")] = 3,
    real_time_factor: Annotated[
        float, typer.Option(min=0.01, help="simulated seconds per second; 1 needs more than two cores")
    ] = 0.3,
    seed: Annotated[int, typer.Option(min=0, help="of track, sensors and sampling")] = 7,
    json_file: JsonFile = None,
) -> None:
    """Drive laps with the nominal kinematic model, fit a single-track model to the recording, drive again with it.

    Real nodes in separate processes, over DDS. Exit status: 0 when all laps were completed without
    leaving the track, 1 when not.

    Example: mbrl demo --out runs/demo --json runs/demo.json
    """
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name) for p in out.iterdir() if p.name.isdigit()), default=0)
    folder = out / f"{number:03d}"
    folder.mkdir()
    track_file = folder / "track.csv"
    track = generate_track(seed, TRACK)
    track.to_csv(track_file, [f"generated with seed {seed}"])
    console.print(f"track of {track.length_m:.0f} m generated: {track_file}")

    vehicle = read_settings(config_file("vehicles", VEHICLE, ".yaml"), Vehicle)
    nominal = passport.from_bytes(*passport.to_bytes(build_for(vehicle, "kinematic_bicycle", dt=0.02)))
    _warm(console, "kinematic bicycle", nominal, vehicle, track, NOMINAL_PLANNER, seed)
    console.print("\n[bold]drive 1[/]: planned with the nominal kinematic bicycle, recorded")
    pace: dict[str, Any] = {"real_time_factor": real_time_factor, "use_sim_time": real_time_factor != 1.0}
    options = SimulationOptions(vehicle=VEHICLE, track=str(track_file), planner=NOMINAL_PLANNER, seed=seed, **pace)
    bag = folder / "drive_1"
    first = run_drive(options, laps, LONGEST_DRIVE_S, bag, folder / "logs_1", console)

    console.print("\n[bold]fit[/]: single track with Pacejka tyres, to what was recorded")
    fitted_folder = folder / "single_track"
    fitted = _fit(console, bag, vehicle, fitted_folder, seed)
    comparison = compare(
        {"kinematic": nominal, "single track": fitted},
        [read_drive(bag)],
        split=HELD_OUT,
        horizons_s=(0.1, 0.5, HORIZON_S),
    )[0]
    _warm(console, "single track", fitted, vehicle, track, FITTED_PLANNER, seed)
    console.print("\n[bold]drive 2[/]: planned with the fitted single-track model")
    options = SimulationOptions(
        vehicle=VEHICLE, track=str(track_file), planner=FITTED_PLANNER, seed=seed + 1, model=str(fitted_folder), **pace
    )
    second = run_drive(options, laps, LONGEST_DRIVE_S, folder / "drive_2", folder / "logs_2", console)

    runs = [
        Run("kinematic, nominal", first, _error_m(comparison, "kinematic")),
        Run("single track, fitted", second, _error_m(comparison, "single track")),
    ]
    rows = _rows(runs)
    table = Table(title="before and after the fit")
    for name in ("", *(run.name for run in runs)):
        table.add_column(name)
    for name, values in rows:
        table.add_row(name, *values)
    console.print(table)
    pictures = {
        "Speed around the track": speed_maps(track, [(run.name, run.outcome.log) for run in runs]),
        "One planning cycle": _fan(fitted, vehicle, track, second, seed),
        "Open loop error by horizon": draw_errors(comparison),
    }
    report = write_drive_report(
        folder / "report", "mbrl_ros: before and after a fit", [r.name for r in runs], rows, pictures
    )
    console.print(f"report with pictures: {report}")
    figures = {run.name: {**run.outcome.summary.to_json(), "model_error_m": run.model_error_m} for run in runs}
    for path in (folder / "figures.json", json_file):
        write_figures(path, figures)
    failures = [run.outcome.failure for run in runs if run.outcome.failure]
    for failure in failures:
        console.print(f"[bold red]ended early:[/] {escape(failure)}", highlight=False, soft_wrap=True)
    if failures or any(run.outcome.summary.exits for run in runs):
        raise typer.Exit(1)


def _warm(
    console: Console, name: str, model: LoadedModel, vehicle: Vehicle, track: Track, planner: str, seed: int
) -> None:
    """Compile the rollouts before the nodes need them: once per kind of model, kept on disk."""
    with console.status(f"compiling rollouts of the {name} (once, then cached)"):
        settings = read_settings(config_file("planners", planner, ".yaml"), RacingPlannerSettings)
        mppi = racing_mppi(model, vehicle, track, settings.mppi, settings.task, seed=seed)
        mppi.warm_up()
    console.print(f"rollouts of the {name}: {mppi.rollouts.note or 'compiled, from the cache'}")


def _fit(console: Console, bag: Path, vehicle: Vehicle, folder: Path, seed: int) -> LoadedModel:
    recorded = read_drive(bag, mean_commands=True)
    start = start_model("single_track", recorded, vehicle)
    options = Options(horizon_s=HORIZON_S, seed=seed)
    return fit_with_progress(console, [recorded], start, folder, HELD_OUT, options).model


def _error_m(comparison: BagComparison, model: str) -> float:
    return next(s.fde_m for s in comparison.scores if s.model == model and s.horizon_s == HORIZON_S)


def _rows(runs: list[Run]) -> list[Row]:
    summaries = [run.outcome.summary for run in runs]
    every_lap = [summary.laps for summary in summaries]
    return [
        ("lap times", [", ".join(f"{lap.time_s:.2f} s" for lap in laps) for laps in every_lap]),
        ("boundary violations", [str(summary.exits) for summary in summaries]),
        ("lateral error, mean", [_metres([lap.mean_lateral_m for lap in laps], np.mean) for laps in every_lap]),
        ("lateral error, max", [_metres([lap.max_lateral_m for lap in laps], np.max) for laps in every_lap]),
        ("top speed", [f"{summary.top_speed_mps:.2f} m/s" for summary in summaries]),
        ("control cycles in their slot", [f"{100 * summary.control_rate_kept:.2f} %" for summary in summaries]),
        ("solve time, p50 / p99", [f"{s.solve_p50_ms:.2f} / {s.solve_p99_ms:.2f} ms" for s in summaries]),
        ("estimated position, RMSE", [f"{summary.estimator_position_rmse_m:.4f} m" for summary in summaries]),
        (f"model's position error after {HORIZON_S:g} s, held out", [f"{run.model_error_m:.4f} m" for run in runs]),
    ]


def _metres(values: list[float], of: object) -> str:
    return f"{of(values):.3f} m" if values else "none"  # type: ignore[operator]


def _fan(model: LoadedModel, vehicle: Vehicle, track: Track, outcome: Outcome, seed: int) -> Figure:
    """The candidates of a planning cycle at the fastest moment of a drive, planned again."""
    settings = read_settings(config_file("planners", FITTED_PLANNER, ".yaml"), RacingPlannerSettings)
    mppi = racing_mppi(model, vehicle, track, settings.mppi, settings.task, seed=seed)
    mppi.warm_up()
    speeds = np.array([state[VX] for _, state in outcome.log.estimates])
    stamp_s, state = outcome.log.estimates[int(speeds.argmax())] if len(speeds) else (0.0, np.zeros(8))
    history = CommandHistory(np.array([state[-2], state[-1]]))
    for _ in range(10):
        plan = mppi.plan(state, stamp_s, history)
    states, costs = mppi.candidates(256)
    chosen = plan.states if plan.states is not None else math.nan * states[0]
    return fan(
        track,
        states[..., [X, Y]],
        costs,
        chosen[:, [X, Y]],
        f"MPPI at {state[VX]:.1f} m/s: 256 of {settings.mppi.rollouts} rollouts over "
        f"{settings.mppi.horizon * settings.mppi.dt_s:.1f} s",
    )
