"""`mbrl replay BAG --planner NAME`: a planner in a recording's shadow, in this process and without ROS."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from mbrl_ros.bringup.graph import DriveOptions, config_file
from mbrl_ros.cli.figures import write_figures
from mbrl_ros.cli.race import loaded_model
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data.bag import TRACK, about, source_hash
from mbrl_ros.data.playback import playback
from mbrl_ros.data.topics import TopicMapping
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.recorded import recorded
from mbrl_ros.evaluation.shadow import Shadow, Shadowed
from mbrl_ros.evaluation.shadow_pictures import worst_moments
from mbrl_ros.evaluation.shadow_report import rows, write_shadow_report
from mbrl_ros.evaluation.shadow_score import Band, score
from mbrl_ros.planning.ddp import Solution
from mbrl_ros.planning.ddp.planner import DDPPlanner
from mbrl_ros.planning.ddp.table import iteration_table
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import PlannerName, RacingPlannerSettings


@dataclass(frozen=True)
class ShadowOptions:
    """What is replayed to which planner; see the command's help."""

    bag: Path
    planner: str
    model: str
    vehicle: str
    track: str
    topics: Sequence[str]
    estimate: bool
    seed: int
    start_s: float
    end_s: float | None
    every_s: float | None


def replay_planner(options: ShadowOptions, report: Path | None, json_file: Path | None) -> None:
    """Replay, and print what came of it.

    Raises:
        MbrlError: a file is missing or wrong, or nothing can be compared.
    """
    console = Console()
    car = read_settings(config_file("vehicles", options.vehicle, ".yaml"), Vehicle)
    settings = _planner_settings(options.planner)
    track = Track.from_csv(_track_file(options))
    model = loaded_model(options.model or "kinematic_bicycle", car)
    planner = racing_planner(settings, model, car, track, options.seed)
    told = playback(options.bag, TopicMapping.parse(options.topics), estimate=options.estimate)
    heard = recorded(str(options.bag), told, StateEstimator.for_vehicle(car) if options.estimate else None)
    planner.warm_up()
    begun_s = time.monotonic()
    shadowed = _shadowed(Shadow(heard, planner, car.limits, settings.loop, options.every_s), options, console)
    elapsed_s = time.monotonic() - begun_s
    bands = score(shadowed)
    named = Path(options.planner).stem
    planned_with = {"name": named, "kind": planner.kind, "settings": _digest(settings), "seed": options.seed}
    facts = {
        "planner": "{name} ({kind}, settings {settings}, seed {seed})".format(**planned_with),
        "model": model.id,
        "track": track.name,
        "recording": f"{options.bag}, states {'estimated from its sensors' if options.estimate else 'as recorded'}",
        "cycles": _cycles(shadowed),
    }
    console.print(_table(facts["planner"], model.id, bands))
    for note in (*heard.notes, facts["cycles"], _took(shadowed, elapsed_s)):
        console.print(f"[dim]note:[/] {escape(note)}", soft_wrap=True, highlight=False)
    figures = {
        "bag": str(options.bag),
        "bag_sha256": source_hash(options.bag),
        "estimated": options.estimate,
        "track": track.name,
        "planner": planned_with | {"backend": planner.backend},
        "model": model.id,
        **_counts(shadowed),
        "plans_sha256": shadowed.plans_sha256,
        "agreement": [band.to_json() for band in bands],
    }
    write_figures(json_file, figures)
    if report is not None:
        optimised = _optimised_anew(planner, shadowed, console) if isinstance(planner, DDPPlanner) else None
        if optimised is not None:
            console.print(iteration_table(optimised))
        title = f"{options.bag.name} in the shadow of {named}"
        path = write_shadow_report(report, title, facts, bands, track, shadowed, named, optimised)
        console.print(f"report: {path}", soft_wrap=True)


def _shadowed(shadow: Shadow, options: ShadowOptions, console: Console) -> Shadowed:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task(f"planning beside {options.bag.name}", total=1.0)
        end_s = math.inf if options.end_s is None else options.end_s
        return shadow.run(options.start_s, end_s, lambda share: progress.update(bar, completed=share))


def _optimised_anew(planner: DDPPlanner, shadowed: Shadowed, console: Console) -> Solution | None:
    """Where plan and driver differ most, optimised without an earlier plan or command: how a plan comes about.

    None where nothing was planned, or no plan is found there, which is told.
    """
    if not len(shadowed.state):
        return None
    row = next(iter(worst_moments(shadowed)), -1)
    planner.reset()
    try:
        planner.plan(Problem(shadowed.state[row], float(shadowed.stamp_s[row]), CommandHistory(np.zeros(2))))
    except PlanningError as error:
        console.print(f"no iterations are shown: without an earlier plan, {escape(str(error))}", soft_wrap=True)
        return None
    return planner.solution


def _planner_settings(planner: str) -> RacingPlannerSettings:
    """Of a file, or of one of the planners there are with the file that a car drives with by default."""
    names = get_args(PlannerName)
    by_name = planner in names
    file = config_file("planners", DriveOptions.planner if by_name else planner, ".yaml", also=names)
    settings = read_settings(file, RacingPlannerSettings)
    return settings.model_copy(update={"planner": planner}) if by_name else settings


def _track_file(options: ShadowOptions) -> str:
    """The file of the track that was asked for, or else of the one that the recording names."""
    if options.track:
        return config_file("tracks", options.track, ".csv")
    named = about(options.bag).get(TRACK, "")
    if not named:
        raise ConfigError(f"{options.bag}: does not say which track was driven; name it with --track")
    try:
        return config_file("tracks", named, ".csv")
    except ConfigError as error:
        raise ConfigError(f"{options.bag}: was driven on a track that is not here ({error}); give --track") from error


def _digest(settings: RacingPlannerSettings) -> str:
    """Twelve hex digits of everything in a planner's file, defaults included."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]


def _counts(shadowed: Shadowed) -> dict[str, Any]:
    return {
        "cycles": shadowed.cycles,
        "cycles_without_plan": dict(sorted(shadowed.unplanned.items())),
        "states_refused": dict(sorted(shadowed.refused.items())),
    }


def _cycles(shadowed: Shadowed) -> str:
    without = "".join(f", {count} without a plan: {reason}" for reason, count in shadowed.unplanned.most_common())
    refused = "".join(f"; {reason}: {count}" for reason, count in shadowed.refused.most_common())
    return f"{shadowed.cycles} control cycles{without}{refused}"


def _took(shadowed: Shadowed, elapsed_s: float) -> str:
    """How long it took; on the console only, since it is never the same twice."""
    driven_s = shadowed.stamp_s[-1] - shadowed.stamp_s[0]
    p50, p99 = 1e3 * np.percentile(shadowed.solve_times_s, [50, 99])
    return (
        f"{driven_s:.0f} s of driving in {elapsed_s:.1f} s, {driven_s / elapsed_s:.1f} times real time; "
        f"solves of {p50:.1f} ms (median) and {p99:.1f} ms (99 %)"
    )


def _table(planner: str, model_id: str, bands: Sequence[Band]) -> Table:
    table = Table(title=f"{planner}, model {model_id}")
    table.add_column("planner minus driver, RMS", no_wrap=True)
    for band in bands:
        table.add_column(band.name, justify="right")
    for name, values in rows(bands):
        table.add_row(escape(name), *values)
    return table
