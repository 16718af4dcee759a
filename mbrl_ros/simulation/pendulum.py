"""Gymnasium's Pendulum-v1 as batched torch: the model that a search may look ahead with, equal to the environment."""

from __future__ import annotations

import math

import torch

from mbrl_ros.core.angles import wrap_angle


class Pendulum:
    """A rod of 1 m and 1 kg that is to stand upright on at most 2 Nm; a `learning.tree_search.Problem`.

    The state is the angle from upright and its rate [rad, rad/s], the action the torque [Nm]. The reward of a step of
    0.05 s is ``-(angle^2 + 0.1 rate^2 + 0.001 torque^2)``, of the state before it.
    """

    action_low = (-2.0,)
    action_high = (2.0,)
    observed = 3
    discount = 0.98
    steps = 200
    reward_scale = 1 / 16.0

    def reset(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """[count, 2] any angle, rates within 1 rad/s."""
        draws = 2 * torch.rand(count, 2, generator=generator) - 1
        return draws * torch.tensor([math.pi, 1.0])

    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """[B, 2] -> [B, 3] cosine and sine of the angle, and its rate."""
        angle, rate = state.unbind(-1)
        return torch.stack([angle.cos(), angle.sin(), rate], dim=-1)

    def step(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, 2], [B, 1] -> next state [B, 2], reward [B], and whether the episode ended [B], which it never does."""
        angle, rate = state.unbind(-1)
        torque = action[..., 0].clamp(-2.0, 2.0)
        reward = -(wrap_angle(angle) ** 2 + 0.1 * rate**2 + 0.001 * torque**2)
        rate = (rate + (15.0 * torch.sin(angle) + 3.0 * torque) * 0.05).clamp(-8.0, 8.0)
        following = torch.stack([angle + 0.05 * rate, rate], dim=-1)
        return following, reward, torch.zeros_like(reward, dtype=torch.bool)
