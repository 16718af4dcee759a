"""Adapting a trained model to newly driven data: a few physical parameters, then its residual."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.calibration import calibrated, whiten
from mbrl_ros.learning.driving import find_stretches, usual_speed
from mbrl_ros.learning.examples import Examples, examples_for
from mbrl_ros.learning.held_out import held_out_errors, held_out_scores
from mbrl_ros.learning.objective import MultiStep
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.learning.regimes import with_regime, without_regimes
from mbrl_ros.learning.reidentification import reidentified
from mbrl_ros.models.identification.fit import Fitting, Knowledge
from mbrl_ros.models.learned import REGIME_PARAMETERS, LearnedModel
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.passport import LoadedModel, Provenance, Uncertainty
from mbrl_ros.models.starting import history_s
from mbrl_ros.models.windows import cut_windows

_Model = ParametricModel | LearnedModel

PHYSICAL = (*REGIME_PARAMETERS, "steering_delay", "drive_delay")
"""What changes with tyres, road and actuators while the car stays the same."""

_SHARES = (1.0, 0.5, 0.2)
"""Of the way from the old physics to what the new driving says."""


class AdaptationSettings(Settings):
    """How far one adaptation may go."""

    horizon_s: PositiveFloat = Field(default=2.0, le=10, description="length of the predictions that are improved [s]")
    start_every_s: PositiveFloat = Field(default=0.2, le=10, description="spacing of their starts [s]")
    forgetting: float = Field(
        default=0.1,
        ge=0.0,
        description="share by which the error on replayed driving may grow; what exceeds it is undone",
    )
    forgetting_floor_m: float = Field(
        default=0.002, ge=0.0, description="growth of that error which is never too much, however small it is [m]"
    )
    friction_step: PositiveFloat = Field(default=0.5, le=1.0, description="largest change of a friction, as a share")
    understeer_step_s2pm: PositiveFloat = Field(default=0.01, description="largest change of the understeer [s^2/m]")
    regimes: PositiveInt = Field(
        default=2, le=8, description="sets of physical parameters that a learned model may know; 1: none is added"
    )
    regime_s: PositiveFloat = Field(
        default=4.0, le=5.0, description="driving before a prediction that tells in which regime the car is [s]"
    )
    delay_step_s: PositiveFloat = Field(default=0.03, le=0.5, description="largest change of a delay [s]")
    epochs: PositiveInt = Field(default=60, description="passes of the residual over the new driving")
    batch: PositiveInt = Field(default=32, description="predictions of new and as many of replayed driving per step")
    learning_rate: PositiveFloat = Field(default=0.01, description="of Adam, on the residual")
    anchor: float = Field(default=0.01, ge=0.0, description="weight of the mean squared change of its weights")
    velocity_weight: float = Field(default=0.3, ge=0.0, description="of heading and velocities beside the position")
    seed: NonNegativeInt = Field(default=0, description="of the batches and of what is held out")

    def most_m(self, before_m: float) -> float:
        """Largest error on replayed driving [m] that is no forgetting where it was ``before_m`` [m]."""
        return before_m + max(self.forgetting * before_m, self.forgetting_floor_m)


@dataclass(frozen=True)
class Errors:
    """Mean position error over the horizon [m], on held-out parts of the new and of the replayed driving."""

    new_m: float
    old_m: float


@dataclass(frozen=True)
class Adapted:
    """What became of a model.

    Args:
        model: the adapted one, in float64; equal to the old one where no step was worth taking.
        provenance: what its passport is to say; bags are for the caller to add.
        before, after: errors of the old and of the adapted model.
        changed: physical parameters that changed, as (old, new) by name.
        regime: physical parameters of a regime that the model did not know; empty where there is none.
        given_up: those of regimes that made place for it.
    """

    model: ParametricModel | LearnedModel
    provenance: Provenance
    before: Errors
    after: Errors
    changed: dict[str, tuple[float, float]]
    regime: dict[str, float]
    given_up: tuple[dict[str, float], ...]


Progress = Callable[[str, float], None]
"""Told (what is being done, share of the whole that is done)."""


def adapt(
    loaded: LoadedModel,
    new: Sequence[Drive],
    old: Sequence[Drive],
    settings: AdaptationSettings | None = None,
    progress: Progress | None = None,
) -> Adapted:
    """A bounded step from a model towards newly driven data that keeps what the model knew.

    Recursive: the model's own parameters are the prior, so the next adaptation begins with this one's result. The new
    driving says which physics it was driven with; of the way there, as much is taken as helps on held-out new driving
    without making the error on held-out replayed driving grow by more than the settings allow. Physics alone has one
    friction, and goes no further. A learned model may know several regimes: the new driving's tyres besides its own,
    and which of them the car is on is told from the seconds before a prediction (see `models.learned.regimes`). From
    the better of both its residual learns from new and replayed driving in equal parts, and stays as it was at its best
    under the same condition.

    Args:
        loaded: the model in force; physics, or a learned model of any kind.
        new: what was driven since, at the model's rate.
        old: driving to replay, of the regimes that are not to be forgotten.
        settings: see there.
        progress: told how far it is.

    Raises:
        ModelError: the model is of a kind that cannot be adapted, or steps at another rate than the driving.
        DataError: there is too little driving of either sort; the message says what to do.
    """
    settings, tell = settings or AdaptationSettings(), progress or (lambda what, share: None)
    model = loaded.model
    if not isinstance(model, ParametricModel | LearnedModel):
        raise ModelError(f"model {loaded.id} ({model.kind}) cannot be adapted; only physics and learned models can")
    if not math.isclose(model.dt, new[0].dt, rel_tol=1e-6):
        raise ModelError(f"model {loaded.id} steps {model.dt:g} s; read the driving with --rate {1 / model.dt:g}")
    telling = isinstance(model, LearnedModel) and isinstance(model.base, ParametricModel) and settings.regimes > 1
    past_s = max(history_s(model), settings.regime_s) if telling else history_s(model)
    before = _errors(model, new, old, settings, past_s)
    tell("physics", 0.0)
    best, least = model, before

    def consider(candidate: _Model) -> None:
        nonlocal best, least
        reached = _errors(candidate, new, old, settings, past_s)
        if reached.new_m < least.new_m and reached.old_m <= settings.most_m(before.old_m):
            best, least = candidate, reached

    wanted = _wanted_physics(model, new, settings)
    for share in _SHARES if wanted else ():
        consider(_with_physics(model, wanted, share))
    regime = {name: value for name, value in wanted.items() if name in REGIME_PARAMETERS}
    if isinstance(model, LearnedModel) and telling and regime:
        driving, most = (old, new), settings.regimes
        consider(with_regime(model, regime, driving, _training(settings), most=most, history_s=settings.regime_s))
    if isinstance(best, LearnedModel):
        consider(_relearned(best, new, old, before, settings, lambda share: tell("residual", 0.2 + 0.8 * share)))
    best, uncertainty = _calibrated(best, new, old, settings)
    tell("done", 1.0)
    provenance = _provenance(loaded, best, uncertainty, new, _training(settings))
    added, given_up = _regimes(model, best)
    return Adapted(best, provenance, before, least, _changed(model, best), added, given_up)


# -- physics ---------------------------------------------------------------------------------------------------


def _physics(model: _Model) -> ParametricModel | None:
    base = model.base if isinstance(model, LearnedModel) else model
    return base if isinstance(base, ParametricModel) else None


def _wanted_physics(model: _Model, new: Sequence[Drive], settings: AdaptationSettings) -> dict[str, float]:
    """Physical parameters as the new driving has them, the old ones being the prior; within one step of these."""
    physics = _physics(model)
    if physics is None:
        return {}
    names = tuple(name for name in PHYSICAL if name in physics.values())
    centre = np.array([physics.values()[name] for name in names])
    step = np.array([_step(name, value, settings) for name, value in zip(names, centre, strict=True)])
    low = np.maximum(centre - step, [physics.table[name].low for name in names])
    high = np.minimum(centre + step, [physics.table[name].high for name in names])
    training, knowledge = _training(settings), Knowledge(names, low, high, centre, step)
    if isinstance(model, LearnedModel):
        return reidentified(without_regimes(model), new, knowledge, training, 1)
    windows = cut_windows(
        new,
        horizon_s=settings.horizon_s,
        past_s=float(high[[name.endswith("_delay") for name in names]].max()) + history_s(model) + physics.dt,
        every_s=settings.start_every_s,
        min_speed=usual_speed(new),
        block_s=training.block_s,
        limit=400,
        seed=settings.seed,
    )
    fit = Fitting(windows).run(physics, knowledge)
    return dict(zip(names, fit.theta.tolist(), strict=True))


def _step(name: str, value: float, settings: AdaptationSettings) -> float:
    if name.endswith("_delay"):
        return settings.delay_step_s
    return settings.understeer_step_s2pm if name == "understeer" else settings.friction_step * value


def _with_physics(model: _Model, wanted: dict[str, float], share: float) -> _Model:
    """A copy whose physics went ``share`` of the way to ``wanted``."""
    physics = _physics(model)
    if physics is None:
        return copy.deepcopy(model)
    old = physics.values()
    moved = physics.with_parameters({name: old[name] + share * (to - old[name]) for name, to in wanted.items()})
    if isinstance(model, ParametricModel):
        return moved
    return copy.deepcopy(model).with_base(moved)


# -- the residual ----------------------------------------------------------------------------------------------


def _relearned(
    model: LearnedModel,
    new: Sequence[Drive],
    old: Sequence[Drive],
    before: Errors,
    settings: AdaptationSettings,
    tell: Callable[[float], None],
) -> LearnedModel:
    """``model`` with the residual that is best on held-out new driving within what may be forgotten."""
    single = copy.deepcopy(model).float()
    single.base.requires_grad_(False)
    trained = {name: p for name, p in single.named_parameters() if p.requires_grad}
    anchor = {name: p.detach().clone() for name, p in trained.items()}
    kept, least = anchor, math.inf
    examples = [_examples(model, drives, settings) for drives in (new, old)]
    objectives = [MultiStep(single, part, settings.velocity_weight) for part in examples]
    learned_from = [(~part.held_out[0]).nonzero()[:, 0] for part in examples]
    optimiser = torch.optim.Adam(trained.values(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    for epoch in range(settings.epochs):
        for _ in range(max(1, len(learned_from[0]) // settings.batch)):
            losses = [_loss(single, *side, settings, generator) for side in zip(objectives, learned_from, strict=True)]
            change = torch.stack([((p - anchor[name]) ** 2).mean() for name, p in trained.items()]).sum()
            optimiser.zero_grad()
            (torch.stack(losses).sum() + settings.anchor * change).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
            optimiser.step()
        now, then = (float(objective.held_out(single).mean()) for objective in objectives)
        if now < least and then <= settings.most_m(before.old_m):
            kept, least = {name: p.detach().clone() for name, p in trained.items()}, now
        tell((epoch + 1) / settings.epochs)
    changed = copy.deepcopy(model)
    changed.load_state_dict({**changed.state_dict(), **kept})  # the physics keeps its double precision
    return changed


def _loss(
    model: LearnedModel,
    objective: MultiStep,
    rows: torch.Tensor,
    settings: AdaptationSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """Of a batch drawn from ``rows``, in a view drawn at random."""
    batch = rows[torch.randint(len(rows), (settings.batch,), generator=generator)]
    view = int(torch.randint(objective.examples.views, (1,), generator=generator))
    return objective.losses(model, view, batch).loss.mean()


def _examples(model: LearnedModel, drives: Sequence[Drive], settings: AdaptationSettings) -> Examples:
    """``drives`` as ``model`` reads them, the same held out for every member."""
    stretches = find_stretches(drives, model.delay.detach(), model.history_s, _training(settings))
    with tempfile.TemporaryDirectory() as folder:
        examples = examples_for(model, stretches, _training(settings), Path(folder))
    return replace(examples, held_out=examples.held_out[:1].expand(model.config.network.members, -1))


# -- errors and passport ---------------------------------------------------------------------------------------


def _errors(
    model: _Model, new: Sequence[Drive], old: Sequence[Drive], settings: AdaptationSettings, past_s: float
) -> Errors:
    training = _training(settings)
    return Errors(*(float(held_out_errors(model, drives, training, past_s).mean()) for drives in (new, old)))


def _training(settings: AdaptationSettings) -> TrainingSettings:
    return TrainingSettings(horizon_s=settings.horizon_s, start_every_s=settings.start_every_s, seed=settings.seed)


def _calibrated(
    model: _Model, new: Sequence[Drive], old: Sequence[Drive], settings: AdaptationSettings
) -> tuple[_Model, Uncertainty | None]:
    """A learned model whose intervals and novelty are those of new and replayed driving together."""
    if isinstance(model, ParametricModel):
        return model, None
    single = copy.deepcopy(model).float()
    both = _examples(model, [*new, *old], settings)
    whiten(single, both)
    model = copy.deepcopy(model)
    model.whitening.copy_(single.whitening)
    return model, calibrated(single, both)


def _provenance(
    loaded: LoadedModel,
    adapted: _Model,
    uncertainty: Uncertainty | None,
    new: Sequence[Drive],
    training: TrainingSettings,
) -> Provenance:
    """What the passport says; its scores are on the held-out part of the new driving, where the car is now."""
    stated = loaded.passport
    known = {name: record for name, record in stated.parameters.items() if record.std is not None}
    return Provenance(
        bags=stated.bags,
        split=stated.split,
        std={name: record.std for name, record in known.items() if record.std is not None},
        identifiable={name: bool(record.identifiable) for name, record in known.items()},
        scores=held_out_scores(adapted, new, training),
        notes=(*stated.notes, f"adapted from {loaded.id}"),
        uncertainty=uncertainty,
    )


def _changed(old: _Model, new: _Model) -> dict[str, tuple[float, float]]:
    before, after = _physics(old), _physics(new)
    if before is None or after is None:
        return {}
    pairs = {name: (value, after.values()[name]) for name, value in before.values().items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _regimes(old: _Model, new: _Model) -> tuple[dict[str, float], tuple[dict[str, float], ...]]:
    """Parameters of the regime that ``new`` knows and ``old`` does not, and of those that it does not know any more."""
    before, after = _others(old), _others(new)
    added = [other for other in after if other not in before]
    return (added[-1] if added else {}), tuple(other for other in before if other not in after)


def _others(model: _Model) -> tuple[dict[str, float], ...]:
    regimes = model.config.regimes if isinstance(model, LearnedModel) else None
    return regimes.others if regimes is not None else ()
