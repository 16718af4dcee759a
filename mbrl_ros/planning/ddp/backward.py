"""The backward pass: from derivatives to a policy, and what it promises (Tassa et al. 2012, section II.F; 2014)."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mbrl_ros.planning.ddp.box_qp import box_qp
from mbrl_ros.planning.ddp.derivatives import Expansion
from mbrl_ros.planning.ddp.small_matrices import Cholesky, dot, times, transposed_times
from mbrl_ros.planning.native.scan import Tensors, scan


class Policy(NamedTuple):
    """``u = clamp(u_nominal + a k + K (x - x_nominal))`` for a step size a.

    Args:
        feedforward: [N, B, A] k.
        feedback: [N, B, A, S] K.
        linear, quadratic: [B] expected change of cost ``a linear + a^2 / 2 quadratic``, without gaps.
        costate: [B] largest entry of V_x, which weighs gaps against cost.
        positive: [B] bool: every Quu was positive definite; elsewhere the rest means nothing.
    """

    feedforward: torch.Tensor
    feedback: torch.Tensor
    linear: torch.Tensor
    quadratic: torch.Tensor
    costate: torch.Tensor
    positive: torch.Tensor


def backward_pass(
    expansion: Expansion,
    gaps: torch.Tensor,
    regularisation: torch.Tensor,
    limits: tuple[torch.Tensor, torch.Tensor] | None,
) -> Policy:
    """Minimise the quadratic model of cost-to-go, from the last step to the first.

    With V the value of the next step, moved to the end of the gap d (``V_x <- V_x + V_xx d``)::

        Q_y  = l_y + f_y^T V_x          Q_yy  = l_yy + f_y^T V_xx f_y + V_x . f_yy
        Q~uu = Q_uu + mu (f_u^T f_u + I)          Q~ux = Q_ux + mu f_u^T f_x
        k = argmin u^T Q~uu u / 2 + Q_u^T u       K = -Q~uu^-1 Q~ux   (rows of held actions zero)
        V_x  = Q_x + K^T Q_uu k + K^T Q_u + Q_ux^T k
        V_xx = Q_xx + K^T Q_uu K + K^T Q_ux + Q_ux^T K        (from the un-regularised Q)

    The identity beside f_u^T f_u helps where actions hardly move the state.

    Args:
        expansion: derivatives.
        gaps: [N, B, S] ``f(x_k, u_k) - x_k+1``.
        regularisation: [B] mu.
        limits: [N, B, A] lowest and highest change of each action; None is unlimited.
    """
    size = expansion.end_gradient.shape[-1]
    actions = expansion.gradient.shape[-1] - size
    identity = torch.eye(actions, dtype=gaps.dtype, device=gaps.device)
    curved = expansion.curvature.shape[2] > 0

    def body(carry: Tensors, slices: Tensors) -> tuple[Tensors, Tensors]:
        value_x, value_xx, linear, quadratic, costate, positive = carry
        jacobian, gradient, hessian, gap, *rest = slices
        value_x = value_x + times(value_xx, gap)
        costate = torch.maximum(costate, value_x.abs().amax(-1))
        q = gradient + transposed_times(jacobian, value_x)
        turned = jacobian.transpose(-1, -2)
        qq = hessian + turned @ (value_xx @ jacobian)
        if curved:
            qq = qq + (rest[0] * value_x[..., None, None]).sum(-3)
        q_x, q_u = q[..., :size], q[..., size:]
        q_xx, q_ux, q_uu = qq[..., :size, :size], qq[..., size:, :size], qq[..., size:, size:]
        pushes = turned[..., size:, :] @ jacobian  # f_u^T (f_x, f_u)
        mu = regularisation[..., None, None]
        safe_uu = q_uu + mu * (pushes[..., size:] + identity)
        safe_ux = q_ux + mu * pushes[..., :size]
        if limits is None:
            factor = Cholesky(safe_uu)
            definite = factor.positive
            both = -factor.solve(torch.cat([q_u[..., None], safe_ux], dim=-1))
            k, gain = both[..., 0], both[..., 1:]
        else:
            solution = box_qp(safe_uu, q_u, rest[-2], rest[-1])
            factor, k, definite = solution.factor, solution.x, solution.positive
            gain = -factor.solve(torch.where(solution.free[..., None], safe_ux, torch.zeros_like(safe_ux)))
        after = times(q_uu, k)
        linear = linear + dot(q_u, k)
        quadratic = quadratic + dot(k, after)
        value_x = q_x + transposed_times(gain, after + q_u) + transposed_times(q_ux, k)
        crossed = gain.transpose(-1, -2) @ q_ux
        value_xx = q_xx + gain.transpose(-1, -2) @ (q_uu @ gain) + crossed + crossed.transpose(-1, -2)
        value_xx = (value_xx + value_xx.transpose(-1, -2)) / 2
        return [value_x, value_xx, linear, quadratic, costate, positive & definite], [k, gain]

    zero = torch.zeros_like(expansion.end_gradient[:, 0])
    carry = [
        expansion.end_gradient,
        expansion.end_hessian,
        zero,
        zero,
        zero,
        torch.ones_like(zero, dtype=torch.bool),
    ]
    slices = [expansion.jacobian, expansion.gradient, expansion.hessian, gaps]
    slices += [expansion.curvature] if curved else []
    slices += [] if limits is None else list(limits)
    (_, _, linear, quadratic, costate, positive), (k, gains) = scan(body, carry, slices, reverse=True)
    return Policy(k, gains, linear, quadratic, costate, positive)
