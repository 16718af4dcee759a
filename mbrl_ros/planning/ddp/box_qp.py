"""Quadratic programs with box limits, very many and very small, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.planning.ddp.small_matrices import Cholesky, dot, times


@dataclass(frozen=True)
class BoxSolution:
    """Minimiser of a box-limited quadratic program.

    Args:
        x: [..., A].
        free: [..., A] bool: entries that no limit holds.
        factor: of H with the rows and columns of held entries replaced by the identity's.
        positive: [...] bool: H is positive definite; elsewhere x is the best found, and need not be a minimiser.
    """

    x: torch.Tensor
    free: torch.Tensor
    factor: Cholesky
    positive: torch.Tensor


def box_qp(hessian: torch.Tensor, gradient: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> BoxSolution:
    """Minimise ``x^T H x / 2 + g^T x`` with ``low <= x <= high``.

    Every way to hold entries at a limit is solved for the others, moved inside of the limits, and the best one taken:
    the minimiser is among them. These are 4^A small systems of which a compiler makes a few loops, and a car has two
    actions; iterating (Tassa et al. 2014, section III) takes as many operations in each of several steps.

    Args:
        hessian: [..., A, A] H.
        gradient: [..., A] g.
        low: [..., A] limit.
        high: [..., A] limit.
    """
    size = gradient.shape[-1]
    entries = torch.arange(size, device=gradient.device)
    ways = (torch.arange(4**size, device=gradient.device)[:, None] >> 2 * entries) & 3
    ways = ways.view(-1, *[1] * (gradient.ndim - 1), size)
    zero = torch.zeros_like(gradient)
    held = torch.where(ways == 1, low, torch.where(ways == 2, high, zero))
    free = (ways == 0) | (ways == 3)
    slope = torch.where(free, gradient + times(hessian, held), zero)
    factors = _factor(hessian, free)
    x = torch.where(free, -factors.solve(slope[..., None])[..., 0], held)
    x = torch.minimum(torch.maximum(x, low), high)
    value = dot(x, gradient + times(hessian, x) / 2)
    best = torch.where(value < torch.inf, value, torch.inf).argmin(dim=0)  # NaN is not good either
    x = x.gather(0, best[None, ..., None].expand(1, *gradient.shape))[0]
    slope = gradient + times(hessian, x)
    free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
    return BoxSolution(x, free, _factor(hessian, free), factors.positive[0])


def _factor(hessian: torch.Tensor, free: torch.Tensor) -> Cholesky:
    """Of H among the ``free`` entries."""
    both = free[..., :, None] & free[..., None, :]
    identity = torch.eye(free.shape[-1], dtype=hessian.dtype, device=hessian.device)
    return Cholesky(torch.where(both, hessian, identity))
