"""`mbrl replay`: the model server on a recording that is being played, watched live; or a planner in its shadow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from mbrl_ros.bringup.graph import ReplayOptions, config_file, help_of, replay_graph
from mbrl_ros.bringup.processes import Processes
from mbrl_ros.cli.drive import imported, new_log_folder, why_ended
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.replay_planner import ShadowOptions, replay_planner
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data.playback import playback
from mbrl_ros.data.topics import TopicMapping
from mbrl_ros.models import passport
from mbrl_ros.models.plausibility import require_same_car

if TYPE_CHECKING:
    from mbrl_ros.msg import PredictionError

_HELP = {name: text for name, (_, text) in help_of(ReplayOptions).items()}
_REFRESH_S = 0.1
_PLAYER = "bag_player"

QUANTITIES = {
    "position_error": "position [m]",
    "yaw_error": "yaw [rad]",
    "speed_error": "speed [m/s]",
    "yaw_rate_error": "yaw rate [rad/s]",
}
"""Fields of a PredictionError, and what tables call them."""


def replay(
    bag: Annotated[Path, typer.Argument(help="recording to play", show_default=False)],
    model: Annotated[str, typer.Option(help=_HELP["model"])] = "",
    vehicle: Annotated[str, typer.Option(help=_HELP["vehicle"])] = "f1tenth",
    real_time_factor: Annotated[float, typer.Option(min=0.01, max=20.0, help=_HELP["real_time_factor"])] = 1.0,
    estimate: Annotated[bool, typer.Option("--estimate", help=_HELP["estimate"])] = False,
    topic: Annotated[
        list[str] | None, typer.Option(help="quantity=/topic, for a recording without /vehicle_state; may be repeated")
    ] = None,
    log_folder: Annotated[Path | None, typer.Option(help="folder for the nodes' output")] = None,
    planner: Annotated[
        str,
        typer.Option(
            help="plan beside the driver, without nodes: name in config/planners, path, or a planner such as "
            "mppi, with the file mppi_f1tenth"
        ),
    ] = "",
    track: Annotated[
        str, typer.Option(help="for --planner: name in config/tracks or path; empty: what the recording names")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="for --planner: seed of its sampling")] = 0,
    start: Annotated[float, typer.Option(min=0.0, help="for --planner: begin so far into the recording, in s")] = 0.0,
    end: Annotated[
        float | None, typer.Option(min=0.0, help="for --planner: end so far into it, in s", show_default="at its end")
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(min=0.001, help="for --planner: time between plans in s", show_default="a control period"),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="for --planner: folder for a report with pictures")] = None,
    json_file: JsonFile = None,
) -> None:
    """Play a recording to the model server, which compares its predictions with what then happened.

    Real nodes in separate processes over DDS, on the recording's own time: what `ros2 launch mbrl_ros
    replay.launch.py bag:=BAG` starts. rviz2 -d config/rviz/mbrl.rviz shows predicted beside driven paths.

    With --planner a planner plans all along from the recorded states and commands, in this process and as fast as it
    can, and nothing of it is driven: how far it agrees with the driver is printed. The same recording, settings and
    seed give the same --json to the byte.

    Exit status: 0 when the recording was played to its end and compared, 1 when not.

    Example: mbrl replay bags/fast_lap --model models/genesis --vehicle bmw_320i --real-time-factor 2

    Example: mbrl replay runs/first --planner mppi_f1tenth --report out --json shadow.json
    """
    beside = ShadowOptions(bag, planner, model, vehicle, track, tuple(topic or ()), estimate, seed, start, end, every)
    if planner:
        if real_time_factor != 1.0 or log_folder is not None:
            raise typer.BadParameter("--real-time-factor and --log-folder are of nodes; --planner starts none")
        replay_planner(beside, report, json_file)
        return
    if (track, seed, start, end, every, report) != ("", 0, 0.0, None, None, None):
        raise typer.BadParameter("--track, --seed, --start, --end, --every and --report are for --planner")
    told = playback(bag, TopicMapping.parse(topic or []), estimate=estimate)
    if model:
        car = read_settings(config_file("vehicles", vehicle, ".yaml"), Vehicle)
        require_same_car(passport.load(model), car)
    options = ReplayOptions(
        vehicle=vehicle,
        model=model,
        bag=str(bag.resolve()),
        topics=",".join(topic or []),
        estimate=estimate,
        real_time_factor=real_time_factor,
    )
    console = Console()
    for note in told.notes:
        console.print(f"[dim]note:[/] {escape(note)}", soft_wrap=True, highlight=False)
    errors, failure = _run(options, log_folder or new_log_folder(), console)
    if errors:
        console.print(_summary(errors))
        write_figures(json_file, figures(bag, errors))
    else:
        failure = failure or "no prediction was compared: the recording holds too little driving with commands"
    if failure:
        console.print(f"[bold red]ended early:[/] {escape(failure)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def figures(bag: Path, errors: Sequence[PredictionError]) -> dict[str, Any]:
    """What scripts read: every comparison, and over all of them the root mean square by horizon."""
    return {
        "bag": str(bag),
        "models": list(dict.fromkeys(error.model_id for error in errors)),
        "horizons_s": list(errors[-1].horizons),
        "rms": {name: values.tolist() for name, values in _overall(errors).items()},
        "comparisons": [
            {
                "stamp_s": error.header.stamp.sec + 1e-9 * error.header.stamp.nanosec,
                "model": error.model_id,
                "window_s": error.window,
                "starts": list(error.starts),
                **{name: list(getattr(error, name)) for name in QUANTITIES},
            }
            for error in errors
        ],
    }


def _run(options: ReplayOptions, log_folder: Path, console: Console) -> tuple[list[PredictionError], str]:
    """Everything that was heard, and why it ended before the recording did (or an empty string)."""
    monitor_of = imported("mbrl_ros.cli.replay_monitor").ReplayMonitor
    failure = ""
    begun_s = time.monotonic()
    with (
        monitor_of() as monitor,
        Processes(replay_graph(options), log_folder) as processes,
        Live(console=console, refresh_per_second=4, transient=True) as live,
    ):
        try:
            while (ended := processes.ended()) is None:
                time.sleep(_REFRESH_S)
                monitor.check()
                live.update(_live_table(monitor.errors, monitor.said, time.monotonic() - begun_s))
            if (ended.node, ended.status) != (_PLAYER, 0):
                failure = why_ended(ended, began=bool(monitor.errors))
        except KeyboardInterrupt:
            failure = "interrupted"
    return monitor.errors, failure


def _live_table(errors: Sequence[PredictionError], said: Mapping[str, str], elapsed_s: float) -> Group:
    states = Table(title=f"replay, {elapsed_s:.0f} s", show_header=False)
    for name, message in sorted(said.items()):
        states.add_row(name, escape(message))
    if not errors:
        return Group(states)
    newest = {name: np.array(getattr(errors[-1], name)) for name in QUANTITIES}
    return Group(states, _table(f"errors over the last {errors[-1].window:g} s", errors[-1].horizons, newest))


def _summary(errors: Sequence[PredictionError]) -> Table:
    title = f"{errors[-1].model_id}: root mean square error over {len(errors)} comparisons"
    return _table(title, errors[-1].horizons, _overall(errors))


def _overall(errors: Sequence[PredictionError]) -> dict[str, np.ndarray]:
    """[n] by quantity; each prediction counts as often as it lay in a compared window."""
    weights = np.array([error.starts for error in errors], dtype=float)
    return {
        name: np.sqrt(
            (weights * np.array([getattr(error, name) for error in errors]) ** 2).sum(axis=0) / weights.sum(axis=0)
        )
        for name in QUANTITIES
    }


def _table(title: str, horizons: Sequence[float], values: Mapping[str, np.ndarray]) -> Table:
    table = Table(title=title)
    table.add_column("predicted for", justify="right")
    for heading in QUANTITIES.values():
        table.add_column(escape(heading), justify="right")
    for place, horizon_s in enumerate(horizons):
        table.add_row(f"{horizon_s:g} s", *(f"{values[name][place]:.4f}" for name in QUANTITIES))
    return table
