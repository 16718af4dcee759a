"""Weights of sampled plans by the exponential of what they cost, at a temperature that is given or searched for."""

from __future__ import annotations

import math

import numpy as np
import torch

from mbrl_ros.planning.planner import PlanningError


def weigh(
    costs: torch.Tensor, pull: torch.Tensor, temperature: float, effective_share: float | None, where: str = ""
) -> tuple[torch.Tensor, float]:
    """Weights [K] of rollouts, ``exp(-cost / lambda - pull)`` normalised, and the temperature lambda used.

    Args:
        costs: [K]; those not finite get no weight.
        pull: [K] control cost over lambda.
        temperature: lambda.
        effective_share: effective sample size per finite rollout that lambda is chosen to give; None keeps lambda.
        where: names the cycle in errors.

    Raises:
        PlanningError: no cost is finite.
    """
    finite = torch.isfinite(costs) & torch.isfinite(pull)
    if not bool(finite.any()):
        raise PlanningError(f"no plan {where}: of {len(costs)} rollouts none has a finite cost; is the state finite?")
    cost = costs.double().numpy()[finite.numpy()]
    pulled = pull.double().numpy()[finite.numpy()]
    cost = cost - cost.min()  # the baseline: only differences count
    if effective_share is not None:
        temperature = _temperature_for(cost, pulled, effective_share * len(cost), temperature)
    weights = torch.zeros(len(costs))
    weights[finite] = torch.from_numpy(_softmin(cost, pulled, temperature)).float()
    return weights, temperature


def effective_sample_size(weights: torch.Tensor) -> float:
    """``1 / sum w^2``: K for equal weights, 1 where one takes all."""
    return float(weights.sum().square() / weights.square().sum())


def _softmin(cost: np.ndarray, pull: np.ndarray, temperature: float) -> np.ndarray:
    exponent = -cost / temperature - pull
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def _temperature_for(cost: np.ndarray, pull: np.ndarray, target: float, guess: float) -> float:
    """The temperature whose weights have the effective sample size ``target``, to a few per cent.

    The size grows with the temperature: the guess is doubled or halved until it is bracketed, then bisected. Where
    all costs are equal, or the pull alone decides, no temperature helps and the guess stays.
    """

    def size(temperature: float) -> float:
        return float(1.0 / np.square(_softmin(cost, pull, temperature)).sum())

    low = high = guess
    for _ in range(60):
        if size(low) <= target:
            break
        low /= 2.0
    else:
        return guess
    for _ in range(60):
        if size(high) >= target:
            break
        high *= 2.0
    else:
        return guess
    for _ in range(6):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if size(middle) < target else (low, middle)
    return math.sqrt(low * high)
