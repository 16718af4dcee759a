"""Stiff ordinary differential equations, at a cost that is known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Derivative = Callable[[list[float]], list[float]]

_GAMMA = 1.0 - 1.0 / math.sqrt(2.0)  # the smaller of the two values that make the method L-stable
_NUDGE = 1e-6


def rosenbrock_step(
    derivative: Derivative, state: list[float], step_s: float, stiff: Sequence[int], jacobian: np.ndarray
) -> list[float]:
    """State after ``step_s``, by the two-stage Rosenbrock method ROS2.

    Source: Verwer et al., "A second-order Rosenbrock method applied to photochemical dispersion problems", SIAM J.
    Sci. Comput. 20, 1999, eq. 3.1.

    A wheel's spin settles within ``I_w u / (R^2 C F_z)``, below 0.1 ms for a car that rolls slowly: explicit
    methods would need thousands of evaluations a second. ROS2 is L-stable, and of second order for *any* matrix in
    the place of the Jacobian, so the rows and columns that are not stiff are left out, and an old one may serve for
    several steps. Entries that stiff ones follow within a step belong to the stiff ones.

    Args:
        derivative: right-hand side of the equation; may not keep or change the list handed in.
        state: where the step starts.
        step_s: length of the step [s].
        stiff: entries of the state that are treated implicitly.
        jacobian: of the derivative, rows and columns ``stiff``; see ``stiff_jacobian``.
    """
    index = list(stiff)
    damping = np.linalg.inv(np.eye(len(index)) - _GAMMA * step_s * jacobian)
    start = np.array(state)
    first = np.array(derivative(state))
    first[index] = damping @ first[index]
    second = np.array(derivative((start + step_s * first).tolist())) - 2.0 * first
    second[index] = damping @ second[index]
    return (start + step_s * (1.5 * first + 0.5 * second)).tolist()


def stiff_jacobian(derivative: Derivative, state: list[float], stiff: Sequence[int]) -> np.ndarray:
    """[n, n] forward differences of the derivative's ``stiff`` entries by themselves."""
    here = derivative(state)
    jacobian = np.empty((len(stiff), len(stiff)))
    for column, entry in enumerate(stiff):
        nudge = _NUDGE * max(1.0, abs(state[entry]))
        moved = list(state)
        moved[entry] += nudge
        there = derivative(moved)
        for row, other in enumerate(stiff):
            jacobian[row, column] = (there[other] - here[other]) / nudge
    return jacobian
