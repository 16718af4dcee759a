"""Quadratic programs with box limits, very many at once: projected Newton (Tassa et al. 2014, section III)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.planning.ddp.small_matrices import Cholesky, dot, times

_STEP_SIZES = tuple(0.5**power for power in range(8))


@dataclass(frozen=True)
class BoxSolution:
    """Minimiser of a box-limited quadratic program.

    Args:
        x: [..., A].
        free: [..., A] bool: entries that no limit holds.
        factor: of H with the rows and columns of held entries replaced by the identity's.
    """

    x: torch.Tensor
    free: torch.Tensor
    factor: Cholesky


def box_qp(
    hessian: torch.Tensor, gradient: torch.Tensor, low: torch.Tensor, high: torch.Tensor, start: torch.Tensor
) -> BoxSolution:
    """Minimise ``x^T H x / 2 + g^T x`` with ``low <= x <= high``.

    Every iteration takes a Newton step in the entries that no limit holds, and of several step sizes the best, so the
    objective never grows. Their number is fixed, as a compiled program wants it: one for each entry that may change
    between held and free, twice over. Where H is not positive definite in the free entries, ``factor.positive`` is
    False and the rest means nothing.

    Args:
        hessian: [..., A, A] H.
        gradient: [..., A] g.
        low: [..., A] limit.
        high: [..., A] limit.
        start: [..., A] first guess, e.g. the solution of a similar problem.
    """
    x = torch.minimum(torch.maximum(start, low), high)
    for _ in range(2 * gradient.shape[-1] + 1):
        slope, free, factor = _free_newton(hessian, gradient, low, high, x)
        step = -factor.solve(torch.where(free, slope, torch.zeros_like(slope))[..., None])[..., 0]
        best, lowest = x, torch.zeros_like(x[..., 0])
        steepest = -slope / hessian.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        for move in (*(size * step for size in _STEP_SIZES), steepest):
            tried = torch.minimum(torch.maximum(x + move, low), high)
            move = tried - x
            change = dot(move, slope + times(hessian, move) / 2)
            better = change < lowest
            best = torch.where(better[..., None], tried, best)
            lowest = torch.where(better, change, lowest)
        x = best
    _, free, factor = _free_newton(hessian, gradient, low, high, x)
    return BoxSolution(x, free, factor)


def _free_newton(
    hessian: torch.Tensor, gradient: torch.Tensor, low: torch.Tensor, high: torch.Tensor, x: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, Cholesky]:
    """Slope at ``x``, which entries may move, and the factor of H among them."""
    slope = gradient + times(hessian, x)
    free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
    both = free[..., :, None] & free[..., None, :]
    identity = torch.eye(x.shape[-1], dtype=x.dtype, device=x.device)
    return slope, free, Cholesky(torch.where(both, hessian, identity.expand_as(hessian)))
