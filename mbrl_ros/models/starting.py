"""Where a rollout begins: what the driving before it says of the state, and what a model with memory makes of it."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.layout import STATE
from mbrl_ros.core.state_history import StateHistory
from mbrl_ros.models.model import DynamicsModel

SETTLE_S = 0.5
"""Driving before a start over which a model settles what the recording lacks [s]."""


@runtime_checkable
class Remembering(Protocol):
    """A dynamics model whose state has entries behind those of core.layout.STATE: what it remembers of the driving."""

    @property
    def history_s(self) -> float:
        """Driving before a start that it wants to see [s]."""
        ...

    def start(self, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
        """State to begin with; arguments and result as those of `start`."""
        ...


def history_s(model: DynamicsModel) -> float:
    """Driving before a start that ``model`` makes use of [s]."""
    return model.history_s if isinstance(model, Remembering) else SETTLE_S


def start(model: DynamicsModel, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
    """[N, S] states from which ``model`` predicts, after having seen P steps of driving.

    Args:
        model: steps as far as the driving's rows are apart.
        states: [N, P + 1, 8] recorded states, the newest last; any finite value where nothing is recorded.
        observed: [N, 8] bool: which entries are recorded.
        applied: [N, P, A] actions that acted between them.
    """
    if isinstance(model, Remembering):
        return model.start(states, observed, applied)
    return settled(model, states, observed, applied)


def start_now(
    model: DynamicsModel, state: np.ndarray, stamp_s: float, commands: CommandHistory, driven: StateHistory
) -> tuple[torch.Tensor, float]:
    """State [S] from which ``model`` predicts at ``stamp_s``, and the share of the driving it wants that there was.

    Its memory is filled from as many whole steps as were driven; with none it begins empty.

    Args:
        model: any; one without memory begins with ``state``.
        state: [8] the car's at ``stamp_s``, all of it known.
        stamp_s: the present [s].
        commands: as they were sent.
        driven: states up to ``state``.
    """
    dtype = model.delay.dtype
    if not isinstance(model, Remembering):
        return torch.tensor(state, dtype=dtype), 1.0
    wanted = math.ceil(model.history_s / model.dt - 1e-9)
    steps = min(wanted, math.floor(driven.span_s / model.dt + 1e-6))
    before = driven.at(stamp_s + model.dt * np.arange(-steps, 0)) if steps else np.empty((0, len(STATE)))
    states = torch.tensor(np.concatenate([before, state[None]]), dtype=dtype)
    delay = model.delay.detach().double() / model.dt
    late = math.ceil(float(delay.max()))
    sent = torch.from_numpy(commands.mean(stamp_s - (steps + late) * model.dt, model.dt, steps + late))
    applied = delayed(sent, delay, late) if steps else sent[:0]
    everything = torch.ones(1, len(STATE), dtype=torch.bool)
    return model.start(states[None], everything, applied.to(dtype)[None])[0], steps / wanted


def settled(model: DynamicsModel, states: torch.Tensor, observed: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
    """[..., N, 8] newest states, what the recording lacks filled in by the model.

    The model is driven through the P steps; after each, every recorded entry is set to what was recorded, so that
    the others (lateral velocity, road wheel angle, drive acceleration) settle to what the model holds for likely.

    Args:
        model: steps as far as the driving's rows are apart.
        states: [N, P + 1, 8].
        observed: [N, 8] bool.
        applied: [..., N, P, A].
    """
    state = states[:, 0]
    for k in range(applied.shape[-2]):
        state = torch.where(observed, states[:, k + 1], model(state, applied[..., k, :]))
    return state
