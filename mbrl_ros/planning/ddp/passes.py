"""The computations of an iteration, as plain torch functions of what a `Work` holds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mbrl_ros.planning.ddp.backward import Policy, backward_pass
from mbrl_ros.planning.ddp.derivatives import Expansion, convex, expand, expand_end
from mbrl_ros.planning.ddp.forward import expected_change, forward_pass
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.regularisation import Regularisation
from mbrl_ros.planning.ddp.search import line_search
from mbrl_ros.planning.ddp.settings import DDPSettings
from mbrl_ros.planning.ddp.solution import CONVERGED, ITERATION_LIMIT, REGULARISATION_LIMIT, RUNNING
from mbrl_ros.planning.ddp.work import PROBLEM_FIRST, Work

Limits = tuple[torch.Tensor, torch.Tensor]
Pass = Callable[[], None]
"""Reads a `Work` and writes to it."""

_RELIABLE_MU = 1e-2
"""A small expected gain means an optimum only while regularisation is not what makes it small."""

_STEPS = ("jacobian", "gradient", "hessian", "curvature")
_END = ("end_gradient", "end_hessian")

INPUTS: dict[str, tuple[str, ...]] = {
    "follow": ("states", "actions", "gains", "multipliers", "penalty", "low", "high"),
    "expand": ("before", "actions", "multipliers", "penalty"),
    "expand_end": ("end",),
    "backward": (
        *_STEPS, *_END, "actions", "gaps", "gap", "cost", "gains", "transitions", "mu", "pace", "rules", "low", "high",
    ),
    "search": (
        "states", "actions", "gaps", "gap", "cost", "mu", "pace", "iterations", "feedforward", "feedback", "linear",
        "quadratic", "weight", "multipliers", "penalty", "rules", "low", "high",
    ),
}  # fmt: skip
"""What each pass reads; the last two only of limited problems."""

RESULTS: dict[str, tuple[str, ...]] = {
    "follow": ("states", "actions", "cost"),
    "expand": _STEPS,
    "expand_end": _END,
    "backward": (
        "feedforward", "feedback", "gains", "transitions", "linear", "quadratic", "weight", "expected", "positive",
        "trying", "mu", "pace", "reason",
    ),
    "search": ("states", "actions", "gaps", "gap", "cost", "mu", "pace", "iterations", "reason", "size"),
}  # fmt: skip
"""What each pass writes."""


class Passes:
    """The passes of a problem.

    Args:
        problem: what is optimised.
        settings: whose method, treatment of curvature and number of step sizes count here.
    """

    def __init__(self, problem: OptimalControlProblem, settings: DDPSettings) -> None:
        self.problem, self.settings = problem, settings

    def constraint_count(self, state: torch.Tensor, action: torch.Tensor) -> int:
        """C, found by asking the constraints about ``state`` [B, S] and ``action`` [B, A]."""
        return 0 if self.problem.constraints is None else self.problem.constraints(state, action, state).shape[-1]

    def inputs(self, name: str) -> list[str]:
        """What the pass ``name`` of this problem reads."""
        return [one for one in INPUTS[name] if one not in ("low", "high") or self.problem.low is not None]

    def bind(self, name: str, work: Work, chosen: torch.Tensor) -> Pass:
        """The pass ``name`` on ``work``, for the problems that ``chosen`` [B] bool says when it is called."""
        function: Callable[..., list[torch.Tensor]] = getattr(self, name)

        def call() -> None:
            if bool(chosen.any()):
                found = function(*(getattr(work, one) for one in self.inputs(name)))
                for one, value in zip(RESULTS[name], found, strict=True):
                    _keep(getattr(work, one), value, chosen, time_first=one not in PROBLEM_FIRST)

        return call

    def follow(
        self,
        states: torch.Tensor,
        actions: torch.Tensor,
        gains: torch.Tensor,
        multipliers: torch.Tensor,
        penalty: torch.Tensor,
        *limits: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Let the dynamics say where the actions lead, with feedback to the states; see `RESULTS`."""
        nothing, one = torch.zeros_like(penalty), torch.ones(1, dtype=states.dtype, device=states.device)
        still = Policy(torch.zeros_like(actions), gains, *[nothing] * 4)
        gaps = torch.zeros_like(states[1:])
        found = forward_pass(self.problem, states, actions, gaps, still, one, multipliers, penalty, _pair(limits))
        cost = found.costs[0]
        return [found.states[:, 0], torch.where(cost.isfinite()[:, None], found.actions[:, 0], actions), cost]

    def expand(
        self, states: torch.Tensor, actions: torch.Tensor, multipliers: torch.Tensor, penalty: torch.Tensor
    ) -> list[torch.Tensor]:
        """See `derivatives.expand`."""
        jacobian, gradient, hessian, curvature = expand(
            self.problem, states, actions, multipliers, penalty, self.settings.second_order
        )
        return [jacobian, gradient, convex(hessian) if self.settings.convex_cost else hessian, curvature]

    def expand_end(self, state: torch.Tensor) -> list[torch.Tensor]:
        """See `derivatives.expand_end`."""
        gradient, hessian = expand_end(self.problem, state)
        return [gradient, convex(hessian) if self.settings.convex_cost else hessian]

    def backward(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """The policy, what it promises, and whether it is worth a line search; see `INPUTS` and `RESULTS`."""
        expansion = Expansion(*given[:6])
        actions, gaps, gap, cost, gains, transitions, mu, pace, rules, *limits = given[6:]
        room = (limits[0] - actions, limits[1] - actions) if limits else None
        policy = backward_pass(expansion, gaps, mu, room)
        open_gaps, changes = gap > 0, expected_change(expansion, gaps, policy)
        linear = torch.where(open_gaps, changes[0], policy.linear)
        quadratic = torch.where(open_gaps, changes[1], policy.quadratic)
        # A weight beyond the largest costate makes the merit's minimum the problem's (exact penalty).
        weight, positive = 2 * policy.costate, policy.positive
        promised = linear + quadratic / 2 - weight * gap
        small = -promised <= rules[0] * (1 + cost.abs())
        converged = positive & small & (mu <= _RELIABLE_MU)
        trying = positive & ~converged
        now = Regularisation(mu, pace)
        after = now.where(positive, now.more())
        reason = torch.where(after.exhausted, REGULARISATION_LIMIT, torch.where(converged, CONVERGED, RUNNING))
        kept = positive[:, None, None]
        return [
            policy.feedforward,
            policy.feedback,
            torch.where(kept, policy.feedback, gains),
            torch.where(kept, expansion.jacobian[..., : gaps.shape[-1]], transitions),
            linear,
            quadratic,
            weight,
            torch.where(trying, promised, torch.zeros_like(promised)),
            positive,
            trying,
            after.mu,
            after.pace,
            reason,
        ]

    def search(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """Follow the policy and move to the best acceptable trajectory; see `INPUTS` and `RESULTS`."""
        states, actions, gaps, gap, cost, mu, pace, iterations, *given_policy = given
        k, gains, linear, quadratic, weight, multipliers, penalty, rules, *limits = given_policy
        sizes = 0.5 ** torch.arange(self.settings.step_sizes, dtype=cost.dtype, device=cost.device)
        policy = Policy(k, gains, linear, quadratic, weight, weight)
        candidates = forward_pass(
            self.problem, states, actions, gaps, policy, sizes, multipliers, penalty, _pair(limits)
        )
        best, size = line_search(candidates.costs - cost, sizes, linear, quadratic, gap * weight, cost, rules[1])
        rows, accepted = torch.arange(len(best), device=best.device), size > 0
        moved = accepted[:, None]
        remaining = torch.where(moved, candidates.gaps[:, best, rows], gaps)
        now = Regularisation(mu, pace)
        after = now.less().where(accepted, now.more())
        iterations = iterations + 1
        reason = torch.where(
            after.exhausted,
            REGULARISATION_LIMIT,
            torch.where(iterations >= rules[2], ITERATION_LIMIT, RUNNING),
        )
        return [
            torch.where(moved, candidates.states[:, best, rows], states),
            torch.where(moved, candidates.actions[:, best, rows], actions),
            remaining,
            remaining.abs().sum((0, -1)),
            torch.where(accepted, candidates.costs[best, rows], cost),
            after.mu,
            after.pace,
            iterations,
            reason,
            size,
        ]


def _pair(limits: tuple[torch.Tensor, ...] | list[torch.Tensor]) -> Limits | None:
    return (limits[0], limits[1]) if limits else None


def _keep(target: torch.Tensor, value: torch.Tensor, chosen: torch.Tensor, time_first: bool) -> None:
    """Write ``value`` into ``target`` for the problems ``chosen`` [B]."""
    mask = chosen.view(*[1] * time_first, -1, *[1] * (target.ndim - 1 - time_first))
    target.copy_(torch.where(mask, value, target))
