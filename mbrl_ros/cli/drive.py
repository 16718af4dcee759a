"""`mbrl drive`: the driving graph in processes of its own, watched live."""

from __future__ import annotations

import importlib
import math
import os
import re
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mbrl_ros.bringup.graph import SimulationOptions, config_file, help_of, lasting_name, simulation_graph
from mbrl_ros.bringup.processes import Ended, Processes
from mbrl_ros.cli.drive_progress import MeasuredPace, Stall
from mbrl_ros.cli.figures import JsonFile, shown, write_figures
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError, MbrlError
from mbrl_ros.core.lap import Lap
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data.bag import TRACK
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.evaluation.drive_log import DriveLog, DriveSummary
from mbrl_ros.models import passport
from mbrl_ros.models.plausibility import require_same_car
from mbrl_ros.planning.settings import RacingPlannerSettings

if TYPE_CHECKING:
    from mbrl_ros.cli.drive_monitor import DriveMonitor
    from mbrl_ros.msg import PlannerAgreement

_HELP = {name: text for name, (_, text) in help_of(SimulationOptions).items()}
_REFRESH_S = 0.1
STARTUP_S = 120.0
"""Longest that the nodes may take to come up before the first plan [s, wall time]."""

SLOWEST_PACE = 0.2
"""Of simulated time that waits for plans, as a share of what is wanted: a slower machine is given up on."""

REFUSED = 2
"""Exit status of a node that was given something wrong."""


@dataclass(frozen=True)
class Outcome:
    """A finished drive.

    Args:
        summary: its figures.
        log: everything that was collected.
        failure: why it ended early, or an empty string.
        lost: whether it ended early because the car got nowhere although plans were made.
        pace: simulated seconds per second of wall time, from the first plan on; nan where nothing was planned.
    """

    summary: DriveSummary
    log: DriveLog
    failure: str
    lost: bool = False
    pace: float = math.nan


