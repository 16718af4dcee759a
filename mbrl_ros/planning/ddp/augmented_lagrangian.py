"""Soft inequality constraints by the augmented Lagrangian (Nocedal and Wright 2006, section 17.4)."""

from __future__ import annotations

import torch

from mbrl_ros.planning.ddp.problem import OptimalControlProblem


def augmented_cost(
    problem: OptimalControlProblem,
    state: torch.Tensor,
    action: torch.Tensor,
    next_state: torch.Tensor,
    multipliers: torch.Tensor,
    penalty: torch.Tensor,
) -> torch.Tensor:
    """[...] ``l + sum_c (max(0, lambda_c + rho g_c)^2 - lambda_c^2) / (2 rho)`` of a transition.

    Args:
        problem: has l, and g where there are constraints.
        state: [..., S].
        action: [..., A].
        next_state: [..., S].
        multipliers: [..., C] lambda >= 0.
        penalty: [...] rho > 0.
    """
    cost = problem.cost(state, action, next_state)
    if problem.constraints is None:
        return cost
    violation = problem.constraints(state, action, next_state)
    pushed = (multipliers + penalty[..., None] * violation).clamp_min(0.0)
    return cost + ((pushed**2 - multipliers**2).sum(-1)) / (2 * penalty)


def updated_multipliers(violation: torch.Tensor, multipliers: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
    """[..., C] ``max(0, lambda + rho g)``, with ``penalty`` [...]."""
    return (multipliers + penalty[..., None] * violation).clamp_min(0.0)
