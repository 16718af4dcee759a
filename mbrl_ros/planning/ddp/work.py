"""All numbers that an optimisation works with, for a batch of problems."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.planning.ddp.solution import RUNNING


@dataclass
class Work:
    """Tensors that passes read and write, time first; those of one problem lie side by side in memory.

    Args:
        states: [N + 1, B, S].
        actions: [N, B, A].
        gaps: [N, B, S] ``f(x_k, u_k) - x_k+1``.
        gap: [B] sum of the gaps' absolute entries.
        cost: [B], penalties included.
        gains: [N, B, A, S] of the last backward pass that went through.
        transitions: [N, B, S, S] derivatives of next states by states there.
        mu, pace: [B] regularisation.
        reason: [B] index into `solution.REASONS`.
        iterations: [B] line searches made.
        low, high: [N, B, A] limits; None is unlimited.
        multipliers: [N, B, C] of constraints.
        penalty: [B].
        rules: [3] tolerance, acceptance, most iterations.
        jacobian, gradient, hessian, curvature, end_gradient, end_hessian: see `derivatives.Expansion`.
        feedforward, feedback: [N, B, A], [N, B, A, S] policy of the last backward pass.
        linear, quadratic: [B] of the change that it promises, by step size.
        weight: [B] what a unit of gap weighs in merit.
        expected: [B] change of merit promised by a whole step; 0 where none is tried.
        positive: [B] bool: the backward pass went through.
        trying: [B] bool: a line search shall be made.
        size: [B] step size that it took; 0 for none.
    """

    states: torch.Tensor
    actions: torch.Tensor
    gaps: torch.Tensor
    gap: torch.Tensor
    cost: torch.Tensor
    gains: torch.Tensor
    transitions: torch.Tensor
    mu: torch.Tensor
    pace: torch.Tensor
    reason: torch.Tensor
    iterations: torch.Tensor
    low: torch.Tensor | None
    high: torch.Tensor | None
    multipliers: torch.Tensor
    penalty: torch.Tensor
    rules: torch.Tensor
    jacobian: torch.Tensor
    gradient: torch.Tensor
    hessian: torch.Tensor
    curvature: torch.Tensor
    end_gradient: torch.Tensor
    end_hessian: torch.Tensor
    feedforward: torch.Tensor
    feedback: torch.Tensor
    linear: torch.Tensor
    quadratic: torch.Tensor
    weight: torch.Tensor
    expected: torch.Tensor
    positive: torch.Tensor
    trying: torch.Tensor
    size: torch.Tensor

    @classmethod
    def begin(
        cls,
        start: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor | None = None,
        gains: torch.Tensor | None = None,
        limits: tuple[torch.Tensor, torch.Tensor] | None = None,
        *,
        constraints: int = 0,
        second_order: bool = False,
    ) -> Work:
        """From ``start`` with ``actions`` that are moved inside of the limits; batch first in all arguments.

        Args:
            start: [B, S].
            actions: [B, N, A].
            states: [B, N + 1, S], its first replaced by ``start``; None is ``start`` all along.
            gains: [B, N, A, S]; None is zero.
            limits: lowest and highest actions that spread to [B, N, A]; None is unlimited.
            constraints: C.
            second_order: with room for the dynamics' curvature.
        """
        (batch, horizon, count), size = actions.shape, start.shape[1]
        y = size + count

        def along(*shape: int) -> torch.Tensor:
            return start.new_zeros(batch, *shape).movedim(0, 1)

        def one() -> torch.Tensor:
            return start.new_zeros(batch)

        work = cls(
            states=along(horizon + 1, size),
            actions=along(horizon, count),
            gaps=along(horizon, size),
            gap=one(),
            cost=one(),
            gains=along(horizon, count, size),
            transitions=along(horizon, size, size),
            mu=one(),
            pace=one() + 1,
            reason=torch.full((batch,), RUNNING, device=start.device),
            iterations=torch.zeros(batch, dtype=torch.int64, device=start.device),
            low=None if limits is None else along(horizon, count),
            high=None if limits is None else along(horizon, count),
            multipliers=along(horizon, constraints),
            penalty=one() + 1,
            rules=start.new_zeros(3),
            jacobian=along(horizon, size, y),
            gradient=along(horizon, y),
            hessian=along(horizon, y, y),
            curvature=along(horizon, size if second_order else 0, y, y),
            end_gradient=start.new_zeros(batch, size),
            end_hessian=start.new_zeros(batch, size, size),
            feedforward=along(horizon, count),
            feedback=along(horizon, count, size),
            linear=one(),
            quadratic=one(),
            weight=one(),
            expected=one(),
            positive=one().bool(),
            trying=one().bool(),
            size=one(),
        )
        work.states.copy_(start if states is None else states.transpose(0, 1))
        work.states[0] = start
        work.actions.copy_(actions.transpose(0, 1))
        if gains is not None:
            work.gains.copy_(gains.transpose(0, 1))
        if work.low is not None and work.high is not None and limits is not None:
            work.low.copy_(limits[0].expand(actions.shape).transpose(0, 1))
            work.high.copy_(limits[1].expand(actions.shape).transpose(0, 1))
            work.actions.copy_(torch.minimum(torch.maximum(work.actions, work.low), work.high))
        return work

    @property
    def before(self) -> torch.Tensor:
        """[N, B, S] states that actions begin in."""
        return self.states[:-1]

    @property
    def end(self) -> torch.Tensor:
        """[B, S] last states."""
        return self.states[-1]

    def example(self, name: str, horizon: int) -> torch.Tensor:
        """One problem's part of a tensor, of ``horizon`` steps where it runs along them; as it lies in memory."""
        tensor: torch.Tensor = getattr(self, name)
        if name in SHARED:
            return tensor
        if name in PROBLEM_FIRST:
            return tensor[:1]
        return tensor[: horizon + (name == "states"), :1]


SHARED = ("rules",)
"""Tensors that all problems have in common."""

PROBLEM_FIRST = (
    "gap", "cost", "mu", "pace", "reason", "iterations", "penalty", "end_gradient", "end_hessian", "linear",
    "quadratic", "weight", "expected", "positive", "trying", "size", "end",
)  # fmt: skip
"""Tensors that do not run along the horizon."""
