"""Physical parameters of a learned model fitted anew, with what it has learned in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from mbrl_ros.core.layout import STATE
from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.driving import Stretches, evenly, find_stretches
from mbrl_ros.learning.examples import held_out_windows
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.models.identification.fit import Knowledge, robust_fit
from mbrl_ros.models.identification.objective import ERRORS, prediction_errors
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.parametric import ParametricModel

_WINDOWS = 300  # predictions fitted to, at most
_STEPS = 20  # of the horizon at which errors are taken
_ITERATIONS = 6
_RELATIVE_STEP = 1e-6  # of a parameter's range, for derivatives in float64
_DELAYS = ("steering_delay", "drive_delay")


def reidentified(
    model: LearnedModel, drives: Sequence[Drive], knowledge: Knowledge, settings: TrainingSettings, parts: int
) -> dict[str, float]:
    """Values of the parameters in ``knowledge`` with which the whole model predicts best, its networks as they are.

    The same robust multi-step least squares as of the physics alone (see `identification.fit`), but each member's
    prediction with its residual, from the driving that it may learn from. Its memory is filled anew for each value,
    since what surprises it depends on the physics.

    Args:
        model: in float64, on physics.
        drives: the driving.
        knowledge: what to fit, inside which bounds, and what is known beforehand.
        settings: of the predictions, and of what is held out.
        parts: how many different parts of the driving members hold out; 1 for all the same.
    """
    objective = _Objective(model, drives, knowledge, settings, parts)
    theta = np.array([objective.physics.values()[name] for name in knowledge.names])
    solved = robust_fit(objective, theta, knowledge, objective.used, objective.block, rounds=2, iterations=_ITERATIONS)
    return dict(zip(knowledge.names, solved.theta.tolist(), strict=True))


class _Objective:
    """``theta -> errors`` of the members' predictions, and their derivatives by forward differences."""

    def __init__(
        self, model: LearnedModel, drives: Sequence[Drive], knowledge: Knowledge, settings: TrainingSettings, parts: int
    ) -> None:
        assert isinstance(model.base, ParametricModel)  # noqa: S101
        self.model, self.physics, self._names = model, model.base, knowledge.names
        self._high, self._size = knowledge.high, _RELATIVE_STEP * (knowledge.high - knowledge.low)
        highest = dict(zip(knowledge.names, knowledge.high.tolist(), strict=True))
        slowest = torch.tensor([highest.get(name, self.physics.values()[name]) for name in _DELAYS])
        stretches = find_stretches(drives, slowest, model.history_s, settings)
        rows = evenly(len(stretches), _WINDOWS)
        self._stretches = Stretches(stretches.starts.part(rows), stretches.delay_steps, stretches.before)
        held_out = held_out_windows(stretches.starts.block, parts, settings)[:, rows]
        self._learned_from = ~held_out.expand(model.config.network.members, -1)
        self.block = np.concatenate([self._stretches.starts.block[part] for part in self._learned_from.numpy()])
        observed = dict(zip(STATE.names, self._stretches.observed.any(0).tolist(), strict=True))
        self.used = np.array([observed.get(name, True) for name in ERRORS])
        horizon = stretches.starts.horizon
        self._steps = sorted({max(1, round(horizon * (k + 1) / _STEPS)) - 1 for k in range(_STEPS)})

    def errors(self, theta: np.ndarray) -> np.ndarray:
        """[K, steps, 6] prediction errors at ``theta`` [P], in the order of ``ERRORS``."""
        physics = self.physics.with_parameters(dict(zip(self._names, theta.tolist(), strict=True)))
        model = self.model.with_base(physics)
        driving = replace(self._stretches, delay_steps=physics.delay.detach() / physics.dt).cut(
            np.arange(len(self._stretches))
        )
        past = driving.past
        with torch.no_grad():
            prepared = model.prepare(driving.states[:, : past + 1], driving.observed, driving.applied[:, :past])
            memory = model.recall(prepared.inputs, prepared.shares)
            car = prepared.car.expand(model.config.network.members, -1, -1)
            states = []
            for action in driving.applied[:, past:].unbind(dim=1):
                car, memory = model.advance(car, memory, action)
                states.append(car)
        kept = torch.stack([states[k] for k in self._steps], dim=2)
        driven = driving.states[:, past + 1 :][:, self._steps]
        return prediction_errors(kept, driven, driving.observed[:, None])[self._learned_from].numpy()

    def errors_and_jacobian(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The errors and their [K, steps, 6, P] derivatives."""
        here = self.errors(theta)
        size = np.where(theta + self._size > self._high, -self._size, self._size)
        slopes = [(self.errors(theta + np.eye(len(theta))[k] * size[k]) - here) / size[k] for k in range(len(theta))]
        return here, np.stack(slopes, axis=-1)
