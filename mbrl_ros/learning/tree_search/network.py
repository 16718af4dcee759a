"""Policy and value in one network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

_LOG_STD = (-3.0, 0.5)


@dataclass(frozen=True)
class Judgement:
    """What is thought of B places.

    Args:
        value: [B] return to be expected, in scaled rewards.
        mean, log_std: [B, A] of actions before squashing.
    """

    value: torch.Tensor
    mean: torch.Tensor
    log_std: torch.Tensor

    def log_density(self, raw: torch.Tensor) -> torch.Tensor:
        """[B, K] log density of the actions that ``raw`` [B, K, A] are squashed to, up to a constant that the bounds
        decide."""
        mean, log_std = self.mean[:, None], self.log_std[:, None]
        normal = -0.5 * ((raw - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh^2) as in Haarnoja et al. 2018, in the form that does not overflow
        correction = 2 * (math.log(2) - raw - torch.nn.functional.softplus(-2 * raw))
        return (normal - correction).sum(dim=-1)


class PolicyValue(torch.nn.Module):
    """Observations, or latents, to a squashed Gaussian over actions and to the return to be expected.

    Args:
        inputs: O.
        actions: A.
        hidden: width of the two hidden layers.
    """

    def __init__(self, inputs: int, actions: int, hidden: int = 128) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(
            torch.nn.Linear(inputs, hidden), torch.nn.SiLU(), torch.nn.Linear(hidden, hidden), torch.nn.SiLU()
        )
        self.value_head = torch.nn.Linear(hidden, 1)
        self.policy_head = torch.nn.Linear(hidden, 2 * actions)
        for head in (self.value_head, self.policy_head):  # begins undecided, and with no opinion
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.zeros_(head.bias)

    def forward(self, inputs: torch.Tensor) -> Judgement:
        """[B, O] -> what is thought of it."""
        features = self.trunk(inputs)
        mean, spread = self.policy_head(features).chunk(2, dim=-1)
        low, high = _LOG_STD
        log_std = low + (high - low) * torch.sigmoid(spread + 2.0)  # wide at first
        return Judgement(self.value_head(features)[..., 0], mean, log_std)


class Bounds(torch.nn.Module):
    """Actions inside of their bounds from any numbers.

    Args:
        low, high: [A] least and most.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, low: Sequence[float], high: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        """[..., A] -> [..., A]."""
        return self.low + (self.high - self.low) * (torch.tanh(raw) + 1) / 2
