"""How uncertain predicted positions are: the members' spread, and intervals calibrated on held-out driving."""

from __future__ import annotations

import torch

from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.models.learned.model import LearnedModel
from mbrl_ros.models.passport import HorizonIntervals

AXES = ("along", "across")

_WIDEST = 5.0  # what a width is multiplied by at most where a start is novel: further out nothing is known of errors


def member_rollouts(model: LearnedModel, state: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """[M, N, H + 1, 8] trajectories of all members, each going its own way from ``state`` [N, S] along [N, H, A]."""
    car, memory = model.separate(state)
    states = [car]
    for action in actions.unbind(dim=1):
        car, memory = model.advance(car, memory, action)
        states.append(car)
    return torch.stack(states, dim=2)


def spread(trajectories: torch.Tensor) -> torch.Tensor:
    """[N, H + 1, 2] standard deviation of members' positions [M, N, H + 1, 8] along and across their mean heading."""
    yaw = trajectories[..., YAW].mean(dim=0)
    apart = trajectories[..., [X, Y]] - trajectories[..., [X, Y]].mean(dim=0)
    return torch.stack([part.square().mean(dim=0).sqrt() for part in in_heading(apart, yaw)], dim=-1)


def in_heading(difference: torch.Tensor, yaw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences of position [..., 2] along and across the heading ``yaw`` [...]."""
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    dx, dy = difference.unbind(dim=-1)
    return cos * dx + sin * dy, cos * dy - sin * dx


def half_widths(intervals: HorizonIntervals, spread_m: torch.Tensor, novelty: torch.Tensor) -> torch.Tensor:
    """[N, L, 2] half the width [m] of intervals of L levels, along and across.

    Args:
        intervals: of one horizon.
        spread_m: [N, 2] the members', see `spread`.
        novelty: [N] of the starts, see `LearnedModel.novelty`.
    """
    factors = torch.tensor([intervals.along, intervals.across]).to(spread_m).T
    weights = torch.tensor([intervals.along_weights, intervals.across_weights]).to(spread_m)
    parts = width_parts(torch.tensor(intervals.base_m).to(spread_m), spread_m, novelty)
    return factors * (parts * weights).sum(dim=-1)[:, None]


def width_parts(base_m: torch.Tensor, spread_m: torch.Tensor, novelty: torch.Tensor) -> torch.Tensor:
    """[N, 2, 3] what a width is a weighted sum of: usual error [2], members' spread [N, 2], novelty [N]; in m.

    All of it is multiplied by the square of novelties above the usual one, as what a fit lacks grows beyond the driving
    that it was fitted to (the remainder of Taylor's series after its linear terms); by 5 at most.
    """
    parts = torch.stack([base_m.expand_as(spread_m), spread_m, novelty[:, None] * base_m], dim=-1)
    return parts * novelty.clamp(min=1.0).square().clamp(max=_WIDEST)[:, None, None]
