"""`mbrl demo`: drive, record, fit, drive again, learn from both drives, drive a third time, report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape

from mbrl_ros.bringup.graph import SimulationOptions, config_file
from mbrl_ros.bringup.newcomer import HELD_OUT, proven, read_for, recipe_for, trained
from mbrl_ros.cli import demo_report
from mbrl_ros.cli.demo_report import Run
from mbrl_ros.cli.drive import Outcome, run_drive, slowest_pace
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.fit import fit_with_progress
from mbrl_ros.cli.train import training_bars
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import start_model
from mbrl_ros.models import passport
from mbrl_ros.models.identification import Options
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings

VEHICLE = "f1tenth"
NOMINAL_PLANNER, FITTED_PLANNER = "mppi_f1tenth", "mppi_f1tenth_grip"
NOMINAL, FITTED, LEARNED = "kinematic, nominal", "single track, fitted", "semi-parametric, learned"
"""The drives, by the models that they are planned with."""

FITTED_FOLDER, LEARNED_FOLDER = "single_track", "semi_parametric"
RECIPE = "semiparametric_mlp"
"""Fast enough for plans at 50 Hz beside all other nodes."""

TRACK = TrackSettings(
    length_m=70.0, corners=9, min_radius_m=1.2, max_radius_m=4.0, min_half_width_m=0.75, max_half_width_m=1.0, gap_m=0.3
)
HORIZON_S = 1.0
"""What the model is fitted to; plans look one and a half seconds ahead."""

LONGEST_DRIVE_S = 240.0
"""Of simulated time: three laps at walking pace."""

WAIT_FOR_PLANS_S = 0.06
"""Age of state, plan or command at which simulated time waits: hardly ever reached by a machine that keeps up."""

SECOND_TRY = 0.5
"""Pace of a drive that is driven again, as a share of the first."""


@dataclass(frozen=True)
class Setting:
    """Where and with which car the demo drives.

    Args:
        folder: of everything that the demo writes.
        vehicle: the car.
        track: what it drives on, also in ``folder / "track.csv"``.
        seed: of track, sensors and sampling.
        real_time_factor: simulated seconds per second, at most.
    """

    folder: Path
    vehicle: Vehicle
    track: Track
    seed: int
    real_time_factor: float


def demo(
    out: Annotated[Path, typer.Option(help="folder; each demo makes a numbered one in it")] = Path("runs/demo"),
    laps: Annotated[int, typer.Option(min=1, help="laps per drive")] = 3,
    real_time_factor: Annotated[float, typer.Option(min=0.01, help="simulated seconds per second, at most")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="of track, sensors and sampling")] = 7,
    json_file: JsonFile = None,
) -> None:
    """Drive laps with the nominal kinematic model, fit a single-track model to the recording, drive again with it, and
    go one round of `mbrl improve`: learn from both drives what the physics lacks, prove it, drive a third time.

    Real nodes in separate processes, over DDS. Simulated time waits for plans and commands that a busy machine is late
    with, which is told: the car drives as on a machine that keeps up. A drive that leaves the track or gets nowhere is
    not learned from, but driven once more, at half the pace. A learned model that predicts held-out driving worse than
    the fitted one is not driven with, which is told and is no failure. Exit status: 0 when all laps were completed
    without leaving the track, 1 when a drive failed twice.

    Example: mbrl demo --out runs/demo --json runs/demo.json
    """
    torch.set_num_threads(1)  # the fit's tensors are small: on a busy machine a second thread is mostly waited for
    console = Console()
    setting = _setting(console, out, seed, real_time_factor)
    nominal = passport.nominal(setting.vehicle)
    _warm(console, NOMINAL, nominal, setting, NOMINAL_PLANNER)
    console.print(f"\n[bold]drive 1[/]: planned with the model '{NOMINAL}', recorded")
    runs = [Run(NOMINAL, nominal, _drive(console, setting, 1, laps, NOMINAL_PLANNER))]

    console.print("\n[bold]fit[/]: a single-track model with Pacejka tyres, to the recording of drive 1")
    fitted = _fit(console, read_drive(setting.folder / "drive_1", mean_commands=True), setting)
    _warm(console, FITTED, fitted, setting, FITTED_PLANNER)
    console.print(f"\n[bold]drive 2[/]: planned with the model '{FITTED}'")
    runs.append(Run(FITTED, fitted, _drive(console, setting, 2, laps, FITTED_PLANNER, setting.folder / FITTED_FOLDER)))

    console.print("\n[bold]learn[/]: what that physics lacks, by a small network, from both drives")
    dt_s = read_settings(config_file("planners", FITTED_PLANNER, ".yaml"), RacingPlannerSettings).dt_s
    recorded = [read_for(setting.folder / f"drive_{number}", dt_s) for number in (1, 2)]
    learned, verdict = _learn(console, setting, recorded, fitted)
    console.print(verdict, highlight=False, soft_wrap=True)
    if learned is not None:
        _warm(console, LEARNED, learned, setting, FITTED_PLANNER)
        console.print(f"\n[bold]drive 3[/]: planned with the model '{LEARNED}'")
        model = setting.folder / LEARNED_FOLDER
        runs.append(Run(LEARNED, learned, _drive(console, setting, 3, laps, FITTED_PLANNER, model)))

    planner = _planner(runs[-1].model, setting, FITTED_PLANNER)
    figures = demo_report.write(
        console, setting.folder, setting.vehicle, setting.track, runs, recorded, verdict, planner
    )
    for path in (setting.folder / "figures.json", json_file):
        write_figures(path, figures)


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


def _warm(console: Console, name: str, model: LoadedModel, setting: Setting, planner: str) -> None:
    """Compile the rollouts before the nodes need them: once per kind of model, kept on disk."""
    with console.status(f"compiling rollouts of the model '{name}' (once, then cached)"):
        made = _planner(model, setting, planner)
    console.print(f"rollouts of the model '{name}': {made.note or made.backend}")


def _planner(model: LoadedModel, setting: Setting, name: str) -> Planner:
    settings = read_settings(config_file("planners", name, ".yaml"), RacingPlannerSettings)
    planner = racing_planner(settings, model, setting.vehicle, setting.track, setting.seed)
    planner.warm_up()
    return planner


def _drive(
    console: Console, setting: Setting, number: int, laps: int, planner: str, model: Path | None = None
) -> Outcome:
    """One recorded drive without a fault; other numbers have other noise.

    Raises:
        typer.Exit: there is none at half the pace either, or a node ended, which is told.
    """
    bag, factor = setting.folder / f"drive_{number}", setting.real_time_factor
    options = SimulationOptions(
        vehicle=VEHICLE,
        track=str(_track_file(setting.folder)),
        planner=planner,
        model=str(model or ""),
        seed=setting.seed + number - 1,
        real_time_factor=factor,
        wait_for_plans_s=WAIT_FOR_PLANS_S,
        use_sim_time=True,
    )
    outcome = _driven(console, options, laps, bag, setting.folder / f"logs_{number}")
    if not (fault := _fault(outcome)):
        return outcome
    kept = bag.rename(bag.with_name(f"{bag.name}_failed"))
    again = f"nothing is learned from it ({kept}); once more, at {SECOND_TRY:g} of the pace"
    console.print(f"[yellow]drive {number} failed:[/] {escape(fault)}; {again}", highlight=False, soft_wrap=True)
    slower = replace(options, real_time_factor=SECOND_TRY * factor)
    outcome = _driven(console, slower, laps, bag, setting.folder / f"logs_{number}_again")
    if fault := _fault(outcome):
        why = f"{escape(fault)}; more time to plan is no help, the demo ends here; recordings in {setting.folder}"
        console.print(f"[bold red]drive {number} failed again:[/] {why}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    return outcome


def _driven(console: Console, options: SimulationOptions, laps: int, bag: Path, logs: Path) -> Outcome:
    outcome = run_drive(options, laps, LONGEST_DRIVE_S / slowest_pace(options), bag, logs, console)
    if outcome.pace < 0.95 * options.real_time_factor:
        waited = f"simulated time waited for plans: {outcome.pace:.2f} simulated seconds per second"
        console.print(f"this machine does not keep up, so {waited}", highlight=False, soft_wrap=True)
    if outcome.failure and not outcome.lost:
        console.print(f"[bold red]ended early:[/] {escape(outcome.failure)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)
    return outcome


def _fault(outcome: Outcome) -> str:
    """What forbids learning from a drive, or an empty string."""
    left = f"the car left the track (exits: {outcome.log.exits})" if outcome.log.exits else ""
    return "; ".join(filter(None, (left, outcome.failure)))


def _fit(console: Console, recorded: Drive, setting: Setting) -> LoadedModel:
    start = start_model("single_track", recorded, setting.vehicle)
    options = Options(horizon_s=HORIZON_S, seed=setting.seed)
    return fit_with_progress(console, [recorded], start, setting.folder / FITTED_FOLDER, HELD_OUT, options).model


def _learn(
    console: Console, setting: Setting, recorded: list[Drive], present: LoadedModel
) -> tuple[LoadedModel | None, str]:
    """A model of what was recorded where it may take over from ``present``, and the proof in a sentence."""
    recipe = recipe_for(RECIPE, setting.vehicle, setting.seed)
    try:
        with training_bars(console) as progress:
            newcomer = trained(recorded, recipe, setting.folder / LEARNED_FOLDER, progress)
    except DataError as error:  # of very few laps
        return None, f"no newcomer: {error}"
    proof = proven(present, newcomer, recorded[-1])
    return newcomer if proof.accepted else None, f"a second ahead, on the held-out third of drive 2: {proof.words}"
