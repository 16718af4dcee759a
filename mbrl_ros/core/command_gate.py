"""The last word before the actuators: what may pass, what is clamped, and when the car brakes.

A pure state machine: times are handed in, nothing is published here. ``nodes/command_gate.py`` feeds it
messages and publishes its answers as the only source of ``/drive``.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from enum import Enum

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mbrl_ros.core.config import Settings
from mbrl_ros.core.freshness import fresh
from mbrl_ros.core.vehicle import Limits


class GateSettings(Settings):
    """When the gate refuses, and how it stops."""

    command_timeout_s: PositiveFloat = Field(
        default=0.1, le=10.0, description="oldest command that may act, by stamp and receipt"
    )
    future_tolerance_s: NonNegativeFloat = Field(
        default=0.02, le=1.0, description="how far a stamp may lie ahead of the clock"
    )
    recovery_commands: PositiveInt = Field(default=5, description="good commands in a row that end braking on silence")
    require_engage: bool = Field(default=True, description="whether an operator must engage before anything passes")
    operator_timeout_s: NonNegativeFloat = Field(
        default=0.0,
        le=10.0,
        description="longest silence of the operator's enable signal; 0: there is no such signal",
    )
    stop_commands: NonNegativeInt = Field(default=25, description="braking commands after disengaging, before silence")
    trust_timeout_s: PositiveFloat = Field(
        default=1.0, le=10.0, description="longest silence of the model's trust, once it was heard"
    )
    cap_time_s: PositiveFloat = Field(
        default=1.0, le=10.0, description="in which a speed asked for beyond the speed cap is braked away"
    )


class Mode(Enum):
    """What the gate is doing."""

    INACTIVE = "inactive"
    DRIVING = "driving"
    BRAKING = "braking"
    STOPPED_BY_OPERATOR = "e-stop"


@dataclass(frozen=True)
class Command:
    """What is asked of the car: AckermannDrive's fields, never zero where zero would mean "as fast as possible"."""

    steering_angle_rad: float
    steering_rate_radps: float
    speed_mps: float
    acceleration_mps2: float
    jerk_mps3: float

    def is_finite(self) -> bool:
        """Whether every field is a finite number."""
        return all(math.isfinite(value) for value in vars(self).values())


@dataclass(frozen=True)
class Received:
    """A command with the two times by which its age is judged [s]."""

    command: Command
    stamp_s: float
    receipt_s: float


@dataclass(frozen=True)
class Allowance:
    """What distrust of the model leaves to the car.

    Args:
        speed_cap_mps: no faster than this; infinite where there is no cap.
        stop: why the car has to stop, or empty.
        receipt_s: when it was heard [s].
    """

    speed_cap_mps: float
    stop: str
    receipt_s: float


