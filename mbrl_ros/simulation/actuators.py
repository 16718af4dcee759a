"""Steering and drive of the simulated car: transport delay, lag, rate limits, and braking on silence."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from mbrl_ros.core.vehicle import PlantSettings


@dataclass(frozen=True)
class Demand:
    """What the actuators do over a stretch of time: a steady steering rate and the drive's mean acceleration."""

    duration_s: float
    steering_rate_radps: float
    acceleration_mps2: float


@dataclass(frozen=True)
class DriveRequest:
    """AckermannDrive's two longitudinal fields; which of them is obeyed is the car's ``drive`` setting."""

    speed_mps: float
    acceleration_mps2: float


class Actuators:
    """Turns stamped commands into what the plant's equations take in.

    A command acts from its stamp plus the transport delay on, to the instant: steps are cut there. Steering and
    drive follow a first-order lag, discretised exactly, with a limited rate. When no command has been stamped for
    ``command_timeout_s``, and before the first one, the brakes close and the steering holds.

    Args:
        settings: delays, lags and limits.
        steering_limit_rad: largest road wheel angle.
    """

    def __init__(self, settings: PlantSettings, steering_limit_rad: float) -> None:
        self._settings = settings
        self._steering_limit_rad = steering_limit_rad
        self.reset()

    def reset(self) -> None:
        """Forget all commands; wheels straight, brakes closed."""
        self.acceleration_mps2 = 0.0
        self._steering_commands: deque[tuple[float, float]] = deque()
        self._drive_commands: deque[tuple[float, DriveRequest]] = deque()
        self._steering_target_rad = 0.0
        self._request: DriveRequest | None = None
        self._newest_stamp_s = -math.inf

    def command(self, stamp_s: float, steering_angle_rad: float, request: DriveRequest) -> None:
        """Take a command in, its stamp later than that of the one before."""
        limit = self._steering_limit_rad
        steering = min(max(steering_angle_rad, -limit), limit)
        self._steering_commands.append((stamp_s + self._settings.delays.steering_s, steering))
        self._drive_commands.append((stamp_s + self._settings.delays.drive_s, request))
        self._newest_stamp_s = stamp_s

    def release_brakes(self) -> None:
        """At standstill the brakes deliver nothing any more."""
        self.acceleration_mps2 = max(self.acceleration_mps2, 0.0)

    def is_silent(self, time_s: float) -> bool:
        """Whether the car brakes by itself at ``time_s``."""
        return time_s >= self._newest_stamp_s + self._settings.command_timeout_s

    def cuts(self, start_s: float, end_s: float) -> list[float]:
        """Instants in between at which something else is commanded, with both ends."""
        instants = {stamp for stamp, _ in self._steering_commands} | {stamp for stamp, _ in self._drive_commands}
        instants.add(self._newest_stamp_s + self._settings.command_timeout_s)
        return [start_s, *sorted(instant for instant in instants if start_s < instant < end_s), end_s]

    def demand(self, start_s: float, end_s: float, steering_angle_rad: float, speed_mps: float) -> Demand:
        """What the actuators do from ``start_s`` to ``end_s``, between which nothing else is commanded."""
        while self._steering_commands and self._steering_commands[0][0] <= start_s:
            self._steering_target_rad = self._steering_commands.popleft()[1]
        while self._drive_commands and self._drive_commands[0][0] <= start_s:
            self._request = self._drive_commands.popleft()[1]
        settings, duration_s = self._settings, end_s - start_s
        steering, _ = follow(
            steering_angle_rad,
            self._steering_target_rad,
            settings.steering_lag_s,
            settings.steering_rate_limit_radps,
            duration_s,
        )
        target = -settings.braking_limit_mps2 if self.is_silent(start_s) else self._wanted(speed_mps)
        self.acceleration_mps2, mean = follow(
            self.acceleration_mps2, target, settings.drive_lag_s, settings.drive_rate_limit_mps3, duration_s
        )
        return Demand(duration_s, (steering - steering_angle_rad) / duration_s, mean)

    def _wanted(self, speed_mps: float) -> float:
        settings, request = self._settings, self._request
        if request is None:
            return -settings.braking_limit_mps2
        forward, braking, wanted = settings.acceleration_limit_mps2, settings.braking_limit_mps2, 0.0
        if settings.drive == "acceleration":
            wanted = request.acceleration_mps2
        else:
            wanted = settings.speed_gain_ps * (max(request.speed_mps, 0.0) - speed_mps)
            if request.acceleration_mps2 != 0.0:
                forward = min(forward, abs(request.acceleration_mps2))
                braking = min(braking, abs(request.acceleration_mps2))
        return min(max(wanted, -braking), forward)


def follow(value: float, target: float, lag_s: float, rate_limit: float, duration_s: float) -> tuple[float, float]:
    """A lagging, rate-limited value after ``duration_s`` on its way to ``target``, and its mean on the way.

    ``lag_s`` of 0 leaves the rate limit alone. The mean is exact for the lag and for the limit by themselves.
    """
    reach = rate_limit * duration_s
    gap = target - value
    decay = math.exp(-duration_s / lag_s) if lag_s > 0.0 else 0.0
    change = (1.0 - decay) * gap
    if abs(change) > reach:
        limited = value + math.copysign(reach, gap)
        return limited, 0.5 * (value + limited)
    if lag_s > 0.0:
        return value + change, target - change * lag_s / duration_s
    ramp_s = abs(gap) / rate_limit
    return target, target - 0.5 * gap * ramp_s / duration_s