def drive(
    vehicle: Annotated[str, typer.Option(help=_HELP["vehicle"])] = "f1tenth",
    track: Annotated[str, typer.Option(help=_HELP["track"])] = "demo",
    planner: Annotated[str, typer.Option(help=_HELP["planner"])] = "mppi_f1tenth",
    model: Annotated[str, typer.Option(help=_HELP["model"])] = "",
    shadow: Annotated[str, typer.Option(help=_HELP["shadow"])] = "",
    plant: Annotated[str, typer.Option(help=_HELP["plant"])] = "",
    laps: Annotated[int, typer.Option(min=1, help="laps to complete")] = 3,
    seed: Annotated[int, typer.Option(min=0, help=_HELP["seed"])] = 0,
    real_time_factor: Annotated[float, typer.Option(min=0.01, help=_HELP["real_time_factor"])] = 1.0,
    wait_for_plans_s: Annotated[float, typer.Option(min=0.0, help=_HELP["wait_for_plans_s"])] = 0.0,
    timeout_s: Annotated[float, typer.Option(min=1.0, help="give up after so many seconds of wall time")] = 600.0,
    record: Annotated[Path | None, typer.Option(help="folder to write a rosbag2 of the run to")] = None,
    log_folder: Annotated[Path | None, typer.Option(help="folder for the nodes' output")] = None,
    json_file: JsonFile = None,
) -> None:
    """Drive laps in simulation: real nodes in separate processes over DDS, with a live table.

    Ctrl-C stops everything; so does the end of any node. Exit status: 0 when the laps were completed, 1 when not.

    Example: mbrl drive --track demo --laps 3 --record runs/first --json runs/first.json
    """
    options = SimulationOptions(
        vehicle=vehicle,
        track=track,
        planner=planner,
        model=model,
        shadow=shadow,
        plant=plant,
        seed=seed,
        real_time_factor=real_time_factor,
        wait_for_plans_s=wait_for_plans_s,
        use_sim_time=real_time_factor != 1.0 or wait_for_plans_s > 0,
    )
    console = Console()
    outcome = run_drive(options, laps, timeout_s, record, log_folder or new_log_folder(), console)
    console.print(summary_table(outcome.summary))
    write_figures(json_file, outcome.summary.to_json())
    if outcome.failure:
        console.print(f"[bold red]ended early:[/] {escape(outcome.failure)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def run_drive(
    options: SimulationOptions,
    laps: int,
    timeout_s: float,
    record: Path | None,
    log_folder: Path,
    console: Console,
    patience_s: float = 20.0,
) -> Outcome:
    """Start the graph, watch it until ``laps`` are completed, and stop it; nothing is left running.

    It is over, too, after ``timeout_s`` of wall time, or when the car gets nowhere for ``patience_s`` of simulated time
    although plans are made, or there is none within `STARTUP_S`.

    Raises:
        MbrlError: the graph cannot be described (missing files), a node refused its settings, or ROS 2 is not on this
            shell's paths.
    """
    graph = simulation_graph(options)
    car = read_settings(config_file("vehicles", options.vehicle, ".yaml"), Vehicle).with_plant(options.plant, "--plant")
    # Here all that is wrong with a file is said at once; a node would stop at the first.
    read_settings(config_file("planners", options.planner, ".yaml"), RacingPlannerSettings)
    if options.model:
        require_same_car(passport.load(options.model), car)
    log = DriveLog(Track.from_csv(config_file("tracks", options.track, ".csv")), car.width_m)
    monitor_of: type[DriveMonitor] = imported("mbrl_ros.cli.drive_monitor").DriveMonitor
    started_s = time.monotonic()
    stall, patience_s = Stall(), patience_s / slowest_pace(options)
    pace = MeasuredPace()
    failure, lost = "", False
    writer = BagWriter(record, about={TRACK: lasting_name(options.track)}) if record is not None else None

    def announce(lap: Lap) -> None:
        console.print(f"lap {len(log.laps)}: {lap.time_s:.2f} s, exits {lap.exits}")

    try:
        with (
            writer or nullcontext(),
            monitor_of(log, writer, announce) as monitor,
            Processes(graph, log_folder) as processes,
            Live(console=console, refresh_per_second=4, transient=True) as live,
        ):
            while len(log.laps) < laps and not failure:
                time.sleep(_REFRESH_S)
                monitor.check()
                pace.see(log)
                live.update(_live_table(monitor, laps, time.monotonic() - started_s))
                if (ended := processes.ended()) is not None:
                    failure = why_ended(ended, began=bool(log.solve_times_s))
                elif time.monotonic() - started_s > timeout_s:
                    failure = f"{len(log.laps)} of {laps} laps after {timeout_s:g} s; node output in {log_folder}"
                elif (still_s := stall.seconds(log)) > (patience_s if log.solve_times_s else STARTUP_S):
                    failure, lost = _why_stalled(still_s, monitor, log_folder), bool(log.solve_times_s)
            monitor.finish()
            for line in _of_the_shadow(monitor, processes):
                console.print(line, highlight=False, soft_wrap=True)
    except KeyboardInterrupt:
        failure, lost = "interrupted", False
    return Outcome(log.summary(), log, failure, lost, pace.share)


def _why_stalled(still_s: float, monitor: DriveMonitor, log_folder: Path) -> str:
    """What the nodes say that are not content, or what all say where each is."""
    said = monitor.latest.doubts or {name: message for name, (message, _) in monitor.latest.diagnostics.items()}
    heard = "; ".join(f"{name}: {message}" for name, message in sorted(said.items())) or "no node was heard"
    return f"the car has got nowhere for {still_s:.0f} s ({heard}); node output in {log_folder}"


def slowest_pace(options: SimulationOptions) -> float:
    """Simulated seconds per second, at least, of a drive that is all right."""
    return min(options.real_time_factor, 1.0) * (SLOWEST_PACE if options.wait_for_plans_s else 1.0)


