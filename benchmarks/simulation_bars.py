"""Physics, networks and both together on a multi-body car: a minute of driving to learn from, two drives to predict.

    tools/run.sh python benchmarks/simulation_bars.py --out runs/bars --seed 0 --seed 1 --seed 2 --json runs/bars.json

Trained on one drive and scored on two others of another seed: one as fast, and one with speeds 30 % higher and the
lateral acceleration 1.69 times as high, which is as hard as the nominal single-track model that plans all three can
drive. All is recorded as bags and read from them. ``--states truth`` reads the true states, so that what is scored is
what models lack; ``--states estimate`` reads what the car's own filter made of its noisy sensors, above all a noisy
steering angle and acceleration at the start of every prediction, which no model of the car can know better. Recordings
are kept in --out and not driven again. With the target: the semi-parametric error is at most half the parametric one on
the drive as fast, and at most half the neural one on the faster drive.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.bringup.course import Course, drive
from mbrl_ros.bringup.graph import config_file
from mbrl_ros.bringup.improvement import Arm
from mbrl_ros.bringup.newcomer import recipe_for
from mbrl_ros.cli.figures import write_figures
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import TopicMapping, read_drive
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.evaluation.drive_recorder import TRUE_STATE
from mbrl_ros.learning.training import train
from mbrl_ros.models import passport
from mbrl_ros.planning.settings import RacingPlannerSettings

SECONDS = 60.0
RATE_HZ = 25.0
HORIZON_S = 2.0
SPEED_MPS, LATERAL_MPS2 = 16.0, 4.1
FASTER = 1.3
LAPS = 2
TRACK = "full_size_short"
ARMS = (
    Arm("single-track", "sysid"),
    Arm("neural-only", "recurrent"),
    Arm("semi-parametric", "semiparametric"),
)
STATES = {"truth": TopicMapping.parse([f"state={TRUE_STATE}"]), "estimate": TopicMapping()}


def recorded(folder: Path, seed: int, number: int, faster: float) -> Path:
    """The bag of some laps with speeds ``faster`` times the usual."""
    car = read_settings(config_file("vehicles", "bmw_320i", ".yaml"), Vehicle).with_plant("multi_body", "plant")
    planner = read_settings(config_file("planners", "mppi_full_size_grip", ".yaml"), RacingPlannerSettings)
    task = planner.task.model_copy(update={"speed_limit_mps": faster * SPEED_MPS})
    planner = planner.model_copy(update={"task": task})
    track = Track.from_csv(config_file("tracks", TRACK, ".csv"))
    course = Course(folder, car, track, planner, laps=LAPS, seed=seed, drop=1.0, track_file=TRACK)
    nominal = passport.nominal(car, "single_track", planner.mppi.dt_s)
    bag = folder / f"drive_{number}"
    figures = drive(course, nominal, LATERAL_MPS2 * faster**2, 1.0, bag, number)
    if figures["exits"]:
        raise SystemExit(f"{bag}: the car left the track {figures['exits']} times; drive slower")
    return bag


def errors(folder: Path, seed: int, states: str) -> dict[str, dict[str, float]]:
    """Mean position error over the horizon [m] by arm and by drive."""
    bags = [recorded(folder, seed, number, faster) for number, faster in ((0, 1.0), (1, 1.0), (2, FASTER))]
    learned_from, same, faster = (
        read_drive(bag, mapping=STATES[states], rate_hz=RATE_HZ, mean_commands=True) for bag in bags
    )
    learned_from = learned_from.between(learned_from.start_s, learned_from.start_s + SECONDS)
    car = read_settings(config_file("vehicles", "bmw_320i", ".yaml"), Vehicle)
    models = {}
    for arm in ARMS:
        recipe = recipe_for(arm.recipe, car, seed, arm.physics)
        trained = train([learned_from], recipe, folder / states / f"{arm.name}-training")
        models[arm.name] = passport.in_memory(trained.model, trained.provenance)
    found: dict[str, dict[str, float]] = {name: {} for name in models}
    for what, scored in (("as fast", same), ("30 % faster", faster)):
        compared = compare(models, [scored], split="all", horizons_s=(HORIZON_S,))[0]
        for score in compared.scores:
            if score.model in models:
                found[score.model][what] = score.ade_m
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bars"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--states", choices=tuple(STATES), default="truth")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = arguments.seed or [0]
    by_seed = {seed: errors(arguments.out / f"seed_{seed}", seed, arguments.states) for seed in seeds}
    named = ", ".join(map(str, seeds))
    print(f"position error over {HORIZON_S:g} s in m, by seed ({named}), states: {arguments.states}")
    for arm in ARMS:
        for what in ("as fast", "30 % faster"):
            values = [by_seed[seed][arm.name][what] for seed in seeds]
            print(f"{arm.name:16s} {what:12s} {np.mean(values):.4f}   " + " ".join(f"{v:.4f}" for v in values))
    for other, what in (("single-track", "as fast"), ("neural-only", "30 % faster")):
        ratios = [by_seed[seed]["semi-parametric"][what] / by_seed[seed][other][what] for seed in seeds]
        print(f"semi-parametric / {other}, {what}: {np.mean(ratios):.2f} (target 0.5)")
    write_figures(arguments.json, {str(seed): figures for seed, figures in by_seed.items()})


if __name__ == "__main__":
    main()
