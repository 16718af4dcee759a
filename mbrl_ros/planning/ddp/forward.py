"""The forward pass: what a policy really does, for all step sizes of the line search in one rollout."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mbrl_ros.planning.ddp.augmented_lagrangian import augmented_cost
from mbrl_ros.planning.ddp.backward import Policy
from mbrl_ros.planning.ddp.derivatives import Expansion
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.small_matrices import dot, times
from mbrl_ros.planning.native.scan import Tensors, scan


class Candidates(NamedTuple):
    """Trajectories by step size.

    Args:
        states: [N + 1, L, B, S].
        actions: [N, L, B, A], inside of the limits.
        gaps: [N, L, B, S] that remain.
        costs: [L, B].
    """

    states: torch.Tensor
    actions: torch.Tensor
    gaps: torch.Tensor
    costs: torch.Tensor


def forward_pass(
    problem: OptimalControlProblem,
    states: torch.Tensor,
    actions: torch.Tensor,
    gaps: torch.Tensor,
    policy: Policy,
    step_sizes: torch.Tensor,
    multipliers: torch.Tensor,
    penalty: torch.Tensor,
    limits: tuple[torch.Tensor, torch.Tensor] | None,
) -> Candidates:
    """Roll the policy out around a trajectory; a step size a closes the share a of every gap (Mastalli et al. 2020).

    Args:
        problem: dynamics and cost.
        states: [N + 1, B, S].
        actions: [N, B, A].
        gaps: [N, B, S].
        policy: of the backward pass.
        step_sizes: [L].
        multipliers: [N, B, C].
        penalty: [B].
        limits: [N, B, A] lowest and highest actions; None is unlimited.
    """
    sizes = step_sizes[:, None, None]

    def body(carry: Tensors, slices: Tensors) -> tuple[Tensors, Tensors]:
        state, cost = carry
        nominal, action, gap, k, gain, weights, *low_high = slices
        tried = action + sizes * k + times(gain, state - nominal)
        if low_high:
            tried = torch.minimum(torch.maximum(tried, low_high[0]), low_high[1])
        reached = problem.dynamics(state, tried)
        left = (1 - sizes) * gap
        cost = cost + augmented_cost(
            problem, state, tried, reached, weights.expand(len(sizes), *weights.shape), penalty.expand_as(cost)
        )
        following = reached - left
        return [following, cost], [following, tried, left]

    start = states[0].expand(len(sizes), *states.shape[1:]).contiguous()
    slices = [states[:-1], actions, gaps, policy.feedforward, policy.feedback, multipliers]
    slices += [] if limits is None else list(limits)
    (end, cost), (following, tried, left) = scan(body, [start, torch.zeros_like(start[..., 0])], slices)
    return Candidates(
        torch.cat([start[None], following]),
        tried,
        left,
        cost + problem.terminal_cost(end),
    )


def expected_change(expansion: Expansion, gaps: torch.Tensor, policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear and quadratic coefficient [B] each: cost changes by ``a linear + a^2 / 2 quadratic`` with open gaps.

    The policy is followed through the linearised dynamics, gaps included, and the quadratic model of the cost is summed
    up along the way. Without gaps, and with the curvature of the dynamics, the backward pass says this already.
    """
    size = gaps.shape[-1]

    def body(carry: Tensors, slices: Tensors) -> tuple[Tensors, Tensors]:
        move, linear, quadratic = carry
        jacobian, gradient, hessian, gap, k, gain = slices
        both = torch.cat([move, k + times(gain, move)], dim=-1)
        linear = linear + dot(gradient, both)
        quadratic = quadratic + dot(both, times(hessian, both))
        return [times(jacobian, both) + gap, linear, quadratic], [both[..., :size]]

    zero = torch.zeros_like(policy.linear)
    slices = [expansion.jacobian, expansion.gradient, expansion.hessian, gaps, policy.feedforward, policy.feedback]
    (move, linear, quadratic), _ = scan(body, [torch.zeros_like(gaps[0]), zero, zero.clone()], slices)
    linear = linear + dot(expansion.end_gradient, move)
    return linear, quadratic + dot(move, times(expansion.end_hessian, move))
