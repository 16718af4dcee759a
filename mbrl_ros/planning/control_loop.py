"""The planner node's brain: which state to plan from, which plan to follow, and when to stop.

Pure: times are handed in. ``nodes/shared/planner_node.py`` and ``evaluation/closed_loop.py`` both run it, so what is
tested in one process is what drives the car.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mbrl_ros.core.command_gate import Command
from mbrl_ros.core.config import Settings
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.freshness import fresh
from mbrl_ros.core.layout import ACTIONS, DRIVE_COMMAND, STATE, STEERING_COMMAND, VX, X, Y
from mbrl_ros.core.state_history import StateHistory
from mbrl_ros.core.vehicle import Limits
from mbrl_ros.planning.planner import HISTORY_S, Problem
from mbrl_ros.planning.seen_obstacles import SeenObstacles


class LoopSettings(Settings):
    """Which states and plans are fresh enough to act on."""

    control_rate_hz: PositiveFloat = Field(default=50.0, le=200.0, description="rate of commands")
    state_timeout_s: PositiveFloat = Field(
        default=0.1, le=10.0, description="oldest state that may be acted on, by stamp and receipt"
    )
    future_tolerance_s: NonNegativeFloat = Field(
        default=0.02, le=1.0, description="how far a state's stamp may lie ahead of the clock"
    )
    recovery_states: PositiveInt = Field(
        default=10, description="good states in a row that end a stop for want of states"
    )
    plan_timeout_s: PositiveFloat = Field(
        default=0.3, le=10.0, description="longest that a plan is followed while no newer one comes"
    )
    speed_lookahead_s: NonNegativeFloat = Field(
        default=0.1,
        le=5.0,
        description="how far ahead in the plan the commanded speed is read, for cars that follow speed",
    )
    obstacle_timeout_s: PositiveFloat = Field(
        default=0.5, le=60.0, description="longest that obstacles are kept away from while none are heard of, by stamp"
    )
    obstacle_silence: Literal["stop", "drive"] = Field(
        default="stop", description="what the car does then, where the task takes obstacles and any were heard of"
    )
    follow_gains: bool = Field(
        default=False,
        description="correct commands by a planner's feedback gains, if it has any, where the car is off its plan",
    )
    stop_commands: NonNegativeInt = Field(default=10, description="stop commands sent when planning ends")


class ControlLoop:
    """Judges states, follows plans, and stops the car when either is missing.

    Args:
        limits: of the car.
        settings: timeouts.
        obstacles: most that the task takes.
    """

    def __init__(self, limits: Limits, settings: LoopSettings, obstacles: int = 0) -> None:
        self.limits = limits
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self._obstacles = obstacles
        self.seen = SeenObstacles(settings.obstacle_timeout_s, settings.future_tolerance_s, obstacles, self.counters)
        self.reason = "no state yet"
        self.fault = ""
        """A sentence while something outside of states and plans forbids driving; the car is stopped meanwhile."""
        self.speed_cap_mps = math.inf
        """No faster than this, whatever the limits say."""
        self.plan: ControlSequence | None = None
        self.reset()

    def reset(self) -> None:
        """Forget states, plans and commands, as when activated or when simulated time was set back."""
        self.plan = None
        self.reason = "no state yet"
        self._state: np.ndarray | None = None
        self._stamp_s = -math.inf
        self._receipt_s = -math.inf
        self._good_in_row = 0
        self._recovered = True
        self._planned_stamp_s = -math.inf
        self._steering = 0.0
        # What was driven was driven by commands that were sent up to a delay earlier.
        self._commands = CommandHistory(np.zeros(len(ACTIONS["acceleration"])), keep_s=HISTORY_S + 2.0)
        self._driven = StateHistory(HISTORY_S)
        self.seen.forget()

    def observe(self, state: np.ndarray, stamp_s: float, now_s: float, receipt_s: float) -> str:
        """Take a state in; returns why it was refused, or an empty string.

        Args:
            state: [8] core.layout.STATE.
            stamp_s: its stamp [s].
            now_s: the clock that stamps are made with [s].
            receipt_s: the clock that silence is measured with [s].
        """
        refusal = self._refusal(state, stamp_s, now_s)
        if refusal:
            self.counters[f"state {refusal}"] += 1
            self._good_in_row = 0
            return refusal
        self._state, self._stamp_s, self._receipt_s = state, stamp_s, receipt_s
        self._driven.append(stamp_s, state)
        self._good_in_row += 1
        return ""

    def _refusal(self, state: np.ndarray, stamp_s: float, now_s: float) -> str:
        if state.shape != (len(STATE),) or not np.isfinite(state).all():
            return "non-finite"
        if stamp_s > now_s + self.settings.future_tolerance_s:
            return "in the future"
        if now_s - stamp_s > self.settings.state_timeout_s:
            return "stale"
        if stamp_s <= self._stamp_s:
            return "duplicate" if stamp_s == self._stamp_s else "backward"
        return ""

    def sent(self, stamp_s: float, steering_angle: float, acceleration: float) -> str:
        """A command really went to the car, as the gate let it through; returns why it was refused, or an empty string.

        The gate lets through nothing that is not finite, but in shadow mode others may drive.
        """
        if not (math.isfinite(steering_angle) and math.isfinite(acceleration)):
            self.counters["sent non-finite"] += 1
            return "non-finite"
        self._commands.append(stamp_s, np.array([steering_angle, acceleration]))
        return ""

    @property
    def followed(self) -> ControlSequence | None:
        """The plan that commands are read from, or None while the car is stopped."""
        return None if self.reason else self.plan

    def problem(self) -> Problem | None:
        """What to solve next, or None while there is no state newer than the last one solved for, or the car stops
        because nothing is heard of obstacles: a plan between those that are not known is worth nothing."""
        if self._state is None or self._stamp_s <= self._planned_stamp_s or self._blind(self._stamp_s):
            return None
        self._planned_stamp_s = self._stamp_s
        obstacles = self.seen.present(self._stamp_s, self._state[[X, Y]])
        return Problem(
            self._state, self._stamp_s, self._commands.copy(), self._driven.copy(), self.speed_cap_mps, obstacles
        )

    def adopt(self, plan: ControlSequence, solve_time_s: float) -> str:
        """Follow ``plan`` from now on; returns why it was refused, or an empty string."""
        if refusal := self._plan_refusal(plan):
            self.counters[f"plan {refusal}"] += 1
            return refusal
        self.counters["plans"] += 1
        self.counters["plans with little history"] += plan.diagnostics.get("history_share", 1.0) < 1.0
        self.counters["missed deadlines"] += solve_time_s > 1.0 / self.settings.control_rate_hz
        self.plan = plan
        return ""

    def _plan_refusal(self, plan: ControlSequence) -> str:
        # The commanded speed is read from them.
        if plan.states is None or not np.isfinite(plan.states).all():
            return "without finite states"
        # A plan begins at a state that was taken in; found while time was set back, it would be followed for long.
        return "of another time" if plan.stamp_s > self._stamp_s else ""

    def command(self, now_s: float, receipt_s: float) -> Command:
        """The command for now: the plan's, or a braked stop; ``reason`` then says why.

        Args:
            now_s: the clock that stamps are made with [s].
            receipt_s: the clock that silence is measured with [s].
        """
        self.reason = self._why_stop(now_s, receipt_s)
        if self.reason or self.plan is None:
            self.counters["stop commands"] += 1
            return self.stop()
        planned = self.plan.at(now_s)
        action = self._corrected(self.plan, planned)
        self._steering = float(action[STEERING_COMMAND])
        ahead_s = self.settings.speed_lookahead_s
        # What the correction of the acceleration amounts to by then. It comes on top of the plan's speed, not of the
        # car's: a car that follows speed faster than that would answer the same correction several times over.
        gained_mps = float(action[DRIVE_COMMAND] - planned[DRIVE_COMMAND]) * ahead_s
        return Command(
            steering_angle_rad=self._steering,
            steering_rate_radps=self.limits.steering_rate_radps,
            speed_mps=self._speed(self.plan, now_s + ahead_s, gained_mps),
            acceleration_mps2=float(action[DRIVE_COMMAND]),
            jerk_mps3=self.limits.jerk_mps3,
        )

    def _corrected(self, plan: ControlSequence, action: np.ndarray) -> np.ndarray:
        """[A] ``action`` of ``plan`` for the car where it is, inside of its limits wherever feedback would lead."""
        if not self.settings.follow_gains or self._state is None:
            return action
        limits = self.limits
        low = np.array([-limits.steering_angle_rad, -limits.braking_mps2])
        high = np.array([limits.steering_angle_rad, limits.acceleration_mps2])
        return np.clip(action + plan.correction(self._stamp_s, self._state), low, high)

    def stop(self) -> Command:
        """A braked stop with the wheel where it was."""
        return Command(
            self._steering, self.limits.steering_rate_radps, 0.0, -self.limits.stopping_mps2, self.limits.jerk_mps3
        )

    def _why_stop(self, now_s: float, receipt_s: float) -> str:
        settings = self.settings
        if self.fault:
            return self.fault
        if self._state is None:
            return "no state yet"
        ages_s = now_s - self._stamp_s, receipt_s - self._receipt_s
        if not fresh(*ages_s, settings.state_timeout_s, settings.future_tolerance_s):
            self.counters["state lost"] += self._recovered
            self._recovered, self._good_in_row = False, 0
            return "state lost"
        if not self._recovered and self._good_in_row < settings.recovery_states:
            return "recovering"
        self._recovered = True
        if self._blind(now_s):
            return f"obstacles are not heard of for more than {settings.obstacle_timeout_s:g} s"
        if self.plan is None:
            return "no plan yet"
        if now_s - self.plan.stamp_s > settings.plan_timeout_s or now_s >= self.plan.end_s:
            return "no fresh plan"
        return ""

    def _blind(self, now_s: float) -> bool:
        """Whether the car has to stop for want of obstacles."""
        return self._obstacles > 0 and self.settings.obstacle_silence == "stop" and self.seen.silent(now_s)

    def _speed(self, plan: ControlSequence, at_s: float, gained_mps: float) -> float:
        assert plan.states is not None  # noqa: S101  # planners that drive a car predict its states
        times = plan.stamp_s + plan.dt * np.arange(len(plan.states))
        speed = float(np.interp(at_s, times, plan.states[:, VX])) + gained_mps
        return min(max(speed, 0.0), self.limits.speed_mps, self.speed_cap_mps)
