"""Rollouts of each member of an ensemble by itself, and what a plan costs when members disagree."""

from __future__ import annotations

import torch

from mbrl_ros.core.layout import STATE, Layout
from mbrl_ros.models.learned import LearnedModel


class EachMember(torch.nn.Module):
    """A learned model whose members each go their own way; a `models.model.DynamicsModel` on M times K rows.

    The first K rows believe the first member, the next K the second. Behind the car's state a row has the memory of
    its member alone.

    Args:
        model: with M members.
    """

    def __init__(self, model: LearnedModel) -> None:
        super().__init__()
        self.model = model
        self.kind = model.kind
        self.action_layout, self.reference_point, self.dt = model.action_layout, model.reference_point, model.dt
        self.members = model.config.network.members
        memory = tuple(f"memory_{k}" for k in range((len(model.state_layout) - len(STATE)) // self.members))
        self.state_layout = Layout(STATE.names + memory, STATE.units + ("1",) * len(memory))

    @property
    def delay(self) -> torch.Tensor:
        """[A] transport delay of each action [s]."""
        return self.model.delay

    def separate(self, state: torch.Tensor) -> torch.Tensor:
        """[S'] the model's own state -> [M, S] one for each member."""
        car, memory = self.model.separate(state[None])
        return torch.cat([car[:, 0], memory[..., 0]], dim=-1)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[M K, S], [M K, A] -> [M K, S] state after ``dt``."""
        state, action = (rows.unflatten(0, (self.members, -1)) for rows in (state, action))
        car, memory = self.model.advance(state[..., : len(STATE)], state[..., len(STATE) :].mT, action)
        return torch.cat([car, memory.mT], dim=-1).flatten(0, 1)


def risk(costs: torch.Tensor, tail_share: float, disagreement_weight: float) -> torch.Tensor:
    """[K] what plans cost, given what they cost by each member [M, K].

    The mean over the worst ``tail_share`` of the members (CVaR; Rockafellar and Uryasev 2000), and
    ``disagreement_weight`` times their standard deviation. Not finite where one of them is not.
    """
    count = tail_share * len(costs)
    shares = (count - torch.arange(len(costs), dtype=costs.dtype)).clamp(0.0, 1.0) / count
    tail = (shares[:, None] * costs.sort(dim=0, descending=True).values).sum(dim=0)
    return tail + disagreement_weight * costs.std(dim=0, correction=0)
