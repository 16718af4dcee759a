"""A planner in a recording's shadow: it plans all along, from what the driver knew, and drives nothing.

The calls are those of `evaluation.closed_loop` and of the planner node, in the same order, on the recording's time and
as fast as the machine allows. The same recording, settings and seed give the same plans to the bit.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import X, Y
from mbrl_ros.core.vehicle import Limits
from mbrl_ros.data.resampling import SAME_TIME_S, between_samples, hold, interpolate, within_hold
from mbrl_ros.evaluation.recorded import Recorded
from mbrl_ros.planning.control_loop import ControlLoop, LoopSettings
from mbrl_ros.planning.planner import Planner, PlanningError

COMMANDS_AHEAD_S = np.linspace(0.0, 0.5, 26)
"""When commands are compared, after the instant at which a plan comes into force: one cycle after its state [s]."""

PATH_S = np.linspace(0.0, 2.0, 21)
"""When paths are compared, after a plan's state [s]."""

_LONGEST_GAP_S = 0.25  # between recorded states that a path is drawn through
_LONGEST_HOLD_S = 0.5  # after a command that the driver is still taken to hold
_COST = "cost."


@dataclass(frozen=True)
class Shadowed:
    """N cycles with a plan, and what the driver did; nan where the plan or the recording does not reach.

    Args:
        stamp_s: [N] stamps of the states that plans begin with [s].
        state: [N, 8] these states.
        planned: [N, C, 2] the plan's commands, at `COMMANDS_AHEAD_S` after it comes into force.
        driven: [N, C, 2] the driver's commands at the same instants.
        planned_xy: [N, P, 2] positions that the plan predicts, at `PATH_S` after its state [m].
        driven_xy: [N, P, 2] positions that were driven [m].
        costs: [N] each, by term.
        recorded: what was replayed.
        cycles: control cycles, with a plan or without.
        unplanned: cycles without a plan, by reason.
        refused: states that the control loop did not take, by reason.
        plans_sha256: of every plan's stamp, commands and states: equal where all plans are equal to the bit.
        solve_times_s: of every plan, on the wall [s].
    """

    stamp_s: np.ndarray
    state: np.ndarray
    planned: np.ndarray
    driven: np.ndarray
    planned_xy: np.ndarray
    driven_xy: np.ndarray
    costs: dict[str, np.ndarray]
    recorded: Recorded
    cycles: int
    unplanned: Counter[str]
    refused: Counter[str]
    plans_sha256: str
    solve_times_s: list[float]


