"""A car that loses three tenths of its grip: what 20 s of driving teach its model, and what the model forgets.

    tools/run.sh python benchmarks/grip_drop.py --out runs/grip --seed 0 --seed 1 --seed 2 --json runs/grip.json

A semi-parametric model is trained on a minute on full grip, then adapted, as `mbrl adapt` does, to 20 s on 0.7 of it.
Scored are drives of their own, one on each grip, that neither training nor adaptation saw: mean position error over
2 s, from what the car's own filter estimates. With the target: the error on less grip falls by half, that on full grip
grows by less than 20 %. With ``--model single-track`` physics alone is adapted, which has one friction for both
grips: where the full grip was used as hard, it stays as it is. All drives are planned with the vehicle's nominal
single-track model, on simulated time; recordings and models are kept in --out and not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.bringup.course import Course, drive
from mbrl_ros.bringup.graph import config_file
from mbrl_ros.bringup.improvement import ARMS
from mbrl_ros.bringup.newcomer import recipe_for
from mbrl_ros.cli.figures import write_figures
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.learning.adaptation import AdaptationSettings, adapt
from mbrl_ros.learning.training import train
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.settings import RacingPlannerSettings

DROP = 0.7
TRAINED_S, ADAPTED_S = 60.0, 20.0
HORIZON_S = 2.0
LATERAL_MPS2 = 6.0
"""What planners may ask of the tyres: most of what 0.7 of the grip gives [m/s^2]."""
LAPS = (5, 2, 3, 3)
"""Of the drives: to train on and to adapt to, and to score on either grip."""

BASES = {"semi-parametric": ARMS[3], "single-track": ARMS[1]}


def recorded(folder: Path, seed: int, number: int, grip: float) -> Drive:
    """The drive ``number`` on ``grip``."""
    car = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
    planner = read_settings(config_file("planners", "mppi_f1tenth_grip", ".yaml"), RacingPlannerSettings)
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    course = Course(folder, car, track, planner, laps=LAPS[number], seed=seed, drop=grip, track_file="demo")
    nominal = passport.nominal(car, "single_track", planner.mppi.dt_s)
    bag = folder / f"drive_{number}"
    drive(course, nominal, LATERAL_MPS2, grip, bag, number)
    return read_drive(bag, rate_hz=1 / planner.mppi.dt_s, mean_commands=True)


def first(driven: Drive, seconds: float) -> Drive:
    """The first ``seconds`` of it."""
    return driven.between(driven.start_s, driven.start_s + seconds)


def trained(folder: Path, name: str, seed: int, driving: Drive) -> LoadedModel:
    """The model that is to be adapted, kept in ``folder``."""
    place = folder / f"{name}-model"
    if not place.exists():
        car = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
        arm = BASES[name]
        recipe = recipe_for(arm.recipe, car, seed, arm.physics)
        made = train([driving], recipe, folder / f"{name}-training")
        passport.save(made.model, place, made.provenance)
    return passport.load(place)


def errors(folder: Path, name: str, seed: int, settings: AdaptationSettings) -> dict[str, float]:
    """Errors of one kind of model before and after [m], by grip."""
    full, less = first(recorded(folder, seed, 0, 1.0), TRAINED_S), first(recorded(folder, seed, 1, DROP), ADAPTED_S)
    before = trained(folder, name, seed, full)
    adapted = adapt(before, [less], [full], settings)
    after = passport.in_memory(adapted.model, adapted.provenance)
    figures = {}
    for what, driven in (("full grip", recorded(folder, seed, 2, 1.0)), ("less grip", recorded(folder, seed, 3, DROP))):
        compared = compare({"before": before, "after": after}, [driven], split="all", horizons_s=(HORIZON_S,))[0]
        figures |= {f"{what}, {s.model}": s.ade_m for s in compared.scores if s.model in ("before", "after")}
    held_out = {f"held out, {k}": v for k, v in asdict(adapted.before).items()}
    held_out |= {f"held out after, {k}": v for k, v in asdict(adapted.after).items()}
    return figures | held_out | {f"changed {k}": pair[1] / pair[0] for k, pair in adapted.changed.items() if pair[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/grip"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--model", choices=tuple(BASES), default="semi-parametric")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = arguments.seed or [0]
    settings = AdaptationSettings()
    by_seed = {seed: errors(arguments.out / f"seed_{seed}", arguments.model, seed, settings) for seed in seeds}
    print(f"{arguments.model}: position error over {HORIZON_S:g} s in m, by seed ({', '.join(map(str, seeds))})")
    for what, target in (("less grip", "-50 % or more"), ("full grip", "+20 % at most")):
        before, after = (np.array([by_seed[s][f"{what}, {when}"] for s in seeds]) for when in ("before", "after"))
        changes = " ".join(f"{100 * (b / a - 1):+.0f} %" for a, b in zip(before, after, strict=True))
        change = 100 * (after.mean() / before.mean() - 1)
        print(f"{what}: {before.mean():.4f} to {after.mean():.4f}, {change:+.0f} % ({changes}); target {target}")
    for seed, figures in by_seed.items():
        print(seed, {name: round(value, 4) for name, value in figures.items()})
    write_figures(arguments.json, {str(seed): figures for seed, figures in by_seed.items()})


if __name__ == "__main__":
    main()
