"""How much curvature is added to a backward pass: Tassa et al. 2012, section II.F, for a batch of problems."""

from __future__ import annotations

from dataclasses import dataclass

import torch

FACTOR = 2.0
"""delta_0: by how much the pace of growing or shrinking itself grows."""

SMALLEST, LARGEST = 1e-6, 1e10
"""Below the first it is none at all; beyond the last, nothing helps."""


@dataclass(frozen=True)
class Regularisation:
    """mu and its pace, [B] each."""

    mu: torch.Tensor
    pace: torch.Tensor

    def more(self) -> Regularisation:
        """After a failure."""
        pace = (self.pace * FACTOR).clamp_min(FACTOR)
        return Regularisation((self.mu * pace).clamp_min(SMALLEST), pace)

    def less(self) -> Regularisation:
        """After a success."""
        pace = (self.pace / FACTOR).clamp_max(1 / FACTOR)
        mu = self.mu * pace
        return Regularisation(torch.where(mu >= SMALLEST, mu, torch.zeros_like(mu)), pace)

    def where(self, chosen: torch.Tensor, other: Regularisation) -> Regularisation:
        """This where ``chosen`` [B], the other elsewhere."""
        return Regularisation(torch.where(chosen, self.mu, other.mu), torch.where(chosen, self.pace, other.pace))

    @property
    def exhausted(self) -> torch.Tensor:
        """[B] bool."""
        return self.mu > LARGEST
