"""Trajectories that may be, each believing members of an ensemble in turn (Chua et al. 2018, section 4)."""

from __future__ import annotations

from typing import Literal

import torch

from mbrl_ros.models.learned.model import OUTPUTS, LearnedModel

Propagation = Literal["ts1", "tsinf"]
"""A trajectory believes another elite at every step ("ts1"), or the same one all along ("tsinf")."""


def sampled_rollout(
    model: LearnedModel,
    state: torch.Tensor,
    actions: torch.Tensor,
    *,
    samples: int,
    mode: Propagation,
    generator: torch.Generator,
) -> torch.Tensor:
    """[K, N, H + 1, S] trajectories from ``state`` [N, S] along the applied ``actions`` [N, H, A].

    All members are evaluated in one product per layer; what a member is uncertain of is drawn anew at each step.

    Args:
        model: its elites are believed.
        state: starts.
        actions: of each start.
        samples: K.
        mode: see `Propagation`.
        generator: of members and noise.
    """
    count = samples * len(state)

    def believed() -> torch.Tensor:
        return model.elites[torch.randint(len(model.elites), (count,), generator=generator)]

    member = believed()
    states = [state.repeat(samples, 1)]
    for action in actions.unbind(dim=1):
        noise = torch.randn(count, len(OUTPUTS), generator=generator, dtype=state.dtype)
        states.append(model.sample(states[-1], action.repeat(samples, 1), member, noise))
        member = believed() if mode == "ts1" else member
    return torch.stack(states, dim=1).unflatten(0, (samples, len(state)))
