"""Robust nonlinear least squares inside a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Solution:
    """Where the search ended.

    Args:
        theta: [P] parameters.
        cost: robust cost at ``theta``.
        residuals: [R] there.
        jacobian: [R, P] there.
        weights: [R] by which the robust loss counts each residual, in (0, 1].
        iterations: Jacobians computed.
        converged: the last step promised or brought less than the tolerance.
    """

    theta: np.ndarray
    cost: float
    residuals: np.ndarray
    jacobian: np.ndarray
    weights: np.ndarray
    iterations: int
    converged: bool


def robust_weights(residuals: np.ndarray, knee: np.ndarray) -> np.ndarray:
    """[R] weights ``1 / (1 + (r / knee)^2)`` of the Cauchy loss: an outlier's pull falls to zero with its size."""
    return 1.0 / (1.0 + (residuals / knee) ** 2)


def robust_cost(residuals: np.ndarray, knee: np.ndarray) -> float:
    """Cauchy loss ``sum knee^2 / 2 log(1 + (r / knee)^2)``; half the square where the knee is infinite."""
    plain = np.isinf(knee)
    bent = np.where(plain, 1.0, knee)
    return 0.5 * float(np.where(plain, residuals**2, bent**2 * np.log1p((residuals / bent) ** 2)).sum())


def minimise(
    residuals_and_jacobian: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    residuals_only: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    *,
    knee: float | np.ndarray = np.inf,
    max_iterations: int = 30,
    tolerance: float = 1e-5,
    progress: Callable[[], None] | None = None,
) -> Solution:
    """Levenberg-Marquardt inside ``low <= theta <= high``.

    Robust by iterated reweighting (Cauchy loss). Steps that would leave the box end at its edge, and the other
    parameters are solved for again. The damping is scaled by each parameter's own curvature (Moré 1978), so units
    do not matter.

    Args:
        residuals_and_jacobian: theta [P] -> ([R], [R, P]).
        residuals_only: the same residuals, cheaper; non-finite ones reject a step.
        start: [P].
        low: [P].
        high: [P].
        knee: residuals beyond this count less; a number or [R].
        max_iterations: Jacobians at most.
        tolerance: relative change of the cost that ends the search.
        progress: told of each Jacobian.
    """
    theta = np.clip(np.asarray(start, dtype=float), low, high)
    damping, iterations = 1e-3, 0
    while True:
        residuals, jacobian = residuals_and_jacobian(theta)
        iterations += 1
        if progress is not None:
            progress()
        knees = np.broadcast_to(np.asarray(knee, dtype=float), residuals.shape)
        cost, weights = robust_cost(residuals, knees), robust_weights(residuals, knees)

        def solution(converged: bool) -> Solution:
            return Solution(theta, cost, residuals, jacobian, weights, iterations, converged)  # noqa: B023

        gradient = jacobian.T @ (weights * residuals)
        hessian = jacobian.T @ (weights[:, None] * jacobian)
        gained = None
        while gained is None:
            step = _bounded_step(hessian, gradient, damping, low - theta, high - theta)
            promised = -float(gradient @ step + 0.5 * step @ hessian @ step)
            if promised <= tolerance * cost or damping > 1e8:
                return solution(True)
            trial = np.clip(theta + step, low, high)
            after = robust_cost(residuals_only(trial), knees)
            if after < cost:  # False where it is not finite
                gained = cost - after
            else:
                damping *= 4.0
        if iterations >= max_iterations or gained <= tolerance * cost:
            theta, converged = trial, gained <= tolerance * cost
            residuals, jacobian = residuals_and_jacobian(theta)
            cost, weights = robust_cost(residuals, knees), robust_weights(residuals, knees)
            return solution(converged)
        theta = trial
        if gained > 0.5 * promised:
            damping = max(damping / 4.0, 1e-9)


def _bounded_step(
    hessian: np.ndarray, gradient: np.ndarray, damping: float, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """[P] damped Gauss-Newton step inside ``low <= step <= high``: what would leave is held at the edge."""
    curvature = np.diag(hessian)
    damped = hessian + np.diag(damping * curvature + 1e-300)
    step = np.zeros_like(gradient)
    held = np.zeros(len(gradient), dtype=bool)
    while not held.all():
        free = ~held
        right = -gradient[free] - damped[np.ix_(free, held)] @ step[held]
        size = np.sqrt(np.diag(damped)[free])
        step[free] = np.linalg.solve(damped[np.ix_(free, free)] / size[:, None] / size, right / size) / size
        outside = free & ((step < low) | (step > high))
        if not outside.any():
            break
        step[outside] = np.clip(step, low, high)[outside]
        held |= outside
    return step
