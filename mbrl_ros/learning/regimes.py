"""A model told of another regime of its physics, which it is to know besides those that it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.driving import evenly, find_stretches
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.models.learned import LearnedModel, Regimes
from mbrl_ros.models.parametric import ParametricModel

_WINDOWS = 400  # looked at for what surprises, at most, of either driving
_SAME = 0.1  # share that parameters of one regime may be apart
_SMALLEST = 1e-3  # surprise [m/s^2], [rad/s^2]: simulated sensors may have none


def with_regime(
    model: LearnedModel,
    physics: Mapping[str, float],
    drives: Sequence[Sequence[Drive]],
    settings: TrainingSettings,
    *,
    most: int,
    history_s: float,
) -> LearnedModel:
    """A copy that knows one more regime, with the parameters ``physics``; its networks are as they were.

    A further regime whose parameters are within a tenth makes place for it, and where it would know more than ``most``,
    the physics' own included, so do those that are most like it. What is within a tenth of the physics' own is no other
    regime: then nothing is added.

    Args:
        model: on physics.
        physics: parameters of the new regime that may differ from the physics' own.
        drives: driving of known regimes and of the new one, from which it is seen how much physics in the right regime
            gets wrong.
        settings: of what is seen of them.
        most: at least 2.
        history_s: driving before a start that is to tell regimes apart [s].
    """
    known = list(model.config.regimes.others) if model.config.regimes else []
    if not isinstance(model.base, ParametricModel) or _apart(model.base.values(), physics) < _SAME:
        return model
    known.sort(key=lambda other: _apart(other, physics), reverse=True)
    while known and (len(known) + 2 > most or _apart(known[-1], physics) < _SAME):
        known.pop()
    others = (*known, dict(physics))
    told = _with(model, Regimes(others, history_s, (1.0, 1.0)))
    usual = _usual_surprise(told, drives, settings)
    return _with(model, Regimes(others, history_s, usual))


def _apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Largest difference of a parameter in ``other``, as a share of it."""
    return max(abs(one[name] - value) / max(abs(value), 1e-9) for name, value in other.items())


def without_regimes(model: LearnedModel) -> LearnedModel:
    """A copy that knows its physics' own regime alone."""
    return _with(model, None)


def _with(model: LearnedModel, regimes: Regimes | None) -> LearnedModel:
    changed = LearnedModel(model.base, replace(model.config, regimes=regimes), model.mean, model.std).to(model.mean)
    changed.load_state_dict(model.state_dict())
    return changed


def _usual_surprise(
    model: LearnedModel, drives: Sequence[Sequence[Drive]], settings: TrainingSettings
) -> tuple[float, float]:
    """What physics gets wrong of (vy, yaw_rate) per second, in each stretch in the regime that gets least wrong."""
    rows = torch.cat([_surprises(model, part, settings) for part in drives], dim=1)
    shares = (rows / rows.square().mean(dim=(0, 1, 2)).sqrt().clamp_min(_SMALLEST)).square().sum(dim=(2, 3))
    right = rows[shares.argmin(dim=0), torch.arange(rows.shape[1])]
    vy, yaw_rate = right.square().mean(dim=(0, 1)).sqrt().clamp_min(_SMALLEST).tolist()
    return vy, yaw_rate


def _surprises(model: LearnedModel, drives: Sequence[Drive], settings: TrainingSettings) -> torch.Tensor:
    """[R, N, C, 2] in stretches of ``drives``, see `LearnedModel.surprises`."""
    stretches = find_stretches(drives, model.delay, model.history_s, settings)
    driving = stretches.cut(evenly(len(stretches), _WINDOWS))
    past = driving.past
    with torch.no_grad():
        return model.surprises(driving.states[:, : past + 1], driving.observed, driving.applied[:, :past])