def summary_table(summary: DriveSummary) -> Table:
    """Figures of a drive as a table."""
    table = Table(title="drive", show_header=False)
    rows = {
        "lap times": ", ".join(f"{lap.time_s:.2f} s" for lap in summary.laps) or "none completed",
        "track exits": str(summary.exits),
        "lateral error, mean / max": ", ".join(
            f"{lap.mean_lateral_m:.3f} / {lap.max_lateral_m:.3f} m" for lap in summary.laps
        )
        or "–",
        "top speed": shown(summary.top_speed_mps, 2, " m/s"),
        "control cycles in their slot": shown(100 * summary.control_rate_kept, 2, " %"),
        "solve time, p50 / p99": f"{shown(summary.solve_p50_ms, 2)} / {shown(summary.solve_p99_ms, 2, ' ms')}",
        "estimated position, RMSE": shown(summary.estimator_position_rmse_m, 4, " m"),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _live_table(monitor: DriveMonitor, laps: int, elapsed_s: float) -> Group:
    log, status = monitor.log, monitor.latest.status
    table = Table(title=f"driving, {elapsed_s:.0f} s", show_header=False)
    last = f"{log.laps[-1].time_s:.2f} s" if log.laps else "-"
    table.add_row("laps", f"{len(log.laps)} of {laps}, last {last}")
    table.add_row("speed", f"{monitor.latest.speed_mps:.2f} m/s")
    table.add_row("lateral error", shown(log.lateral_m, 3, " m"))
    if status is not None:
        table.add_row("planner", f"{status.planner}, {status.backend}, {status.iterations} iterations per plan")
        table.add_row("solve", f"{1e3 * status.solve_time:.1f} ms, {status.missed_deadlines} late")
        table.add_row("model", status.model_id)
    if monitor.latest.agreement is not None:
        table.add_row("shadow", in_words(monitor.latest.agreement))
    table.add_row("control cycles in their slot", shown(100 * log.control_rate_kept, 1, " %"))
    for name, (message, values) in sorted(monitor.latest.diagnostics.items()):
        clamps = {key: value for key, value in values.items() if key.startswith("clamped") and value != "0"}
        table.add_row(name, message + (f" {clamps}" if clamps else ""))
    return Group(table)


def in_words(agreement: PlannerAgreement) -> str:
    """How far a planner in shadow mode agrees with the one that drives."""
    return (
        f"{agreement.planner} differs by {agreement.steering_rms:.4f} rad and {agreement.acceleration_rms:.2f} m/s^2 "
        f"(RMS of {agreement.commands} commands)"
    )


def _of_the_shadow(monitor: DriveMonitor, processes: Processes) -> list[str]:
    """What is to be said, after a drive, of the planner in shadow mode."""
    agreement = monitor.latest.agreement
    lost = [f"[yellow]{escape(why_ended(ended, began=True))}[/]" for ended in processes.lost()]
    return [*([f"shadow: {in_words(agreement)}"] if agreement is not None else []), *lost]


def imported(module: str) -> Any:
    """A module of this room that needs ROS 2.

    Raises:
        MbrlError: ROS 2 or the package's messages are not there.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MbrlError(
            f"ROS 2 or this package's messages are not on this shell's paths ({error}); "
            "run `make build`, then `. tools/env.sh`, or source the workspace's setup file"
        ) from error


def new_log_folder() -> Path:
    """An empty folder for the output of nodes."""
    base = Path(os.environ.get("ROS_LOG_DIR") or tempfile.gettempdir())
    return Path(tempfile.mkdtemp(prefix="mbrl_drive_", dir=base if base.is_dir() else None))


def why_ended(ended: Ended, *, began: bool, count: int = 3) -> str:
    """A node's last ``count`` words.

    Args:
        ended: the node.
        began: whether the graph had begun its work.
        count: lines that are told.

    Raises:
        ConfigError: it never began, because of something that the user can mend.
    """
    words = ended.log.read_text(errors="replace").strip()
    fatal = re.search(r"\[FATAL\].*?\]: (.+)", words)
    if ended.status == REFUSED and fatal is not None and not began:
        raise ConfigError(f"{ended.node}: {fatal[1]}")
    last = " | ".join(words.splitlines()[-count:]) or "it said nothing"
    return f"{ended.node} ended with status {ended.status}: {last}"
