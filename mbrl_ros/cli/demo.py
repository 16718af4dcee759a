"""`mbrl demo`: drive, record, fit, drive again, report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
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
from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, VX, YAW, X, Y
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import BagComparison, compare
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.evaluation.drive_pictures import fan, laps_by_distance, speed_maps
from mbrl_ros.evaluation.drive_report import Row, write_drive_report
from mbrl_ros.evaluation.fitting import start_model
from mbrl_ros.evaluation.report_pictures import draw_errors
from mbrl_ros.models import passport
from mbrl_ros.models.identification import Options
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner, Problem
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings

VEHICLE = "f1tenth"
NOMINAL_PLANNER, FITTED_PLANNER = "mppi_f1tenth", "mppi_f1tenth_grip"
NOMINAL, FITTED = "kinematic, nominal", "single track, fitted"
"""The two drives, and the models that they are planned with."""

TRACK = TrackSettings(
    length_m=70.0, corners=9, min_radius_m=1.2, max_radius_m=4.0, min_half_width_m=0.75, max_half_width_m=1.0, gap_m=0.3
)
HELD_OUT = "time:0.7"
"""The last third of the first drive is a lap or so, with every corner of the track in it."""

HORIZON_S = 1.0
"""What the model is fitted to and scored on; plans look one and a half seconds ahead."""

LONGEST_DRIVE_S = 240.0
"""Of simulated time: three laps at walking pace."""


@dataclass(frozen=True)
class Setting:
    """Where and with which car the demo drives.

    Args:
        folder: of everything that the demo writes.
        vehicle: the car.
        track: what it drives on, also in ``folder / "track.csv"``.
        seed: of track, sensors and sampling.
        real_time_factor: simulated seconds per second.
    """

    folder: Path
    vehicle: Vehicle
    track: Track
    seed: int
    real_time_factor: float


@dataclass(frozen=True)
class Run:
    """One drive of the demo, and the held-out error on the first recording of the model it was planned with."""

    name: str
    outcome: Outcome
    model_error_m: float


def demo(
    out: Annotated[Path, typer.Option(help="folder; each demo makes a numbered one in it")] = Path("runs/demo"),
    laps: Annotated[int, typer.Option(min=1, help="laps per drive")] = 3,
    real_time_factor: Annotated[float, typer.Option(min=0.01, help="simulated seconds per second")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="of track, sensors and sampling")] = 7,
    json_file: JsonFile = None,
) -> None:
    """Drive laps with the nominal kinematic model, fit a single-track model to the recording, drive again with it.

    Real nodes in separate processes, over DDS. Exit status: 0 when all laps were completed without
    leaving the track, 1 when not.

    Example: mbrl demo --out runs/demo --json runs/demo.json
    """
    torch.set_num_threads(1)  # the fit's tensors are small: on a busy machine a second thread is mostly waited for
    console = Console()
    setting = _setting(console, out, seed, real_time_factor)
    nominal = passport.from_bytes(*passport.to_bytes(build_for(setting.vehicle, "kinematic_bicycle", dt=0.02)))
    _warm(console, NOMINAL, nominal, setting, NOMINAL_PLANNER)
    console.print(f"\n[bold]drive 1[/]: planned with the model '{NOMINAL}', recorded")
    first = _drive(console, setting, 1, laps, NOMINAL_PLANNER)

    console.print("\n[bold]fit[/]: a single-track model with Pacejka tyres, to the recording of drive 1")
    recorded = read_drive(setting.folder / "drive_1", mean_commands=True)
    fitted = _fit(console, recorded, setting)
    _warm(console, FITTED, fitted, setting, FITTED_PLANNER)
    console.print(f"\n[bold]drive 2[/]: planned with the model '{FITTED}'")
    second = _drive(console, setting, 2, laps, FITTED_PLANNER, str(_model_folder(setting)))

    models = {NOMINAL: nominal, FITTED: fitted}
    comparison = compare(models, [recorded], split=HELD_OUT, horizons_s=(0.1, 0.5, HORIZON_S))[0]
    runs = [Run(name, outcome, _error_m(comparison, name)) for name, outcome in ((NOMINAL, first), (FITTED, second))]
    figures = {run.name: {**run.outcome.summary.to_json(), "model_error_m": run.model_error_m} for run in runs}
    for path in (setting.folder / "figures.json", json_file):
        write_figures(path, figures)
    rows = _rows(runs)
    report = write_drive_report(
        setting.folder / "report",
        "mbrl_ros: before and after a fit",
        list(models),
        rows,
        _pictures(setting, runs, fitted, comparison),
    )
    console.print()
    console.print(_table(rows, list(models)))
    console.print(f"report with pictures: {report}", highlight=False, soft_wrap=True)
    if any(run.outcome.summary.exits for run in runs):
        raise typer.Exit(1)


def _setting(console: Console, out: Path, seed: int, real_time_factor: float) -> Setting:
    """A new folder with a new track."""
    out.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(p.name) for p in out.iterdir() if p.name.isdigit()), default=0)
    folder = out / f"{number:03d}"
    folder.mkdir()
    track = generate_track(seed, TRACK)
    track.to_csv(_track_file(folder), [f"generated with seed {seed}"])
    console.print(f"track of {track.length_m:.0f} m generated: {_track_file(folder)}", highlight=False, soft_wrap=True)
    vehicle = read_settings(config_file("vehicles", VEHICLE, ".yaml"), Vehicle)
    return Setting(folder, vehicle, track, seed, real_time_factor)


def _track_file(folder: Path) -> Path:
    return folder / "track.csv"


def _model_folder(setting: Setting) -> Path:
    return setting.folder / "single_track"


def _warm(console: Console, name: str, model: LoadedModel, setting: Setting, planner: str) -> None:
    """Compile the rollouts before the nodes need them: once per kind of model, kept on disk."""
    with console.status(f"compiling rollouts of the model '{name}' (once, then cached)"):
        note = _planner(model, setting, planner).note
    console.print(f"rollouts of the model '{name}': {note or 'compiled, from the cache'}")


def _planner(model: LoadedModel, setting: Setting, name: str) -> Planner:
    settings = read_settings(config_file("planners", name, ".yaml"), RacingPlannerSettings)
    planner = racing_planner(settings, model, setting.vehicle, setting.track, setting.seed)
    planner.warm_up()
    return planner


def _drive(console: Console, setting: Setting, number: int, laps: int, planner: str, model: str = "") -> Outcome:
    """One recorded drive; other numbers have other noise.

    Raises:
        typer.Exit: it ended before its laps were completed, which is told.
    """
    folder, factor = setting.folder, setting.real_time_factor
    options = SimulationOptions(
        vehicle=VEHICLE,
        track=str(_track_file(folder)),
        planner=planner,
        model=model,
        seed=setting.seed + number - 1,
        real_time_factor=factor,
        use_sim_time=factor != 1.0,
    )
    bag, logs = folder / f"drive_{number}", folder / f"logs_{number}"
    outcome = run_drive(options, laps, LONGEST_DRIVE_S / min(factor, 1.0), bag, logs, console)
    if outcome.failure:
        console.print(f"[bold red]ended early:[/] {escape(outcome.failure)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    return outcome


def _fit(console: Console, recorded: Drive, setting: Setting) -> LoadedModel:
    start = start_model("single_track", recorded, setting.vehicle)
    options = Options(horizon_s=HORIZON_S, seed=setting.seed)
    return fit_with_progress(console, [recorded], start, _model_folder(setting), HELD_OUT, options).model


def _error_m(comparison: BagComparison, model: str) -> float:
    return next(s.fde_m for s in comparison.scores if s.model == model and s.horizon_s == HORIZON_S)


def _rows(runs: list[Run]) -> list[Row]:
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
        ("solve time, p50 / p99", [f"{s.solve_p50_ms:.2f} / {s.solve_p99_ms:.2f} ms" for s in summaries]),
        ("estimated position, RMSE", [f"{summary.estimator_position_rmse_m:.4f} m" for summary in summaries]),
        (f"model's position error after {HORIZON_S:g} s, held out", [f"{run.model_error_m:.4f} m" for run in runs]),
    ]


def _metres(of: Callable[[Sequence[float]], float], values: Sequence[float]) -> str:
    return f"{of(values):.3f} m"


def _table(rows: list[Row], columns: list[str]) -> Table:
    table = Table(title="before and after the fit")
    for name in ("", *columns):
        table.add_column(name)
    for name, values in rows:
        table.add_row(name, *values)
    return table


def _pictures(setting: Setting, runs: list[Run], fitted: LoadedModel, comparison: BagComparison) -> dict[str, Figure]:
    drives = [(run.name, run.outcome.log) for run in runs]
    return {
        "Speed around the track": speed_maps(setting.track, drives),
        "A lap before and after": laps_by_distance(setting.track, drives),
        "One planning cycle": _fan(fitted, setting, runs[-1].outcome.log),
        "Open loop error by horizon": draw_errors(comparison),
    }


def _fan(model: LoadedModel, setting: Setting, log: DriveLog) -> Figure:
    """The candidates of a planning cycle at the fastest moment of a drive, planned again."""
    planner = _planner(model, setting, FITTED_PLANNER)
    stamp_s, state = max(log.estimates, key=lambda estimate: float(estimate[1][VX]))
    history = CommandHistory(state[[STEERING_ANGLE, ACCELERATION]])
    for _ in range(10):  # a drive's plan has the previous one to begin with, too
        plan = planner.plan(Problem(state, stamp_s, history))
    states, costs = planner.candidates(256)
    assert plan.states is not None  # noqa: S101  # planners predict
    return fan(
        setting.track,
        setting.vehicle,
        states[..., [X, Y]],
        costs,
        plan.states[:, [X, Y, YAW]],
        f"A plan at {state[VX]:.1f} m/s over {plan.end_s - plan.stamp_s:.1f} s, and {len(costs)} of its candidates",
    )
