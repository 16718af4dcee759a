"""First and second derivatives along trajectories, all steps of all problems at once (`torch.func`)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.func import grad, jacfwd, jacrev, vmap

from mbrl_ros.planning.ddp.augmented_lagrangian import augmented_cost
from mbrl_ros.planning.ddp.problem import OptimalControlProblem


class Expansion(NamedTuple):
    """Derivatives at every step with respect to y = (x, u), of length Y = S + A.

    Args:
        jacobian: [N, B, S, Y] of f.
        gradient: [N, B, Y] of l(x, u, f(x, u)).
        hessian: [N, B, Y, Y] of l(x, u, f(x, u)); without f's own curvature in the first-order method.
        curvature: [N, B, S, Y, Y] Hessians of f's entries; S is 0 in the first-order method.
        end_gradient: [B, S] of l_T.
        end_hessian: [B, S, S] of l_T.
    """

    jacobian: torch.Tensor
    gradient: torch.Tensor
    hessian: torch.Tensor
    curvature: torch.Tensor
    end_gradient: torch.Tensor
    end_hessian: torch.Tensor


def expand(
    problem: OptimalControlProblem,
    states: torch.Tensor,
    actions: torch.Tensor,
    multipliers: torch.Tensor,
    penalty: torch.Tensor,
    second_order: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Jacobian, gradient, Hessian and curvature, see `Expansion`, at ``states`` [N, B, S] and ``actions`` [N, B, A].

    With ``second_order`` False, the cost sees f linearised at the point: its Hessian is then the Gauss-Newton-like
    ``l_yy`` pulled back through the Jacobian, and no second derivative of f is needed anywhere (iLQR). It is made of
    differences of the exact gradient, good to about the root of the precision: a second sweep of derivatives would
    make programs compiled from a racing task four times as large.

    Args:
        problem: what is differentiated.
        states: [N, B, S] where.
        actions: [N, B, A] where.
        multipliers: [N, B, C].
        penalty: [B].
        second_order: with f's curvature (DDP), or without (iLQR).
    """
    count, batch = actions.shape[:2]
    size = problem.state_size
    points = torch.cat([states, actions], dim=-1).flatten(0, 1)
    weights = multipliers.flatten(0, 1)
    penalties = penalty.expand(count, batch).flatten()

    def cost(y: torch.Tensor, following: torch.Tensor, weight: torch.Tensor, rho: torch.Tensor) -> torch.Tensor:
        return augmented_cost(problem, y[:size], y[size:], following, weight, rho)

    def both_orders(y: torch.Tensor, weight: torch.Tensor, rho: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def joint(y: torch.Tensor) -> torch.Tensor:
            following = problem.dynamics(y[:size], y[size:])
            return torch.cat([following, cost(y, following, weight, rho)[None]])

        return _two_derivatives(joint, y)

    def first_order(
        y: torch.Tensor, weight: torch.Tensor, rho: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        def next_state(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            following = problem.dynamics(y[:size], y[size:])
            return following, following

        jacobian, following = jacrev(next_state, has_aux=True)(y)

        def linearised(move: torch.Tensor) -> torch.Tensor:
            return cost(y + move, following + (jacobian * move).sum(-1), weight, rho)

        step = torch.finfo(y.dtype).eps ** 0.5
        moves = step * torch.eye(len(y) + 1, len(y), dtype=y.dtype, device=y.device).roll(1, 0)
        slopes = vmap(grad(linearised))(moves)
        hessian = (slopes[1:] - slopes[0]) / step
        return jacobian, slopes[0], (hessian + hessian.mT) / 2

    if second_order:
        first, second = vmap(both_orders)(points, weights, penalties)
        jacobian, gradient = first[:, :size], first[:, size]
        curvature, hessian = second[:, :size], second[:, size]
    else:
        jacobian, gradient, hessian = vmap(first_order)(points, weights, penalties)
        curvature = hessian.new_zeros(len(hessian), 0, *hessian.shape[1:])

    def by_step(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.unflatten(0, (count, batch))

    return by_step(jacobian), by_step(gradient), by_step(hessian), by_step(curvature)


def expand_end(problem: OptimalControlProblem, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient and Hessian of the terminal cost at ``state`` [B, S]."""
    gradient, hessian = vmap(lambda x: _two_derivatives(lambda x: problem.terminal_cost(x)[None], x))(state)
    return gradient[:, 0], hessian[:, 0]


def convex(hessian: torch.Tensor) -> torch.Tensor:
    """[..., Y, Y] positive semi-definite Hessians of a cost, whose model then has a minimum.

    Negative eigenvalues change their sign (Dauphin et al. 2014, "saddle-free Newton"): where the cost is bent strongly,
    either way, its model holds for short steps alone; without any curvature there it would promise long ones. What is
    not finite stays so, for the backward pass to notice.
    """
    finite = hessian.isfinite().all(-1).all(-1)[..., None, None]
    values, vectors = torch.linalg.eigh(torch.where(finite, hessian, torch.zeros_like(hessian)))
    kept = (vectors * values.abs()[..., None, :]) @ vectors.mT
    return torch.where(finite, kept, hessian)


def _two_derivatives(function, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[no-untyped-def]
    """[M, Y] and [M, Y, Y] derivatives of ``function``, [Y] -> [M], in two sweeps forward."""

    def once(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first = jacfwd(function)(y)
        return first, first

    with torch.enable_grad():  # without, SiLU's derivative is a formula that torch cannot derive again
        second, first = jacfwd(once, has_aux=True)(y)
    return first.detach(), second.detach()