class CommandGate:
    """Clamps commands to the car's limits and brakes when they are missing, late, wrong or forbidden.

    Args:
        limits: what the car may be asked for.
        settings: timeouts and policy.
    """

    def __init__(self, limits: Limits, settings: GateSettings) -> None:
        self.limits = limits
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.reason = "not engaged" if settings.require_engage else "no command yet"
        self._engaged = not settings.require_engage
        self._estopped = False
        self._fault = ""
        self._trust: Allowance | None = None
        self._latest: Received | None = None
        self._good_in_row = 0
        self._recovered = True
        self._enabled_at_s: float | None = None
        self._stops_left = 0
        self._last: tuple[float, Command] | None = None

    @property
    def mode(self) -> Mode:
        """What the gate did at the last tick."""
        if self._estopped:
            return Mode.STOPPED_BY_OPERATOR
        if not self._engaged:
            return Mode.INACTIVE
        return Mode.BRAKING if self.reason else Mode.DRIVING

    def receive(self, command: Command, stamp_s: float, now_s: float, receipt_s: float) -> str:
        """Take a command in; returns why it was refused, or an empty string.

        Args:
            command: what a planner asks for.
            stamp_s: its header stamp [s].
            now_s: the clock that stamps are made with [s].
            receipt_s: the clock that silence is measured with [s].
        """
        refusal = self._refusal(command, stamp_s, now_s)
        if refusal:
            self.counters[refusal] += 1
            self._good_in_row = 0
            return refusal
        self.counters["accepted"] += 1
        self._latest = Received(command, stamp_s, receipt_s)
        self._good_in_row += 1
        return ""

    def _refusal(self, command: Command, stamp_s: float, now_s: float) -> str:
        if not command.is_finite():
            return "non-finite"
        if stamp_s > now_s + self.settings.future_tolerance_s:
            return "stamp in the future"
        if now_s - stamp_s > self.settings.command_timeout_s:
            return "stale"
        if self._latest is not None and stamp_s <= self._latest.stamp_s:
            return "duplicate stamp" if stamp_s == self._latest.stamp_s else "backward stamp"
        return ""

    def reset_time(self) -> None:
        """Forget all stamps: simulated time was set back."""
        self._latest = None
        self._last = None
        self._good_in_row = 0
        self._enabled_at_s = None
        if self._trust is not None:
            self._trust = replace(self._trust, receipt_s=-math.inf)
        self.counters["time reset"] += 1

    def set_fault(self, fault: str) -> None:
        """Brake for as long as ``fault`` (a sentence) is not empty: something outside of the commands is wrong."""
        if fault and fault != self._fault:
            self.counters["faults"] += 1
        self._fault = fault

    def heed_trust(self, speed_cap_mps: float, stop: str, receipt_s: float) -> None:
        """Obey the trust in the model from now on; where it was heard once, its silence brakes.

        Args:
            speed_cap_mps: no faster than this; infinite where there is no cap.
            stop: why the car has to stop, or empty.
            receipt_s: the clock that silence is measured with [s].
        """
        if stop and not (self._trust and self._trust.stop):
            self.counters["stops for distrust"] += 1
        # A cap that is no number caps everything.
        cap_mps = 0.0 if math.isnan(speed_cap_mps) else max(speed_cap_mps, 0.0)
        self._trust = Allowance(cap_mps, stop, receipt_s)

    def press_estop(self) -> None:
        """Brake now and stay stopped until ``reset_estop``."""
        if not self._estopped:
            self.counters["e-stops"] += 1
        self._estopped = True

    def reset_estop(self) -> None:
        """Release the e-stop; where engaging is required, the operator must engage again."""
        self._estopped = False
        if self.settings.require_engage:
            self._engaged = False
            self._stops_left = 0

    def enable(self, pressed: bool, receipt_s: float) -> None:
        """The operator's enable signal (a dead man's switch); releasing it disengages."""
        if pressed:
            self._enabled_at_s = receipt_s
        elif self.settings.operator_timeout_s > 0:
            self.disengage()

    def engage(self, receipt_s: float) -> str:
        """Let commands through; returns why not, or an empty string."""
        if self._estopped:
            return "the e-stop is pressed: reset it first"
        if self._operator_lost(receipt_s):
            return "the operator's enable signal is missing"
        self._engaged = True
        self._good_in_row = 0
        self._recovered = True
        return ""

    def disengage(self) -> None:
        """Stop the car, then fall silent."""
        if self._engaged:
            self._engaged = False
            self._stops_left = self.settings.stop_commands

    def tick(self, now_s: float, receipt_s: float) -> Command | None:
        """The command to send now, or None for silence.

        Args:
            now_s: the clock that stamps are made with [s].
            receipt_s: the clock that silence is measured with [s].
        """
        if self._engaged and self._operator_lost(receipt_s):
            self.counters["operator lost"] += 1
            self.disengage()
        self.reason = self._why_brake(now_s, receipt_s)
        if not self._engaged and not self._estopped:
            if self._stops_left == 0:
                self._last = None
                return None
            self._stops_left -= 1
        if not self.reason and self._latest is not None:
            return self._remember(now_s, self._clamp(self._capped(self._latest.command), now_s))
        return self._remember(now_s, self._brake())

    def _operator_lost(self, receipt_s: float) -> bool:
        timeout_s = self.settings.operator_timeout_s
        return timeout_s > 0 and (self._enabled_at_s is None or receipt_s - self._enabled_at_s > timeout_s)

    def _why_brake(self, now_s: float, receipt_s: float) -> str:
        if self._estopped:
            return "e-stop"
        if not self._engaged:
            return "not engaged"
        if self._fault:
            return self._fault
        if self._trust is not None and self._trust.stop:
            return self._trust.stop
        if self._trust is not None and receipt_s - self._trust.receipt_s > self.settings.trust_timeout_s:
            return "the model's trust is silent"
        if self._latest is None:
            return "no command yet"
        ages_s = now_s - self._latest.stamp_s, receipt_s - self._latest.receipt_s
        if not fresh(*ages_s, self.settings.command_timeout_s, self.settings.future_tolerance_s):
            if self._recovered:
                self.counters["command silence"] += 1
            self._recovered = False
            self._good_in_row = 0
            return "command silence"
        if not self._recovered and self._good_in_row < self.settings.recovery_commands:
            return "recovering"
        self._recovered = True
        return ""

    def _capped(self, command: Command) -> Command:
        """``command`` within the speed cap.

        The speed asked for stands for the car's own, which a planner's command is a moment ahead of: a car whose drive
        follows acceleration alone is slowed down by that.
        """
        cap_mps = self._trust.speed_cap_mps if self._trust is not None else math.inf
        if command.speed_mps <= cap_mps:
            return command
        self.counters["clamped to speed cap"] += 1
        slowing = max((cap_mps - command.speed_mps) / self.settings.cap_time_s, -self.limits.stopping_mps2)
        return replace(command, speed_mps=cap_mps, acceleration_mps2=min(command.acceleration_mps2, slowing))

    def _clamp(self, command: Command, now_s: float) -> Command:
        limits = self.limits
        steering = self._within("steering angle", command.steering_angle_rad, limits.steering_angle_rad)
        acceleration = command.acceleration_mps2
        if self._last is not None:
            elapsed_s = max(now_s - self._last[0], 0.0)
            before = self._last[1]
            steering = self._near(
                "steering rate", steering, before.steering_angle_rad, limits.steering_rate_radps * elapsed_s
            )
            if not self._is_stop(command):
                acceleration = self._near("jerk", acceleration, before.acceleration_mps2, limits.jerk_mps3 * elapsed_s)
        acceleration = self._within("acceleration", acceleration, limits.acceleration_mps2, limits.braking_mps2)
        return Command(
            steering_angle_rad=steering,
            steering_rate_radps=self._at_most("steering rate", command.steering_rate_radps, limits.steering_rate_radps),
            speed_mps=self._within("speed", command.speed_mps, limits.speed_mps, 0.0),
            acceleration_mps2=acceleration,
            jerk_mps3=self._at_most("jerk", command.jerk_mps3, limits.jerk_mps3),
        )

    def _is_stop(self, command: Command) -> bool:
        """Whether the planner asks for a stop like the gate's own, which is not softened either."""
        return command.speed_mps <= 0.0 and command.acceleration_mps2 <= -self.limits.stopping_mps2

    def _within(self, name: str, value: float, high: float, low: float | None = None) -> float:
        clamped = min(max(value, -(high if low is None else low)), high)
        self.counters[f"clamped {name}"] += clamped != value
        return clamped

    def _at_most(self, name: str, asked: float, limit: float) -> float:
        """A rate that is asked for; zero, which stands for as fast as possible, becomes the limit."""
        self.counters[f"clamped {name}"] += asked > limit * (1 + 1e-6)  # messages carry single precision
        return min(asked, limit) if asked > 0.0 else limit

    def _near(self, name: str, value: float, before: float, reach: float) -> float:
        clamped = min(max(value, before - reach), before + reach)
        self.counters[f"clamped {name}"] += abs(clamped - value) > 1e-9
        return clamped

    def _brake(self) -> Command:
        # The wheel stays where it was: straightening it in a bend leaves the road sooner than holding it.
        steering = self._last[1].steering_angle_rad if self._last else 0.0
        limits = self.limits
        return Command(steering, limits.steering_rate_radps, 0.0, -limits.stopping_mps2, limits.jerk_mps3)

    def _remember(self, now_s: float, command: Command) -> Command:
        self._last = (now_s, command)
        return command
