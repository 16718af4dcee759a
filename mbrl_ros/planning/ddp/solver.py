"""Differential dynamic programming with control limits, for a batch of problems at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.planning.ddp.augmented_lagrangian import augmented_cost, updated_multipliers
from mbrl_ros.planning.ddp.backward import Policy
from mbrl_ros.planning.ddp.compiled import CompiledPasses
from mbrl_ros.planning.ddp.derivatives import Expansion, convex
from mbrl_ros.planning.ddp.forward import Candidates
from mbrl_ros.planning.ddp.passes import Limits, Passes
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.regularisation import Regularisation
from mbrl_ros.planning.ddp.solution import (
    CONVERGED,
    ITERATION_LIMIT,
    NON_FINITE_START,
    REGULARISATION_LIMIT,
    RUNNING,
    Iteration,
    Solution,
)

_RELIABLE_MU = 1e-2
"""A small expected gain means an optimum only while regularisation is not what makes it small."""


class DDPSettings(Settings):
    """How trajectories are optimised."""

    second_order: bool = Field(
        default=True, description="with the curvature of the dynamics (DDP), or without (iLQR, Gauss-Newton)"
    )
    convex_cost: bool = Field(
        default=False,
        description="take negative curvature of the cost for positive, so that no backward pass fails for it",
    )
    max_iterations: PositiveInt = Field(default=200, description="iterations of one optimisation at most")
    tolerance: PositiveFloat = Field(
        default=1e-9, description="expected gain that counts as none, as share of one plus the cost"
    )
    step_sizes: PositiveInt = Field(default=10, le=32, description="step sizes tried at once: 1, 1/2, 1/4, ...")
    acceptance: float = Field(
        default=1e-4, gt=0.0, lt=1.0, description="share of the expected gain that a step must bring"
    )
    first_regularisation: NonNegativeFloat = Field(default=1.0, description="mu of the first iteration")
    penalty_rounds: PositiveInt = Field(
        default=1, description="optimisations with growing penalty, where there are constraints"
    )
    first_penalty: PositiveFloat = Field(default=10.0, description="penalty on violated constraints in the first round")
    penalty_growth: float = Field(default=10.0, ge=1.0, description="factor on it from round to round")


@dataclass
class _Iterate:
    """What the iterations change, and the limits; time first: [N + 1, B, S], [N, B, A], [N, B, S], [B], ..."""

    states: torch.Tensor
    actions: torch.Tensor
    limits: Limits | None
    gaps: torch.Tensor
    cost: torch.Tensor
    gains: torch.Tensor
    transitions: torch.Tensor
    regularisation: Regularisation
    reason: torch.Tensor
    iterations: torch.Tensor


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
        self.passes: Passes | CompiledPasses = passes or Passes(problem, settings.second_order)

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
            horizon, batch = at.actions.shape[:2]
            multipliers = start.new_zeros(horizon, batch, self.passes.constraint_count(start, actions[:, 0]))
            penalty = torch.full_like(at.cost, self.settings.first_penalty)
            begin = self._take_guess if states is not None and gains is None else self._roll_out
            begin(at, multipliers, penalty)
            finite = at.cost.isfinite() & at.gaps.isfinite().all(-1).all(0)
            _put(at.reason, ~finite, NON_FINITE_START)
            first_cost, log = at.cost, list[Iteration]()
            self._optimise(at, multipliers, penalty, log, keep_states, watch)
            for _ in range(self.settings.penalty_rounds - 1 if multipliers.shape[-1] else 0):
                multipliers = updated_multipliers(self._violations(at), multipliers, penalty)
                penalty = penalty * self.settings.penalty_growth
                at.cost = self._cost(at, multipliers, penalty)
                at.regularisation = Regularisation.begin(self.settings.first_regularisation, at.cost)
                _put(at.reason, at.reason == CONVERGED, RUNNING)
                self._optimise(at, multipliers, penalty, log, keep_states, watch)
            return self._solution(at, first_cost, log)

    def _optimise(
        self,
        at: _Iterate,
        multipliers: torch.Tensor,
        penalty: torch.Tensor,
        log: list[Iteration],
        keep_states: bool,
        watch: Callable[[Iteration], None] | None,
    ) -> None:
        """Iterate until every problem has a reason to stop."""
        expansion: Expansion | None = None
        while bool((at.reason == RUNNING).any()):
            running = at.reason == RUNNING
            if expansion is None:
                expansion = self.passes.expand(at.states, at.actions, multipliers, penalty)
                expansion = convex(expansion) if self.settings.convex_cost else expansion
            mu = at.regularisation.mu
            policy = self.passes.backward(expansion, at.gaps, mu, _room(at))
            linear, quadratic, gap, weight = self._promise(at, expansion, policy)
            ready = running & policy.positive
            promised = linear + quadratic / 2 - weight * gap
            small = -promised <= self.settings.tolerance * (1 + at.cost.abs())
            converged = ready & small & (mu <= _RELIABLE_MU)
            _put(at.reason, converged, CONVERGED)
            _keep(at.gains, policy.feedback, ready)
            _keep(at.transitions, expansion.jacobian[..., : self.problem.state_size], ready)
            trying = ready & ~converged
            size = torch.zeros_like(at.cost)
            if bool(trying.any()):
                candidates = self.passes.forward(
                    at.states, at.actions, at.gaps, policy, self._step_sizes(at.cost), multipliers, penalty, at.limits
                )
                size = self._line_search(at, candidates, linear, quadratic, gap, weight, trying)
                at.iterations += trying
            accepted = size > 0
            at.regularisation = at.regularisation.less().where(
                accepted, at.regularisation.more().where(running & ~converged, at.regularisation)
            )
            if bool(accepted.any()):
                expansion = None
            _put(at.reason, running & at.regularisation.exhausted, REGULARISATION_LIMIT)
            _put(at.reason, (at.reason == RUNNING) & (at.iterations >= self.settings.max_iterations), ITERATION_LIMIT)
            log.append(
                Iteration(
                    at.cost,
                    torch.where(trying, promised, torch.zeros_like(promised)),
                    size,
                    mu,
                    at.gaps.abs().sum((0, -1)),
                    policy.positive,
                    running,
                    at.states.transpose(0, 1).clone() if keep_states else None,
                )
            )
            if watch is not None:
                watch(log[-1])

    def _promise(
        self, at: _Iterate, expansion: Expansion, policy: Policy
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Linear and quadratic change of cost, sum of gaps, and what a unit of gap weighs in merit; [B] each."""
        gap = at.gaps.abs().sum((0, -1))
        if not bool((gap > 0).any()):
            return policy.linear, policy.quadratic, gap, gap
        # A weight beyond the largest costate makes the merit's minimum the problem's (exact penalty).
        return *self.passes.expected_change(expansion, at.gaps, policy), gap, 2 * policy.costate

    def _line_search(
        self,
        at: _Iterate,
        candidates: Candidates,
        linear: torch.Tensor,
        quadratic: torch.Tensor,
        gap: torch.Tensor,
        weight: torch.Tensor,
        trying: torch.Tensor,
    ) -> torch.Tensor:
        """Move ``at`` to the best acceptable candidate; returns the step sizes [B] taken, 0 for none."""
        sizes = self._step_sizes(at.cost)[:, None]
        expected = sizes * linear + sizes**2 / 2 * quadratic - sizes * weight * gap
        change = candidates.costs - at.cost - sizes * weight * gap
        rounding = 10 * torch.finfo(at.cost.dtype).eps * at.cost.abs()
        acceptable = (expected < 0) & (change <= self.settings.acceptance * expected + rounding) & trying
        change = torch.where(acceptable, change, torch.full_like(change, torch.inf))
        best = change.argmin(dim=0)
        accepted = acceptable.any(dim=0)
        rows = torch.arange(len(best))
        _keep(at.states, candidates.states[:, best, rows], accepted)
        _keep(at.actions, candidates.actions[:, best, rows], accepted)
        _keep(at.gaps, candidates.gaps[:, best, rows], accepted)
        at.cost = torch.where(accepted, candidates.costs[best, rows], at.cost)
        return torch.where(accepted, sizes[best, 0], torch.zeros_like(at.cost))

    def _begin(
        self,
        start: torch.Tensor,
        actions: torch.Tensor,
        states: torch.Tensor | None,
        gains: torch.Tensor | None,
        bounds: Limits | None,
    ) -> _Iterate:
        horizon, batch = actions.shape[1], actions.shape[0]
        controls = actions.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        limits = None
        if bounds is not None:
            limits = bounds[0].transpose(0, 1).contiguous(), bounds[1].transpose(0, 1).contiguous()
        elif self.problem.low is not None and self.problem.high is not None:
            shape = controls.shape
            limits = self.problem.low.expand(shape).contiguous(), self.problem.high.expand(shape).contiguous()
        if limits is not None:
            controls = torch.minimum(torch.maximum(controls, limits[0]), limits[1])
        if states is None:
            along = start.expand(horizon + 1, *start.shape)
        else:
            along = torch.cat([start[None], states.transpose(0, 1)[1:]])
        cost = torch.zeros_like(start[:, 0])
        if gains is None:
            gains = start.new_zeros(batch, horizon, self.problem.action_size, self.problem.state_size)
        return _Iterate(
            along.clone(memory_format=torch.contiguous_format),
            controls,
            limits,
            start.new_zeros(horizon, batch, self.problem.state_size),
            cost,
            gains.transpose(0, 1).clone(memory_format=torch.contiguous_format),
            start.new_zeros(horizon, batch, self.problem.state_size, self.problem.state_size),
            Regularisation.begin(self.settings.first_regularisation, cost),
            torch.full((batch,), RUNNING),
            torch.zeros(batch, dtype=torch.int64),
        )

    def _roll_out(self, at: _Iterate, multipliers: torch.Tensor, penalty: torch.Tensor) -> None:
        """Let the dynamics say where the actions lead; a forward pass that changes nothing but by feedback."""
        still = Policy(torch.zeros_like(at.actions), at.gains, *[torch.zeros_like(at.cost)] * 4)
        found = self.passes.forward(
            at.states, at.actions, at.gaps, still, self._step_sizes(at.cost), multipliers, penalty, at.limits
        )
        at.states, at.cost = found.states[:, 0].contiguous(), found.costs[0]
        _keep(at.actions, found.actions[:, 0], at.cost.isfinite())

    def _take_guess(self, at: _Iterate, multipliers: torch.Tensor, penalty: torch.Tensor) -> None:
        """Take the states as they are, with gaps between them."""
        reached = self.problem.dynamics(at.states[:-1], at.actions)
        at.gaps = reached - at.states[1:]
        at.cost = self._cost(at, multipliers, penalty)

    def _cost(self, at: _Iterate, multipliers: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """[B] cost of the trajectory as it is, penalties included."""
        reached = self.problem.dynamics(at.states[:-1], at.actions)
        rho = penalty.expand(at.actions.shape[:2])
        along = augmented_cost(self.problem, at.states[:-1], at.actions, reached, multipliers, rho)
        return along.sum(0) + self.problem.terminal_cost(at.states[-1])

    def _step_sizes(self, like: torch.Tensor) -> torch.Tensor:
        return 0.5 ** torch.arange(self.settings.step_sizes, dtype=like.dtype, device=like.device)

    def _violations(self, at: _Iterate) -> torch.Tensor:
        """[N, B, C] constraints along the trajectory."""
        if self.problem.constraints is None:
            return at.actions.new_zeros(*at.actions.shape[:2], 0)
        reached = self.problem.dynamics(at.states[:-1], at.actions)
        return self.problem.constraints(at.states[:-1], at.actions, reached)

    def _solution(self, at: _Iterate, first_cost: torch.Tensor, log: list[Iteration]) -> Solution:
        violation = torch.zeros_like(at.cost)
        cost = at.cost
        if self.problem.constraints is not None:
            violations = self._violations(at)
            violation = violations.clamp_min(0.0).amax((0, -1))
            reached = self.problem.dynamics(at.states[:-1], at.actions)
            cost = self.problem.cost(at.states[:-1], at.actions, reached).sum(0)
            cost = cost + self.problem.terminal_cost(at.states[-1])
        return Solution(
            at.states.transpose(0, 1),
            at.actions.transpose(0, 1),
            at.gains.transpose(0, 1),
            at.transitions.transpose(0, 1),
            first_cost,
            cost,
            at.iterations,
            at.reason,
            at.gaps.abs().sum((0, -1)),
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


def _room(at: _Iterate) -> Limits | None:
    """[N, B, A] lowest and highest change of each action."""
    return None if at.limits is None else (at.limits[0] - at.actions, at.limits[1] - at.actions)


def _put(codes: torch.Tensor, where: torch.Tensor, code: int) -> None:
    codes[where] = code


def _keep(target: torch.Tensor, value: torch.Tensor, chosen: torch.Tensor) -> None:
    """Write ``value`` [T, B, ...] into ``target`` for the problems ``chosen`` [B]."""
    mask = chosen.view(1, -1, *[1] * (target.ndim - 2))
    torch.where(mask, value, target, out=target)