@dataclass
class Shadow:
    """A planner that follows a recording.

    Args:
        recorded: states and commands.
        planner: any that predicts states; warmed up.
        limits: of the car.
        settings: of the control loop.
        every_s: time between plans [s]; None for the control rate's.
    """

    recorded: Recorded
    planner: Planner
    limits: Limits
    settings: LoopSettings
    every_s: float | None = None

    def run(
        self, start_s: float = 0.0, end_s: float = math.inf, progress: Callable[[float], None] = lambda share: None
    ) -> Shadowed:
        """Plan at every cycle that begins ``start_s`` to ``end_s`` after the recording's first state.

        Args:
            start_s: [s]; what was driven before is known to the planner as history.
            end_s: [s].
            progress: told the share that is done, after each cycle.

        Raises:
            DataError: no cycle is between, or none of them has a plan.
        """
        self._loop = ControlLoop(self.limits, self.settings)
        self._heard_states = self._heard_commands = 0
        self._digest = hashlib.sha256()
        self._solve_times_s: list[float] = []
        unplanned: Counter[str] = Counter()
        self.planner.reset()
        plans: list[tuple[np.ndarray, ControlSequence]] = []
        cycles_s = self._cycles(start_s, end_s)
        for done, now_s in enumerate(cycles_s, start=1):
            try:
                plans.append(self._cycle(float(now_s)))
            except PlanningError as error:
                unplanned[str(error)] += 1
            progress(done / len(cycles_s))
        if not plans:
            why = ", ".join(f"{reason} ({count})" for reason, count in unplanned.most_common())
            raise DataError(f"{self.recorded.source}: no plan in {len(cycles_s)} cycles: {why}")
        return self._compared(plans, len(cycles_s), unplanned)

    @property
    def _period_s(self) -> float:
        return 1.0 / self.settings.control_rate_hz

    def _cycles(self, start_s: float, end_s: float) -> np.ndarray:
        """[K] stamps; they begin with a command, so that a planner's cycles fall on those of its own recording."""
        begun_s = self.recorded.state_s[0]
        first_s, last_s = begun_s + start_s, min(begun_s + end_s, self.recorded.state_s[-1])
        at = int(np.searchsorted(self.recorded.command_s, first_s - SAME_TIME_S))
        if at < len(self.recorded.command_s):
            first_s = self.recorded.command_s[at]
        count = math.floor((last_s - first_s + SAME_TIME_S) / (self.every_s or self._period_s)) + 1
        if count < 1:
            until = f"{end_s:g} s" if math.isfinite(end_s) else "its end"
            raise DataError(
                f"{self.recorded.source}: no control cycle between {start_s:g} s and {until}; states last "
                f"{self.recorded.state_s[-1] - begun_s:.1f} s"
            )
        return np.asarray(first_s + (self.every_s or self._period_s) * np.arange(count))

    def _cycle(self, now_s: float) -> tuple[np.ndarray, ControlSequence]:
        """Hear what came up to ``now_s``, and plan: the state [8] to plan from, and the plan."""
        told = self.recorded
        until = int(np.searchsorted(told.command_s, now_s + SAME_TIME_S, side="right"))
        for k in range(self._heard_commands, until):
            self._loop.sent(float(told.command_s[k]), *map(float, told.command[k]))
        self._heard_commands = until
        until = int(np.searchsorted(told.state_s, now_s + SAME_TIME_S, side="right"))
        for k in range(self._heard_states, until):
            stamp_s = float(told.state_s[k])
            self._loop.observe(told.state[k], stamp_s, stamp_s, stamp_s)
        self._heard_states = until
        problem = self._loop.problem()
        if problem is None or now_s - problem.stamp_s > self.settings.state_timeout_s:
            raise PlanningError("no fresh state")
        begun = time.perf_counter()
        plan = self.planner.plan(problem)
        self._solve_times_s.append(time.perf_counter() - begun)
        if plan.states is None:
            raise DataError(f"{self.planner.kind} predicts no states, its path cannot be compared with the driven one")
        for part in (np.array([plan.stamp_s, plan.dt]), plan.actions, plan.states):
            self._digest.update(np.ascontiguousarray(part).tobytes())
        return problem.state, plan

    def _compared(
        self, cycles_planned: list[tuple[np.ndarray, ControlSequence]], cycles: int, unplanned: Counter[str]
    ) -> Shadowed:
        told = self.recorded
        states, plans = zip(*cycles_planned, strict=True)
        stamp_s = np.array([plan.stamp_s for plan in plans])
        commands_s = stamp_s[:, None] + self._period_s + COMMANDS_AHEAD_S
        path_s = stamp_s[:, None] + PATH_S
        driven = hold(told.command_s, told.command, commands_s.ravel())
        known = within_hold(told.command_s, commands_s.ravel(), _LONGEST_HOLD_S)
        known &= commands_s.ravel() <= told.command_s[-1] + SAME_TIME_S
        driven[~known] = np.nan
        driven_xy = interpolate(told.state_s, told.state[:, [X, Y]], path_s.ravel())
        driven_xy[~between_samples(told.state_s, path_s.ravel(), _LONGEST_GAP_S)] = np.nan
        terms = [name for name in plans[0].diagnostics if name.startswith(_COST)]
        return Shadowed(
            stamp_s,
            np.stack(states),
            np.stack([_commands(plan, times) for plan, times in zip(plans, commands_s, strict=True)]),
            driven.reshape(*commands_s.shape, -1),
            np.stack([_path(plan, times) for plan, times in zip(plans, path_s, strict=True)]),
            driven_xy.reshape(*path_s.shape, 2),
            {name[len(_COST) :]: np.array([plan.diagnostics[name] for plan in plans]) for name in terms},
            told,
            cycles,
            unplanned,
            Counter(self._loop.counters),
            self._digest.hexdigest(),
            self._solve_times_s,
        )


def _commands(plan: ControlSequence, times_s: np.ndarray) -> np.ndarray:
    """[n, 2] commands at ``times_s`` [n], nan beyond the plan's end."""
    return np.where((times_s <= plan.end_s + SAME_TIME_S)[:, None], plan.at(times_s), np.nan)


def _path(plan: ControlSequence, times_s: np.ndarray) -> np.ndarray:
    """[n, 2] predicted positions at ``times_s`` [n], nan beyond the plan's end."""
    assert plan.states is not None  # noqa: S101  # seen to when it was made
    stamps = plan.stamp_s + plan.dt * np.arange(len(plan.states))
    at = interpolate(stamps, plan.states[:, [X, Y]], times_s)
    return np.where((times_s <= stamps[-1] + SAME_TIME_S)[:, None], at, np.nan)
