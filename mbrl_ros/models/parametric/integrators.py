"""Explicit integrators. Which one, and with how many substeps, is part of a model and of its passport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch

Columns = tuple[torch.Tensor, ...]
"""A state as its entries, each [...]: saves the stacking between stages."""

Derivative = Callable[[Columns], Columns]
Integrator = Literal["euler", "heun", "rk4"]


def euler(derivative: Derivative, state: Columns, h: float | torch.Tensor) -> Columns:
    """Explicit Euler, order 1."""
    return _along(state, derivative(state), h)


def heun(derivative: Derivative, state: Columns, h: float | torch.Tensor) -> Columns:
    """Heun's method, order 2: the mean of the slopes at both ends."""
    k1 = derivative(state)
    k2 = derivative(_along(state, k1, h))
    return _along(state, tuple(a + b for a, b in zip(k1, k2, strict=True)), h / 2)


def rk4(derivative: Derivative, state: Columns, h: float | torch.Tensor) -> Columns:
    """The classical Runge-Kutta method, order 4."""
    k1 = derivative(state)
    k2 = derivative(_along(state, k1, h / 2))
    k3 = derivative(_along(state, k2, h / 2))
    k4 = derivative(_along(state, k3, h))
    slope = tuple(a + 2 * (b + c) + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return _along(state, slope, h / 6)


def _along(state: Columns, slope: Columns, h: float | torch.Tensor) -> Columns:
    return tuple(value + h * rate for value, rate in zip(state, slope, strict=True))


INTEGRATORS: dict[Integrator, Callable[[Derivative, Columns, float | torch.Tensor], Columns]] = {
    "euler": euler,
    "heun": heun,
    "rk4": rk4,
}
