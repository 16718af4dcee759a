"""What every dynamics model offers, and rolling one out."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from mbrl_ros.core.layout import Layout, ReferencePoint


@runtime_checkable
class DynamicsModel(Protocol):
    """A batched torch module ``f(s, a) -> s'`` over one step of ``dt`` seconds.

    ``action`` is what acts during the step: delays are outside of the model (``core.delay.delayed`` with
    ``delay``), lags and rate limits are inside.
    """

    kind: str
    state_layout: Layout
    action_layout: Layout
    reference_point: ReferencePoint
    dt: float

    @property
    def delay(self) -> torch.Tensor:
        """[A] transport delay of each action [s]."""
        ...

    def __call__(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., S], [..., A] -> [..., S] state after ``dt``."""
        ...


def rollout(model: DynamicsModel, state: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """States along ``actions``: [..., S] start and [..., H, A] applied actions -> [..., H + 1, S]."""
    states = [state]
    for action in actions.unbind(dim=-2):
        states.append(model(states[-1], action))
    return torch.stack(states, dim=-2)
