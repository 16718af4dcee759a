"""Differential dynamic programming with control limits, for a batch of problems at once."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.planning.ddp.augmented_lagrangian import augmented_cost, updated_multipliers
from mbrl_ros.planning.ddp.compiled import CompiledPasses
from mbrl_ros.planning.ddp.passes import Limits, Passes
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.settings import DDPSettings
from mbrl_ros.planning.ddp.solution import (
    CONVERGED,
    NON_FINITE_START,
    RUNNING,
    Iteration,
    Solution,
)
from mbrl_ros.planning.ddp.work import Work


class DDP:
    """Optimises trajectories by their second-order expansion; all problems of a batch at once, each for itself.

    One iteration expands dynamics and cost along the trajectory, finds the best policy of the quadratic model under the
    control limits (backward pass), and follows it through the true dynamics with several step sizes at once (forward
    pass). A step is accepted when merit, cost plus weighted gaps, falls by a share of what was expected; of those
    accepted the best is taken. Regularisation falls after a success and grows after a failure.

    Args:
        problem: what is optimised.
        settings: see `DDPSettings`.
        passes: evaluates derivatives and passes, e.g. compiled ahead of time; None is plain torch.
    """

    def __init__(
        self, problem: OptimalControlProblem, settings: DDPSettings, passes: Passes | CompiledPasses | None = None
    ) -> None:
        self.problem, self.settings = problem, settings
        self.passes: Passes | CompiledPasses = passes or Passes(problem, settings)

    def solve(
        self,
        start: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor | None = None,
        gains: torch.Tensor | None = None,
        bounds: Limits | None = None,
        keep_states: bool = False,
        watch: Callable[[Iteration], None] | None = None,
    ) -> Solution:
        """Optimise from ``actions``, or from a guess of the states that the dynamics need not be able to follow.

        Args:
            start: [B, S].
            actions: [B, N, A]; held inside of the limits.
            states: [B, N + 1, S] guess, its first replaced by ``start``; None rolls the actions out.
            gains: [B, N, A, S] of a policy around ``states``, e.g. an earlier solution's; it is followed from ``start``
                instead of taking the states as they are.
            bounds: [B, N, A] lowest and highest actions where they differ from step to step, equal where an action is
                given; None takes the problem's.
            keep_states: log trajectories of every iteration.
            watch: called after every iteration.

        Raises:
            LayoutError: shapes do not fit.
        """
        self._require_shapes(start, actions, states, gains, bounds)
        with torch.no_grad():
            at = self._begin(start, actions, states, gains, bounds)
            if states is None or gains is not None:
                self.passes.bind("follow", at, torch.ones_like(at.positive))()
            else:
                reached = self.problem.dynamics(at.before, at.actions)
                at.gaps.copy_(reached - at.states[1:])
                at.gap.copy_(at.gaps.abs().sum((0, -1)))
                at.cost.copy_(self._cost(at))
            at.reason.masked_fill_(~(at.cost.isfinite() & at.gap.isfinite()), NON_FINITE_START)
            first_cost, log = at.cost.clone(), list[Iteration]()
            self._optimise(at, log, keep_states, watch)
            for _ in range(self.settings.penalty_rounds - 1 if at.multipliers.shape[-1] else 0):
                at.multipliers.copy_(updated_multipliers(self._violations(at), at.multipliers, at.penalty))
                at.penalty *= self.settings.penalty_growth
                at.cost.copy_(self._cost(at))
                self._regularise(at)
                at.reason.masked_fill_(at.reason == CONVERGED, RUNNING)
                self._optimise(at, log, keep_states, watch)
            return self._solution(at, first_cost, log)

    def _optimise(
        self, at: Work, log: list[Iteration], keep_states: bool, watch: Callable[[Iteration], None] | None
    ) -> None:
        """Iterate until every problem has a reason to stop."""
        running = at.reason == RUNNING
        stale = running.clone()
        expand, expand_end = (self.passes.bind(name, at, stale) for name in ("expand", "expand_end"))
        backward, search = self.passes.bind("backward", at, running), self.passes.bind("search", at, at.trying)
        while bool(running.any()):
            mu, took_part = at.mu.clone(), running.clone()
            at.trying.zero_()
            at.size.zero_()
            at.expected.zero_()
            expand()
            expand_end()
            backward()
            search()
            torch.eq(at.reason, RUNNING, out=running)
            torch.logical_and(running, at.size > 0, out=stale)
            log.append(
                Iteration(
                    at.cost.clone(),
                    at.expected.clone(),
                    at.size.clone(),
                    mu,
                    at.gap.clone(),
                    at.positive.clone(),
                    took_part,
                    at.states.transpose(0, 1).clone() if keep_states else None,
                )
            )
            if watch is not None:
                watch(log[-1])

    def _begin(
        self,
        start: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor | None,
        gains: torch.Tensor | None,
        bounds: Limits | None,
    ) -> Work:
        limits = bounds
        if limits is None and self.problem.low is not None and self.problem.high is not None:
            limits = self.problem.low, self.problem.high
        at = Work.begin(
            start,
            actions,
            states,
            gains,
            limits,
            constraints=self.passes.constraint_count(start, actions[:, 0]),
            second_order=self.settings.second_order,
        )
        rules = self.settings.tolerance, self.settings.acceptance, self.settings.max_iterations
        at.rules.copy_(torch.tensor(rules, dtype=at.rules.dtype))
        at.penalty.fill_(self.settings.first_penalty)
        self._regularise(at)
        return at

    def _regularise(self, at: Work) -> None:
        at.mu.fill_(self.settings.first_regularisation)
        at.pace.fill_(1.0)

    def _cost(self, at: Work) -> torch.Tensor:
        """[B] cost of the trajectory as it is, penalties included."""
        reached = self.problem.dynamics(at.before, at.actions)
        rho = at.penalty.expand(at.actions.shape[:2])
        along = augmented_cost(self.problem, at.before, at.actions, reached, at.multipliers, rho)
        return along.sum(0) + self.problem.terminal_cost(at.end)

    def _violations(self, at: Work) -> torch.Tensor:
        """[N, B, C] constraints along the trajectory."""
        if self.problem.constraints is None:
            return at.actions.new_zeros(*at.actions.shape[:2], 0)
        reached = self.problem.dynamics(at.before, at.actions)
        return self.problem.constraints(at.before, at.actions, reached)

    def _solution(self, at: Work, first_cost: torch.Tensor, log: list[Iteration]) -> Solution:
        violation = torch.zeros_like(at.cost)
        cost = at.cost
        if self.problem.constraints is not None:
            violations = self._violations(at)
            violation = violations.clamp_min(0.0).amax((0, -1))
            reached = self.problem.dynamics(at.before, at.actions)
            cost = self.problem.cost(at.before, at.actions, reached).sum(0)
            cost = cost + self.problem.terminal_cost(at.end)
        return Solution(
            at.states.transpose(0, 1),
            at.actions.transpose(0, 1),
            at.gains.transpose(0, 1),
            at.transitions.transpose(0, 1),
            first_cost,
            cost,
            at.iterations,
            at.reason,
            at.gap,
            violation,
            log,
        )

    def _require_shapes(
        self,
        start: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor | None,
        gains: torch.Tensor | None,
        bounds: Limits | None,
    ) -> None:
        size, count = self.problem.state_size, self.problem.action_size
        if start.ndim != 2 or start.shape[1] != size:
            raise LayoutError(f"start has shape {tuple(start.shape)}, expected [B, {size}]")
        if actions.ndim != 3 or actions.shape[0] != len(start) or actions.shape[2] != count or not actions.shape[1]:
            raise LayoutError(f"actions have shape {tuple(actions.shape)}, expected [{len(start)}, N >= 1, {count}]")
        if states is not None and states.shape != (len(start), actions.shape[1] + 1, size):
            raise LayoutError(
                f"states have shape {tuple(states.shape)}, expected [{len(start)}, {actions.shape[1] + 1}, {size}]"
            )
        if gains is not None and (states is None or gains.shape != (*actions.shape, size)):
            raise LayoutError(f"gains want states, and the shape {(*actions.shape, size)}")
        if bounds is None:
            return
        if (self.problem.low is None) or any(bound.shape != actions.shape for bound in bounds):
            raise LayoutError(
                f"bounds do not have the shape {tuple(actions.shape)} of the actions of a limited problem"
            )
        if not bool((bounds[0] <= bounds[1]).all()):
            raise LayoutError("a lower bound is above the upper one")
