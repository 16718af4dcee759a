"""`mbrl improve`: the car drives, learns from its recordings, and drives faster, round by round."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbrl_ros.bringup.course import OUT_LAP, Course, trust_for
from mbrl_ros.bringup.graph import config_file, lasting_name
from mbrl_ros.bringup.improvement import ARMS, RULES, Improvement, Round, Stage, stages
from mbrl_ros.cli.figures import JsonFile, shown, write_figures
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.files import write_whole
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation import improvement_pictures
from mbrl_ros.evaluation.improvement_pictures import Curve
from mbrl_ros.evaluation.picture_style import save_png
from mbrl_ros.learning.training import Progress as TrainingProgress
from mbrl_ros.planning.settings import RacingPlannerSettings

_NAMES = tuple(arm.name for arm in ARMS)


def improve(
    out: Annotated[Path, typer.Option(help="folder of all artefacts; goes on with what is there", show_default=False)],
    track: Annotated[str, typer.Option(help="name in config/tracks or path")] = "full_size_short",
    vehicle: Annotated[str, typer.Option(help="name in config/vehicles or path")] = "bmw_320i",
    planner: Annotated[str, typer.Option(help="name in config/planners or path")] = "mppi_full_size_grip",
    plant: Annotated[
        str, typer.Option(help="single_track_drift or multi_body; empty: as the vehicle says")
    ] = "multi_body",
    arm: Annotated[list[str] | None, typer.Option(help=f"{', '.join(_NAMES)}; may be repeated; by default all")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="drives that are learned from")] = 4,
    recoveries: Annotated[int, typer.Option(min=0, help="drives after the grip dropped that are adapted to")] = 2,
    drop: Annotated[float, typer.Option(min=0.1, max=1.0, help="what is left of the grip then, as a share")] = 0.7,
    laps: Annotated[int, typer.Option(min=1, help="laps per drive, the first from rest")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="of sensors, sampling and training")] = 0,
    minutes: Annotated[float, typer.Option(min=0.0, help="wall time after which no further round begins")] = 60.0,
    json_file: JsonFile = None,
) -> None:
    """Drive, look at the recording, train on it, prove the new model, drive again: four ways of modelling side by side.

    Every arm begins with the same drive on nominal kinematic physics. After each drive it trains on all its recordings
    but a third of each; the newcomer takes over if it predicts the held-out third of the newest drive no worse than
    the model in force. How hard the next drive may be is earned by one rule for every model: nine of ten predictions a
    second ahead must end within half the margin that the planner keeps from the edges, and the nearer to an edge a car
    came, the smaller its next step. Then the grip drops, and the models are adapted between drives, not trained anew.

    Without options a full-size car is driven that is simulated with suspension and load transfer, on a short track.
    All in one process on simulated time: the same seed gives the same drives. Stopped, the same command goes on with
    the round that it was at. Recordings, models and figures stay in --out, with a picture improvement.png.

    Exit status: 0 when every drive completed its laps, 1 when one did not, or --minutes were over before the end.

    Example: mbrl improve --out runs/improve --seed 0 --json runs/improve.json
    Example: mbrl improve --out runs/small --vehicle f1tenth --plant single_track_drift --planner mppi_f1tenth_grip
    --track demo
    """
    torch.set_num_threads(1)
    if unknown := set(arm or ()) - set(_NAMES):
        raise ConfigError(f"--arm {unknown.pop()}: there are {', '.join(_NAMES)}")
    car = read_settings(config_file("vehicles", vehicle, ".yaml"), Vehicle).with_plant(plant, "--plant")
    settings = read_settings(config_file("planners", planner, ".yaml"), RacingPlannerSettings)
    where = Track.from_csv(config_file("tracks", track, ".csv"))
    course = Course(out, car, where, settings, laps, seed, drop, lasting_name(track), trust_for(car), OUT_LAP)
    _require_same(course, {"track": track, "vehicle": vehicle, "planner": planner, "plant": plant})
    console = Console()
    names, plan = [a.name for a in ARMS if a.name in (arm or _NAMES)], stages(rounds, recoveries)
    driven = run_arms(console, course, names, plan, minutes)
    console.print(table(driven))
    picture = out / "improvement.png"
    save_png(draw(course, driven), picture)
    console.print(f"picture: {picture}", highlight=False, soft_wrap=True)
    write_figures(json_file, [asdict(done) for done in driven])
    unfinished = len(driven) < len(names) * len(plan)
    if unfinished:
        console.print(f"[yellow]stopped:[/] {minutes:g} minutes are over; run the same command again to go on")
    if unfinished or any(len(done.lap_times_s) < laps for done in driven):
        raise typer.Exit(1)


def run_arms(
    console: Console, course: Course, names: Sequence[str], plan: Sequence[Stage], minutes: float
) -> list[Round]:
    """Round by round, each of every arm before the next, with bars; no round begins after ``minutes`` of wall time."""
    end_s = time.monotonic() + 60.0 * minutes
    driven: list[Round] = []
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn(f"of {minutes:g} min")
    with Progress(*columns, console=console, transient=True) as bars:
        whole = bars.add_task("improve", total=len(names) * len(plan))

        def told(name: str) -> Callable[[str], None]:
            return lambda what: bars.update(whole, description=f"{name}: {what}")

        ways = []
        for chosen in (a for a in ARMS if a.name in names):
            tell = told(chosen.name)
            ways.append(Improvement(course, chosen, _progress(tell)).run(plan, tell))
        while len(driven) < len(ways) * len(plan) and (not driven or time.monotonic() < end_s):
            driven.append(next(ways[len(driven) % len(ways)]))
            bars.advance(whole)
    return driven


def _progress(tell: Callable[[str], None]) -> TrainingProgress:
    return TrainingProgress(
        identified=lambda what, share: tell(f"training, {what}"),
        trained=lambda epoch: tell(f"training, epoch {epoch.number} of {epoch.of}"),
    )


def table(driven: Sequence[Round]) -> Table:
    """Every round of every arm."""
    title = "improve: error after 1 s of the model driven with, on a drive it had not seen"
    rows = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
    rows.add_column("arm", no_wrap=True)
    for name in ("", "grip", "limit\nm/s²", "best\nlap, s", "laps/\nexits", "to\nedge, m", "slow\n%", "error\nm"):
        rows.add_column(name, justify="right", no_wrap=True)
    rows.add_column("new\nmodel")
    ordered = sorted(driven, key=lambda done: (_NAMES.index(done.arm), done.number))
    for done, following in itertools.zip_longest(ordered, ordered[1:]):
        rows.add_row(
            done.arm if done.number == 0 else "",
            str(done.number),
            f"{done.friction:.1f}",
            f"{done.limit_mps2:.2f}",
            shown(done.best_s, 2),
            f"{len(done.lap_times_s)}/{done.exits}",
            f"{done.clearance_m:.2f}",
            f"{100 * done.distrusted:.0f}",
            f"{done.error_m:.3f}",
            _newcomer(done),
            end_section=following is not None and following.arm != done.arm,
        )
    return rows


def _newcomer(done: Round) -> str:
    """What became of the model that was trained or adapted after the drive; `Round.swap` says why."""
    if not done.swap:
        return "–"
    return "yes" if done.accepted else "no"


def draw(course: Course, driven: Sequence[Round]) -> improvement_pictures.Figure:
    """The picture of `evaluation.improvement_pictures`: maps of the first drive, and of the last arm's others."""
    arms = {done.arm: [other for other in driven if other.arm == done.arm] for done in driven}
    curves = [
        Curve(
            name,
            [done.best_s for done in rounds],
            [done.error_m for done in rounds],
            [done.limit_mps2 for done in rounds],
            [done.exits for done in rounds],
        )
        for name, rounds in arms.items()
    ]
    last = max(reversed(arms.values()), key=len)
    dropped = next((k for k, done in enumerate(last) if done.friction < 1), len(last) - 1)
    maps = sorted({0, max(dropped - 1, 0), dropped, len(last) - 1})
    return improvement_pictures.improvement(
        course.track, curves, [done.friction for done in last], [_path(course, last[k]) for k in maps]
    )


