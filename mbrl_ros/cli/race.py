"""`mbrl race`: plant, estimator, planner and gate in one process, on simulated time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.bringup.watched import watched_planner
from mbrl_ros.cli.figures import JsonFile, shown, write_figures
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.evaluation.drive_log import DriveLog, DriveSummary
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import KINDS
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator


@dataclass(frozen=True)
class Entrant:
    """One run of a race: where, with what, and from which random numbers."""

    track: str
    model: str
    seed: int


def race(
    track: Annotated[list[str] | None, typer.Option(help="name in config/tracks or path; may be repeated")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="folder of a model, or a kind to use with nominal parameters; may be repeated"),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(min=0, help="of sensors and sampling; may be repeated")] = None,
    vehicle: Annotated[str, typer.Option(help="name in config/vehicles or path")] = "f1tenth",
    planner: Annotated[str, typer.Option(help="name in config/planners or path")] = "mppi_f1tenth",
    plant: Annotated[str, typer.Option(help="single_track_drift or multi_body; empty: as the vehicle says")] = "",
    laps: Annotated[int, typer.Option(min=1, help="laps per run")] = 3,
    timeout_s: Annotated[float, typer.Option(min=1.0, help="give up after so many seconds of simulated time")] = 300.0,
    json_file: JsonFile = None,
) -> None:
    """Race tracks x models x seeds in simulated time: deterministic, without ROS, as fast as the machine allows.

    A model that is not trusted on the way slows the car, as in the graph; the table says for what share of the drive.

    --json writes one object with a run's figures, or a list of such objects for several. Exit status: 0 when every
    run completed its laps, 1 when one did not.

    Example: mbrl race --track demo --track technical --model kinematic_bicycle --model runs/fitted --seed 0 --seed 1
    """
    console = Console()
    entrants = [
        Entrant(where, what, number)
        for where in track or ["demo"]
        for what in model or ["kinematic_bicycle"]
        for number in seed or [0]
    ]
    results: list[tuple[Entrant, DriveSummary]] = []
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        for entrant in entrants:
            what = f"{entrant.model} on {entrant.track}, seed {entrant.seed}"
            bar = progress.add_task(what)
            log = run_race(entrant, vehicle, planner, plant, laps, timeout_s)
            progress.remove_task(bar)
            results.append((entrant, log.summary()))
    console.print(_table(results))
    write_figures(json_file, _figures(results))
    if any(len(summary.laps) < laps for _, summary in results):
        raise typer.Exit(1)


def run_race(entrant: Entrant, vehicle: str, planner: str, plant: str, laps: int, timeout_s: float) -> DriveLog:
    """One run.

    Raises:
        MbrlError: a file is missing or wrong.
    """
    car = read_settings(config_file("vehicles", vehicle, ".yaml"), Vehicle).with_plant(plant, "--plant")
    settings = read_settings(config_file("planners", planner, ".yaml"), RacingPlannerSettings)
    where = Track.from_csv(config_file("tracks", entrant.track, ".csv"))
    planning, watch = watched_planner(settings, loaded_model(entrant.model, car), car, where, entrant.seed)
    simulator, estimator = Simulator(car, seed=entrant.seed), StateEstimator.for_vehicle(car)
    loop = ClosedLoop(car, where, simulator, estimator, planning, settings.loop, watch=watch)
    return loop.run(laps, timeout_s)


def loaded_model(name: str, vehicle: Vehicle) -> LoadedModel:
    """The model in the folder ``name``, or one of that kind with the vehicle's nominal parameters.

    Raises:
        ConfigError: it is neither.
        ModelError: the folder's model cannot be used.
    """
    if name in KINDS:
        return passport.nominal(vehicle, name)
    if not Path(name).is_dir():
        raise ConfigError(f"--model {name}: neither a folder nor one of {', '.join(KINDS)}")
    return passport.load(name)


def _table(results: list[tuple[Entrant, DriveSummary]]) -> Table:
    table = Table(title="race")
    first = "track", "model", "seed", "laps, s", "exits", "distrusted, %"
    for name in (*first, "max lateral, m", "estimator, m", "solve p50 / p99, ms"):
        table.add_column(name)
    for entrant, summary in results:
        table.add_row(
            entrant.track,
            entrant.model,
            str(entrant.seed),
            " ".join(f"{lap.time_s:.2f}" for lap in summary.laps) or "none",
            str(summary.exits),
            shown(100 * summary.distrusted, 0),
            shown(max((lap.max_lateral_m for lap in summary.laps), default=math.nan), 3),
            shown(summary.estimator_position_rmse_m, 4),
            f"{shown(summary.solve_p50_ms, 2)} / {shown(summary.solve_p99_ms, 2)}",
        )
    return table


def _figures(results: list[tuple[Entrant, DriveSummary]]) -> dict[str, object] | list[dict[str, object]]:
    """One run's figures alone, or a list of several with what each was."""
    rows = [{"track": e.track, "model": e.model, "seed": e.seed, **s.to_json()} for e, s in results]
    return rows[0] if len(rows) == 1 else rows
