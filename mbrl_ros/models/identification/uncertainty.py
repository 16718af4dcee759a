"""How well the parameters are determined, honest about errors that stay alike for seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Information:
    """What weighted residuals tell about the parameters.

    Args:
        hessian: [P, P] Gauss-Newton Hessian, which is the Fisher information if all residuals were independent.
        scores: [P, P] covariance of the gradient, from sums over blocks of time (the sandwich's filling).
        dilution: number of residuals that tell as much as one independent one.
    """

    hessian: np.ndarray
    scores: np.ndarray
    dilution: float


def information(residuals: np.ndarray, jacobian: np.ndarray, weights: np.ndarray, block: np.ndarray) -> Information:
    """Fisher information and its correction for residuals that are correlated within blocks.

    Residuals of overlapping predictions, and of a model that is wrong for the whole of a corner, err together.
    The gradient's covariance is therefore estimated from its sums over blocks of time (cluster-robust covariance,
    White 1980; Cameron and Miller 2015). With few blocks that estimate is poor in some directions, so it is drawn
    towards the Hessian's shape by the share of parameters per block.

    Args:
        residuals: [R] in units of their scale.
        jacobian: [R, P].
        weights: [R] of the robust loss.
        block: [R] number of the time block of each residual.
    """
    hessian = jacobian.T @ (weights[:, None] * jacobian)
    numbers, index = np.unique(block, return_inverse=True)
    gradients = np.zeros((len(numbers), jacobian.shape[1]))
    np.add.at(gradients, index, (weights * residuals)[:, None] * jacobian)
    count, size = len(numbers), jacobian.shape[1]
    filling = gradients.T @ gradients * count / max(count - 1, 1)
    dilution = max(float(np.trace(_solve(hessian, filling))) / size, 1.0)
    drawn = min(1.0, size / count)
    return Information(hessian, (1 - drawn) * filling + drawn * dilution * hessian, dilution)


def covariance(known: Information, precision: np.ndarray) -> np.ndarray:
    """[P, P] covariance of the estimate that weighs the data, diluted, against independent knowledge.

    Args:
        known: from the data.
        precision: [P] inverse variances of what is known beforehand.
    """
    diluted = known.hessian / known.dilution + np.diag(precision)
    filling = known.scores / known.dilution**2 + np.diag(precision)
    half = _solve(diluted, filling)
    return _solve(diluted, half.T)


def correlation(cov: np.ndarray) -> np.ndarray:
    """[P, P] correlation of a covariance."""
    std = np.sqrt(np.diag(cov))
    return cov / std[:, None] / std[None, :]


def weak_directions(cov: np.ndarray, tolerance: np.ndarray, least_share: float = 0.3) -> list[list[int]]:
    """Combinations of parameters that are not determined, each as the indices that take part, weakest first.

    Args:
        cov: [P, P].
        tolerance: [P] standard deviation with which each would count as determined.
        least_share: of the combination (a unit vector in units of the tolerances) from which one takes part.
    """
    values, vectors = np.linalg.eigh(cov / tolerance[:, None] / tolerance[None, :])
    order = np.argsort(values)[::-1]
    return [np.flatnonzero(np.abs(vectors[:, k]) > least_share).tolist() for k in order if values[k] > 1.0]


def without_prior(
    value: np.ndarray, known: Information, precision: np.ndarray, prior: float, k: int
) -> tuple[float, float]:
    """What the estimate of parameter ``k`` and its standard deviation would be without its own prior.

    From the quadratic at the estimate: the prior's pull ``precision (prior - value)`` is taken away.
    """
    fewer = precision.copy()
    fewer[k] = 1e-12 * max(precision[k], 1e-12)
    diluted = known.hessian / known.dilution + np.diag(fewer)
    pull = np.zeros(len(value))
    pull[k] = precision[k] * (prior - value[k])
    return float(value[k] - _solve(diluted, pull)[k]), float(np.sqrt(covariance(known, fewer)[k, k]))


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``matrix^-1 right`` for a symmetric, possibly badly scaled matrix; null directions give nothing."""
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    inverse = np.linalg.pinv(matrix / size[:, None] / size[None, :], rcond=1e-12, hermitian=True)
    scaled = right / size if right.ndim == 1 else right / size[:, None]
    result = inverse @ scaled
    return result / size if right.ndim == 1 else result / size[:, None]
