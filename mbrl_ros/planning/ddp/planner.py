"""DDP as a planner: a few iterations per cycle on the previous plan (real-time iteration, Diehl et al. 2005)."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np
import torch

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import delayed
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import STATE, YAW
from mbrl_ros.core.tasks.horizon_end import HorizonEnd
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.starting import start_now
from mbrl_ros.models.stepping import stepped
from mbrl_ros.planning.ddp.commands import commanded, commanded_gains
from mbrl_ros.planning.ddp.compiled import CompiledPasses
from mbrl_ros.planning.ddp.passes import Limits, Passes
from mbrl_ros.planning.ddp.planner_settings import DDPPlannerSettings
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.settings import DDPSettings
from mbrl_ros.planning.ddp.solution import Solution
from mbrl_ros.planning.ddp.solver import DDP
from mbrl_ros.planning.departures import Departures, leaves
from mbrl_ros.planning.interpolation import read_at
from mbrl_ros.planning.planner import PlanningError, Problem, heed
from mbrl_ros.planning.rollouts import Backend
from mbrl_ros.planning.threads import threads


class _Policy(NamedTuple):
    """What was found in the last cycle: [H + 1, S], [H, A] applied, [H, A, S]."""

    stamp_s: float
    states: torch.Tensor
    actions: torch.Tensor
    gains: torch.Tensor

    def at(self, stamp_s: float, dt: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """States, actions and gains from ``stamp_s`` on; beyond the end the last action is held without feedback."""
        elapsed, horizon = (stamp_s - self.stamp_s) / dt, len(self.actions)
        places = torch.arange(horizon) + elapsed
        gains = read_at(self.gains, places) * (places <= horizon - 1)[:, None, None]
        return read_at(self.states, torch.arange(horizon + 1) + elapsed), read_at(self.actions, places), gains


class DDPPlanner:
    """Plans by differential dynamic programming; a `planning.planner.Planner`.

    What is optimised is what acts, not what is commanded: actions that commands already sent bring about are given, by
    equal limits, and where a delay is no whole number of steps the first free action is a given share of an old and a
    new command. Commands are then the actions a delay later. A cycle begins with the previous plan from the present on,
    the first one with a gentle acceleration straight ahead, or rest, whichever costs less.

    Args:
        model: torch module, one step of ``settings.dt_s``; computed with in double precision, on a copy.
        task: torch module in double precision: rewards and bounds.
        settings: see `DDPPlannerSettings`.
        model_id: stands in every plan.
        end: cost [...] of the state [..., S] that a plan ends with; None is zero.
        departures: where the car stands and the plan found goes nowhere, the one of these that costs least is made
            better instead, if it costs less than that plan; None looks at none.

    Raises:
        ConfigError: the model steps another time.
        LayoutError: model and task disagree.
    """

    kind = "ddp"

    def __init__(
        self,
        model: DynamicsModel,
        task: Task,
        settings: DDPPlannerSettings,
        model_id: str = "",
        end: HorizonEnd | None = None,
        departures: Departures | None = None,
    ) -> None:
        if abs(model.dt - settings.dt_s) > 1e-9:
            raise ConfigError(f"field 'dt_s' is {settings.dt_s:g} s, but the model steps {model.dt:g} s")
        self.model: DynamicsModel = copy.deepcopy(model).double()  # type: ignore[attr-defined]
        self.task, self.settings, self.model_id = task, settings, model_id
        first, following = (
            _optimiser(settings, iterations) for iterations in (settings.first_iterations, settings.iterations)
        )
        self._end = end
        self._departures = departures
        passes = Passes(OptimalControlProblem.from_task(self.model, task, end), following)
        self._passes = CompiledPasses(passes, settings.horizon)
        self._first, self._next = (DDP(passes.problem, each, self._passes) for each in (first, following))
        self.solution: Solution | None = None
        """Of the last cycle, iteration by iteration; a table of it is `planning.ddp.table`."""
        self.reset()

    @property
    def backend(self) -> Backend:
        """How derivatives and passes are computed at present."""
        return self._passes.backend

    @property
    def hindered(self) -> bool:
        """Whether they are computed in a slower way than the settings ask for."""
        return self.backend != self.settings.backend

    @property
    def note(self) -> str:
        """Why they are not compiled, or what was done to compile them; empty if nothing was."""
        return self._passes.note

    def reset(self, plan: ControlSequence | None = None) -> None:
        """Forget the previous plan, or go on from another planner's."""
        if self._departures is not None:
            self._departures.reset()
        self._other = plan
        self._policy: _Policy | None = None

    def warm_up(self, beside: bool = False, wait: bool = True) -> None:
        """Load or build the compiled passes; waits in any case, as a plan in plain torch would take seconds.

        They are traced here: eager rollouts of a planner beside it wait meanwhile, for some seconds.
        """
        if self.settings.backend == "compiled":
            with threads(self.settings.threads):
                self._passes.warm_up()

    def plan(self, problem: Problem) -> ControlSequence:
        """The sequence to follow from the problem's stamp on.

        Raises:
            PlanningError: nothing finite was found, or the task cannot heed a speed cap or obstacles.
        """
        heed(self.task, problem)
        with torch.no_grad(), threads(self.settings.threads):
            return self._plan(problem)

    def candidates(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States [N, H + 1, 8] and costs [N] of up to ``count`` of the last plan's iterations, evenly spread."""
        if self.solution is None:
            raise PlanningError("there are no candidates before the first plan")
        log = self.solution.log
        chosen = [log[round(place)] for place in np.linspace(0, len(log) - 1, min(count, len(log)))]
        states = [entry.states[0, :, : len(STATE)].numpy() for entry in chosen if entry.states is not None]
        return np.stack(states), np.array([float(entry.cost[0]) for entry in chosen])

    def _plan(self, problem: Problem) -> ControlSequence:
        own = stepped(self.model)
        begin, history_share = start_now(own, problem.state, problem.stamp_s, problem.commands, problem.driven)
        past = problem.commands.in_flight(problem.stamp_s, self.settings.dt_s, self._delay_steps())
        solution = self._solve(begin[None], problem, torch.from_numpy(past))
        states, applied = solution.states[0], solution.actions[0]
        gains = commanded_gains(solution.gains[0], solution.transitions[0], self._delay_steps())
        self.solution = solution
        self._other = None
        self._policy = _Policy(problem.stamp_s, states, applied, solution.gains[0])
        return ControlSequence(
            problem.stamp_s,
            self.settings.dt_s,
            commanded(applied, self._delay_steps()).numpy(),
            self.model.action_layout,
            states[:, : len(STATE)].numpy(),
            self.model_id,
            {**self._terms(states, applied), **_course(solution), "history_share": history_share},
            gains[..., : len(STATE)].numpy(),
        )

    def _solve(self, start: torch.Tensor, problem: Problem, past: torch.Tensor) -> Solution:
        """On the previous plan; where there is none, or it leads to nothing finite, on the better of two guesses; and
        once more on a departure, where that is due and costs less than what was found."""
        low, high = (self._applied(past, bound.expand(1, self.settings.horizon, -1)) for bound in self.task.bounds())
        bounds = (low, high)
        found = self._go_on(start, problem.stamp_s, past, bounds)
        if found is None:
            found = self._anew(start, self._first_guesses(), past, bounds)
        if found is None:
            raise PlanningError(f"no plan at {problem.stamp_s:.3f} s: no guess has a finite cost; is the state finite?")
        if self._departures is not None and self._departures.due(problem, found.states[0].numpy()):
            enough = float(found.cost[0]) - self.settings.tolerance * (1.0 + abs(float(found.cost[0])))
            off = self._anew(start, self._departures.ways.double(), past, bounds, below=enough, staying=True)
            found = found if off is None or bool(leaves(self.task, off.states)) else off
        return found

    def _go_on(self, start: torch.Tensor, stamp_s: float, past: torch.Tensor, bounds: Limits) -> Solution | None:
        """From the previous plan, or another planner's; None where there is none, or nothing finite comes of it.

        Its policy is followed, not its actions: a car that is not quite where it was to be would end beside the track.
        """
        if self._policy is not None:
            states, actions, gains = self._policy.at(stamp_s, self.settings.dt_s)
            # Feedback must not take a heading that was wrapped meanwhile for a whole turn.
            states[:, YAW] -= 2 * math.pi * torch.round((states[0, YAW] - start[0, YAW]) / (2 * math.pi))
            found = self._next.solve(start, actions[None], states[None], gains[None], bounds, keep_states=True)
        elif self._other is not None:
            middles = stamp_s + self.settings.dt_s * (np.arange(self.settings.horizon) + 0.5)
            guess = self._applied(past, torch.from_numpy(self._other.at(middles))[None])
            found = self._next.solve(start, guess, bounds=bounds, keep_states=True)
        else:
            return None
        return found if _finite(found) else None

    def _anew(
        self,
        start: torch.Tensor,
        commands: torch.Tensor,
        past: torch.Tensor,
        bounds: Limits,
        below: float = math.inf,
        staying: bool = False,
    ) -> Solution | None:
        """From the best of ``commands`` [G, H, A], or of those that stay where the task is not over; None where none
        costs less than ``below``, or it diverges."""
        guesses = torch.clamp(self._applied(past, commands), *bounds)
        along = rollout(self.model, start.expand(len(guesses), -1), guesses)
        costs = -self.task.reward(along[:, :-1], guesses, along[:, 1:]).sum(-1)
        costs = costs + self._passes.problem.terminal_cost(along[:, -1])
        possible = (costs < below) & ~leaves(self.task, along) if staying else costs < below
        if not bool(possible.any()):
            return None
        best = torch.where(possible, costs, torch.inf).argmin()
        found = self._first.solve(start, guesses[best][None], bounds=bounds, keep_states=True)
        return found if _finite(found) else None

    def _first_guesses(self) -> torch.Tensor:
        """[2, H, A] straight ahead: at rest, and with a gentle drive."""
        guesses = torch.zeros(2, self.settings.horizon, len(self.model.action_layout), dtype=torch.float64)
        guesses[1, :, -1] = self.settings.first_drive * self.task.bounds()[1][-1]
        return guesses

    def _delay_steps(self) -> torch.Tensor:
        """[A] delays in steps of the plan."""
        return self.model.delay.detach() / self.settings.dt_s

    def _applied(self, past: torch.Tensor, commands: torch.Tensor) -> torch.Tensor:
        """[G, H, A] what acts, of ``commands`` [G, H, A] after the ``past`` [P, A]."""
        return delayed(torch.cat([past.expand(len(commands), -1, -1), commands], dim=1), self._delay_steps(), len(past))

    def _terms(self, states: torch.Tensor, applied: torch.Tensor) -> dict[str, float]:
        """Costs of the plan by term, and their sum."""
        terms = self.task.terms(states[:-1], applied, states[1:])
        costs = {f"cost.{name}": -float(reward.sum()) for name, reward in terms.items()}
        if self._end is not None:
            costs["cost.end"] = float(self._end(states[-1]))
        return {**costs, "total_cost": sum(costs.values())}


def _optimiser(settings: DDPPlannerSettings, iterations: int) -> DDPSettings:
    return DDPSettings(
        second_order=settings.second_order,
        convex_cost=True,  # progress is bent by corners: a plan is seldom near where it has a minimum
        max_iterations=iterations,
        tolerance=settings.tolerance,
        step_sizes=settings.step_sizes,
        first_regularisation=settings.first_regularisation,
    )


def _finite(solution: Solution) -> bool:
    return bool(solution.cost.isfinite().all() and solution.states.isfinite().all())


def _course(solution: Solution) -> dict[str, float]:
    """How an optimisation went, as numbers; ``reason`` is an index into `planning.ddp.REASONS`."""
    log = solution.log
    return {
        "iterations": float(solution.iterations[0]),
        "reason": float(solution.reason[0]),
        "regularisation": float(log[-1].mu[0]),
        "expected_decrease": -sum(float(entry.expected[0]) for entry in log if bool(entry.step_size[0] > 0)),
        "actual_decrease": float(solution.first_cost[0] - solution.cost[0]),
        "indefinite": float(sum(not bool(entry.positive[0]) for entry in log)),
    }
