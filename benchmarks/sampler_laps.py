"""Samplers and updates of MPPI on the car: lap time, exits, and how restless the steering is.

    python benchmarks/sampler_laps.py [--seeds 3] [--laps 2] [--track demo] [--only spline --only white] [--json FILE]

Plant, estimator, planner and gate in one process on simulated time, as `mbrl race` does it; every variant has the other
settings of the planner file, and as many rollouts per cycle. The energy is the integral of the squared rate of the
steering command as sent, per lap; the first lap, from standstill, counts like the others. There is no peer; the bar is
half of the energy of white noise at no longer lap times.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mbrl_ros.core.command_gate import Command
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.files import write_whole
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.models import passport
from mbrl_ros.planning.racing import racing_mppi
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

CONFIG = Path(__file__).resolve().parents[1] / "config"
NOISE: dict[str, Any] = {"steering_std_rad": 0.05, "acceleration_std_mps2": 1.0, "knot_spacing_s": 0.25}
# Integrated noise is smallest where the others act most, at the beginning: it needs more of it.
INTEGRATED: dict[str, Any] = {"steering_std_rad": 0.08, "acceleration_std_mps2": 1.5, "knot_spacing_s": 0.25}
VARIANTS: dict[str, dict[str, Any]] = {
    "white": {**NOISE, "sampler": "white"},
    "spline": {**NOISE, "sampler": "spline"},
    "spline, antithetic": {**NOISE, "sampler": "spline", "antithetic": True},
    "coloured, exponent 1": {**NOISE, "sampler": "coloured", "steering_exponent": 1.0, "drive_exponent": 1.0},
    "coloured, exponent 2": {**NOISE, "sampler": "coloured"},
    "derivative": {**INTEGRATED, "sampler": "derivative"},
    "iCEM": {**NOISE, "update": "cem", "sampler": "coloured", "iterations": 2},
}


@dataclass(frozen=True)
class Run:
    """One drive: its lap times, exits, steering-rate energy per lap [rad^2/s], and wall time of a solve."""

    variant: str
    seed: int
    laps_s: list[float]
    exits: int
    energy: float
    solve_ms: float


def drive(variant: str, seed: int, options: argparse.Namespace) -> Run:
    car = read_settings(CONFIG / "vehicles" / "f1tenth.yaml", Vehicle).with_plant(options.plant, "--plant")
    track = Track.from_csv(CONFIG / "tracks" / f"{options.track}.csv")
    settings = read_settings(CONFIG / "planners" / f"{options.planner}.yaml", RacingPlannerSettings)
    changes = dict(VARIANTS[variant])
    changes["rollouts"] = settings.mppi.rollouts // changes.get("iterations", 1)
    nominal = passport.nominal(car)
    planner = racing_mppi(nominal, car, track, settings.mppi.model_copy(update=changes), settings.task, seed=seed)
    planner.warm_up()
    loop = ClosedLoop(car, track, Simulator(car, seed=seed), StateEstimator.for_vehicle(car), planner, settings.loop)
    summary = loop.run(options.laps, timeout_s=60.0 * options.laps).summary()
    laps = [lap.time_s for lap in summary.laps]
    return Run(variant, seed, laps, loop.log.exits, energy(loop.commands) / max(len(laps), 1), summary.solve_p50_ms)


def energy(commands: Sequence[tuple[float, Command]]) -> float:
    """Integral of the squared rate of the steering command [rad^2/s]."""
    stamps = np.array([stamp for stamp, _ in commands])
    steering = np.array([command.steering_angle_rad for _, command in commands])
    return float((np.diff(steering) ** 2 / np.diff(stamps)).sum())


def table_of(runs: Sequence[Run], options: argparse.Namespace) -> Table:
    title = f"{options.planner} on {options.track}, {options.seeds} seeds x {options.laps} laps"
    columns = ("", "lap, mean s", "best s", "laps", "exits", "steering-rate energy, rad^2/s per lap", "solve p50, ms")
    table = Table(*columns, title=title)
    for variant in dict.fromkeys(run.variant for run in runs):
        own = [run for run in runs if run.variant == variant]
        laps = [lap for run in own for lap in run.laps_s]
        mean, best = (np.mean(laps), min(laps)) if laps else (np.nan, np.nan)
        figures = f"{np.mean([run.energy for run in own]):.2f}", f"{np.median([run.solve_ms for run in own]):.2f}"
        table.add_row(variant, f"{mean:.2f}", f"{best:.2f}", str(len(laps)), str(sum(r.exits for r in own)), *figures)
    return table


def main() -> None:
    """Drive every variant with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--laps", type=int, default=2)
    parser.add_argument("--track", default="demo", help="name in config/tracks")
    parser.add_argument("--planner", default="mppi_f1tenth", help="name in config/planners")
    parser.add_argument("--plant", default="", help="single_track_drift or multi_body; empty: as the vehicle says")
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="this variant; may be repeated")
    parser.add_argument("--json", type=Path, help="write every run here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    console, runs = Console(), []
    for variant in options.only or VARIANTS:
        for seed in range(options.seeds):
            with console.status(f"{variant}, seed {seed}"):
                runs.append(drive(variant, seed, options))
    console.print(table_of(runs, options))
    if options.json:
        write_whole(options.json, json.dumps([asdict(run) for run in runs], indent=1) + "\n")


if __name__ == "__main__":
    main()
