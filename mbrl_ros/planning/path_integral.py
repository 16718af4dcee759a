"""The update of MPPI: all samples, weighted by the exponential of their cost; and what any update answers with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.noise import NoiseShape
from mbrl_ros.planning.sampler import Distribution
from mbrl_ros.planning.weighting import weigh


@dataclass(frozen=True)
class Drawn:
    """Sampled action sequences and what they cost.

    Args:
        source: what they were drawn from.
        first_std: [H, A] standard deviations at the beginning of the cycle.
        origin: [A] action that control cost counts from.
        actions: [H, A, K], within bounds.
        costs: [K].
        where: names the cycle in errors.
    """

    source: Distribution
    first_std: torch.Tensor
    origin: torch.Tensor
    actions: torch.Tensor
    costs: torch.Tensor
    where: str


@dataclass(frozen=True)
class Updated:
    """What the next iteration draws from.

    Args:
        source: the next distribution; its mean is the plan.
        weights: [K] of the samples in that mean, summing to one.
        kept: [N] numbers of the samples that stay among those of the next iteration.
        temperature: lambda, 0 where there is none.
    """

    source: Distribution
    weights: torch.Tensor
    kept: torch.Tensor
    temperature: float


class Update(Protocol):
    """Turns samples and costs into the next distribution."""

    def reset(self) -> None:
        """Forget what was learned from earlier cycles."""
        ...

    def __call__(self, drawn: Drawn) -> Updated:
        """The next distribution.

        Raises:
            PlanningError: no cost is finite.
        """
        ...


class PathIntegral:
    """Weights ``exp(-(S - min S) / lambda) / sum`` (Williams et al. 2017); standard deviations stay.

    Args:
        shapes: [A] of the noise.
        settings: temperature, effective share, control cost.
    """

    def __init__(self, shapes: Sequence[NoiseShape], settings: MPPISettings) -> None:
        self._precisions = torch.stack([torch.tensor(shape.precision, dtype=torch.float32) for shape in shapes])
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Begin the search for a temperature anew."""
        self._temperature = self._settings.temperature

    def __call__(self, drawn: Drawn) -> Updated:
        """The mean of all samples by their weights."""
        settings = self._settings
        # Per sample sum_t u_t^T Sigma^-1 eps_t, up to a constant that no weight depends on.
        pull = self.pull(drawn.source, drawn.origin).flatten() @ drawn.actions.flatten(0, 1)
        weights, self._temperature = weigh(drawn.costs, pull, self._temperature, settings.effective_share, drawn.where)
        # The weights sum to one: u + sum w (v - u) = sum w v, which stays inside of the bounds.
        source = Distribution(drawn.actions @ weights, drawn.source.std)
        return Updated(source, weights, torch.empty(0, dtype=torch.long), self._temperature)

    def pull(self, source: Distribution, origin: torch.Tensor) -> torch.Tensor:
        """[H, A] control cost over lambda per command: ``share Sigma^-1 (u - origin)``."""
        nominal = (source.mean - origin) / source.std
        return self._settings.control_cost_share * torch.einsum("ast,ta->sa", self._precisions, nominal) / source.std
