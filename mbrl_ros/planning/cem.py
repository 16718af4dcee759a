"""The cross-entropy method: the next distribution is that of the cheapest samples."""

from __future__ import annotations

import math

import torch

from mbrl_ros.planning.mppi_settings import CEMSettings
from mbrl_ros.planning.path_integral import Drawn, Updated
from mbrl_ros.planning.planner import PlanningError
from mbrl_ros.planning.sampler import Distribution


class CrossEntropy:
    """Mean and standard deviation of the elites, with momentum; with coloured noise and kept elites this is iCEM.

    Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning". Standard deviations adapt from
    iteration to iteration and are the first ones again in the next cycle, as there. Control cost is the task's affair.

    Args:
        settings: shares and momentum.
    """

    def __init__(self, settings: CEMSettings) -> None:
        self._settings = settings

    def reset(self) -> None:
        """Nothing lasts longer than a cycle but the kept elites, which are the planner's."""

    def __call__(self, drawn: Drawn) -> Updated:
        """The distribution of the elites.

        Raises:
            PlanningError: no cost is finite.
        """
        elites = self._elites(drawn)
        chosen, old = drawn.actions[..., elites], drawn.source
        momentum = self._settings.momentum
        mean = torch.lerp(chosen.mean(dim=-1), old.mean, momentum)
        std = torch.lerp(chosen.std(dim=-1, correction=0), old.std, momentum)
        std = torch.maximum(std, self._settings.std_floor_share * drawn.first_std)
        weights = torch.zeros(len(drawn.costs))
        weights[elites] = 1.0 / len(elites)
        kept = elites[: round(self._settings.kept_share * len(elites))]
        return Updated(Distribution(mean, std), weights, kept, 0.0)

    def _elites(self, drawn: Drawn) -> torch.Tensor:
        """[E] numbers of the cheapest samples, the best first; those not finite are none."""
        costs = torch.nan_to_num(drawn.costs, nan=math.inf, posinf=math.inf, neginf=math.inf)
        wanted = max(2, round(self._settings.elite_share * len(costs)))
        values, order = costs.topk(wanted, largest=False)
        elites = order[torch.isfinite(values)]
        if not len(elites):
            raise PlanningError(f"no plan {drawn.where}: of {len(costs)} rollouts none has a finite cost")
        return elites
