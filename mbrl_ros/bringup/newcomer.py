"""A newcomer: a model trained on all driving so far but a part of each drive, and proven on that part of the newest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation import proof
from mbrl_ros.evaluation.comparison import BagComparison, compare
from mbrl_ros.evaluation.fitting import held_out_scores, training_bag, training_parts
from mbrl_ros.evaluation.open_loop import position_errors
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.training import Progress, train
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel

HELD_OUT = "time:0.67"
"""A third of each drive is not learned from: there newcomers have their proof, and there limits are earned."""

HORIZON_S = 1.0
"""Of the predictions by which models are judged."""


@dataclass(frozen=True)
class Proof:
    """The newcomer beside the model in force, on driving that neither learned from.

    Args:
        accepted: whether the newcomer takes over.
        errors_m: [N] position errors after `HORIZON_S` [m] of the model that is in force from now on.
        words: root mean squares of both and the verdict, in a sentence.
    """

    accepted: bool
    errors_m: np.ndarray
    words: str


def read_for(bag: Path, dt_s: float) -> Drive:
    """A recording at the planner's step ``dt_s`` [s], which is also that of a model that learns from it."""
    return read_drive(bag, rate_hz=1 / dt_s, mean_commands=True)


def recipe_for(
    name: str, vehicle: Vehicle, seed: int, physics: Literal["kinematic_bicycle", "single_track"] | None = None
) -> Recipe:
    """A recipe of config/training, its physics beginning with the vehicle's nominal parameters.

    Args:
        name: of the recipe, or the path of one.
        vehicle: the car.
        seed: in the place of the recipe's.
        physics: in the place of the recipe's; None leaves it.
    """
    recipe = read_settings(config_file("training", name, ".yaml"), Recipe)
    seeded = recipe.training.model_copy(update={"seed": seed})
    chosen = recipe.model_copy(update={"physics": physics or recipe.physics, "training": seeded})
    return chosen.beginning_with(vehicle)


def trained(drives: Sequence[Drive], recipe: Recipe, folder: Path, progress: Progress | None = None) -> LoadedModel:
    """A model of all ``drives`` but their held-out parts, saved in ``folder``; the training is kept beside it.

    Raises:
        MbrlError: see `learning.training.train`.
    """
    parts = training_parts(drives, HELD_OUT)
    done = train(parts, recipe, folder.with_name(f"{folder.name}-training"), progress or Progress())
    bags = tuple(training_bag(part) for part in parts)
    scores, doubts = held_out_scores(done.model, drives, HELD_OUT)
    notes = (*done.provenance.notes, *doubts)
    stated = replace(done.provenance, bags=bags, split=HELD_OUT, scores=scores, notes=notes)
    passport.save(done.model, folder, stated)
    return passport.load(folder)


def proven(present: LoadedModel, newcomer: LoadedModel, newest: Drive) -> Proof:
    """Whether ``newcomer`` may take over: the rule of `evaluation.proof`, on the held-out part of ``newest``."""
    both = {"present": present, "newcomer": newcomer}
    compared = compare(both, [newest], split=HELD_OUT, horizons_s=(HORIZON_S,))[0]
    before, after = (errors_of(compared, name) for name in both)
    was_m, now_m = (float(np.sqrt(np.mean(errors**2))) for errors in (before, after))
    accepted = proof.holds(now_m, was_m, proof.ProofSettings().tolerance)
    verdict = "takes over from" if accepted else "is refused, being worse than"
    words = f"{newcomer.id} ({now_m:.3f} m) {verdict} {present.id} ({was_m:.3f} m)"
    return Proof(accepted, after if accepted else before, words)


def errors_of(compared: BagComparison, name: str) -> np.ndarray:
    """[N] position errors of a model after `HORIZON_S` [m]; infinite where a prediction was not finite."""
    step = round(HORIZON_S / compared.windows.dt)
    errors = position_errors(compared.predicted[name], compared.windows)[:, step]
    return errors[~np.isnan(errors)]
