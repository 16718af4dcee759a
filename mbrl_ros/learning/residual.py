"""A network trained on what physics lacks: one round of learning, from weights of zero or of the round before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mbrl_ros import __version__
from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.driving import Stretches
from mbrl_ros.learning.examples import Examples, examples_for
from mbrl_ros.learning.group import Group
from mbrl_ros.learning.objective import MultiStep, SingleStep
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.trainer import Listener, Stop, Trainer
from mbrl_ros.learning.unrolling import predictions_for
from mbrl_ros.models.learned import Config, LearnedModel, build_base
from mbrl_ros.models.parametric import ParametricModel


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of what the networks read."""

    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class Learned:
    """What a round of learning ended with.

    Args:
        model: in float64, the physics as exact as it was.
        single: the same in float32.
        examples: what it learned from.
        errors: [M] of each member on what it did not learn from.
        done: epochs.
        finished: False where it was stopped before the end.
        notes: what is to be said of how it was done, each a sentence.
    """

    model: LearnedModel
    single: LearnedModel
    examples: Examples
    errors: torch.Tensor
    done: int
    finished: bool
    notes: tuple[str, ...]

    @property
    def error(self) -> float:
        """Mean of the members' errors."""
        return float(self.errors.mean())


@dataclass(frozen=True)
class Round:
    """Whom a round of learning tells, and what it shares.

    Args:
        work: folder of its checkpoint.
        fingerprint: of all that decides its outcome.
        tell: told (what is being done beside the epochs, share of it that is done).
        trained: told of every epoch.
        stop: asked between steps.
        group: processes that do the same.
    """

    work: Path
    fingerprint: str
    tell: Callable[[str, float], None]
    trained: Listener
    stop: Stop
    group: Group


def fingerprint(parts: Sequence[Drive], recipe: Recipe) -> str:
    """Hash of everything that decides what a training ends with."""
    driving = [(part.source_hash, part.start_s, part.end_s, part.dt, part.reference_point) for part in parts]
    text = json.dumps([driving, recipe.model_dump(), __version__])
    return hashlib.sha256(text.encode()).hexdigest()


def learn(
    physics: ParametricModel,
    config: Config,
    scaling: Scaling,
    stretches: Stretches,
    recipe: Recipe,
    how: Round,
    begin: LearnedModel | None = None,
) -> Learned:
    """Train the network on ``physics``.

    Args:
        physics: the base, which stays as it is.
        config: of the model.
        scaling: of its inputs.
        stretches: the driving.
        recipe: what and how.
        how: see there.
        begin: whose weights to begin with; None for those of the recipe's seed, which correct nothing.
    """
    settings = recipe.training
    exact = untrained(config, physics, scaling, settings.seed)
    examples = examples_for(exact, stretches, settings, how.work, how.group)
    single = untrained(config, physics, scaling, settings.seed).float()
    single.base.requires_grad_(False)
    notes: tuple[str, ...] = ()
    objective: SingleStep | MultiStep = SingleStep(examples)
    if not config.network.probabilistic:
        predict, notes = predictions_for(single, examples, settings, how.group, how.tell, how.stop)
        objective = MultiStep(single, examples, settings.velocity_weight, predict)
    if begin is not None:
        _take_over(single, begin)
    trainer = Trainer(single, objective, settings, how.work, how.fingerprint, how.group)
    finished = trainer.run(how.trained, how.stop)
    _take_over(exact, single)
    return Learned(exact, single, examples, trainer.errors, trainer.done, finished, notes)


def untrained(config: Config, physics: ParametricModel, scaling: Scaling, seed: int) -> LearnedModel:
    """A model with the weights that training begins with, in float64; the same for the same seed."""
    base = build_base(config, physics.values())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LearnedModel(base, config, scaling.mean.double(), scaling.std.double()).double()


def with_elites(learned: Learned, count: int) -> LearnedModel:
    """The model of which only the ``count`` best members act."""
    best = learned.errors.argsort()[:count].sort().values
    model = learned.model
    config = replace(model.config, network=replace(model.config.network, elites=tuple(best.tolist())))
    chosen = LearnedModel(model.base, config, model.mean, model.std).double()
    _take_over(chosen, learned.single)
    return chosen


def _take_over(model: LearnedModel, other: LearnedModel) -> None:
    """Everything of ``other`` but its base, which keeps its double precision."""
    learned = {name: value for name, value in other.state_dict().items() if not name.startswith("base.")}
    model.load_state_dict({**model.state_dict(), **learned})