def _path(course: Course, done: Round) -> improvement_pictures.Path:
    bag = next(Improvement(course, arm).bag(done.number) for arm in ARMS if arm.name == done.arm)
    kept = json.loads(bag.with_suffix(".json").read_text(encoding="utf-8"))
    positions = np.stack([kept["x_m"], kept["y_m"]], axis=1)
    grip = "" if done.friction == 1 else f", grip {100 * done.friction:.0f} %"
    best = shown(done.best_s, 2, " s")
    title = f"{done.arm}, round {done.number}{grip}\nbest lap {best}, {done.exits} exits"
    return improvement_pictures.Path(title, positions, np.array(kept["vx_mps"]))


def _require_same(course: Course, chosen: dict[str, str]) -> None:
    """What is in the folder must come from the same course, and from the same rules.

    Raises:
        ConfigError: it does not.
    """
    wishes = {**chosen, "laps": course.laps, "seed": course.seed, "drop": course.drop}
    stated = json.dumps({"rules": RULES, **wishes}, indent=2) + "\n"
    path = course.folder / "course.json"
    if path.exists() and path.read_text(encoding="utf-8") != stated:
        what = "was begun with other options, or by the rules of another release"
        raise ConfigError(f"{path}: {what}; choose another --out, or remove the folder")
    write_whole(path, stated)
