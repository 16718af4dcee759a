"""Policy and value in one network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

_LOG_STD = (-3.0, 0.5)


class PolicyValue(torch.nn.Module):
    """Observations to a squashed Gaussian over actions, and to the return to be expected.

    Args:
        observed: O.
        low, high: bounds of the actions.
        hidden: width of the two hidden layers.
    """

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, observed: int, low: Sequence[float], high: Sequence[float], hidden: int = 128) -> None:
        super().__init__()
        self.trunk = torch.nn.Sequential(
            torch.nn.Linear(observed, hidden), torch.nn.SiLU(), torch.nn.Linear(hidden, hidden), torch.nn.SiLU()
        )
        self.value_head = torch.nn.Linear(hidden, 1)
        self.policy_head = torch.nn.Linear(hidden, 2 * len(low))
        for head in (self.value_head, self.policy_head):  # begins undecided, and with no opinion
            torch.nn.init.zeros_(head.weight)
            torch.nn.init.zeros_(head.bias)
        self.register_buffer("low", torch.tensor(low))
        self.register_buffer("high", torch.tensor(high))

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[..., O] -> value [...], mean and log standard deviation [..., A] before squashing."""
        features = self.trunk(observation)
        mean, spread = self.policy_head(features).chunk(2, dim=-1)
        low, high = _LOG_STD
        log_std = low + (high - low) * torch.sigmoid(spread + 2.0)  # wide at first
        return self.value_head(features)[..., 0], mean, log_std

    def squash(self, raw: torch.Tensor) -> torch.Tensor:
        """[..., A] any number to an action inside of the bounds."""
        return self.low + (self.high - self.low) * (torch.tanh(raw) + 1) / 2

    def log_density(self, raw: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
        """[...] log density of the actions ``squash(raw)``, up to a constant that the bounds decide."""
        normal = -0.5 * ((raw - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh^2) as in Haarnoja et al. 2018, in the form that does not overflow
        correction = 2 * (math.log(2) - raw - torch.nn.functional.softplus(-2 * raw))
        return (normal - correction).sum(dim=-1)
