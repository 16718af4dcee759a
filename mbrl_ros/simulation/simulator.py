"""The simulated car: commands in, sensor readings out, on simulated time."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.sensing import Sensors
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.simulation.actuators import Actuators, DriveRequest
from mbrl_ros.simulation.plant import Motion, Plant
from mbrl_ros.simulation.sensors import Reading, SensorSuite

_SLACK_S = 1e-9


class Simulator:
    """Plant, actuators and sensors on one clock that moves only by ``advance``.

    The clock runs on a fixed grid of ``plant.step_s``. What happens depends on the seed and on the stamped commands
    alone, not on how ``advance`` is cut into calls, as long as each command is handed in before the clock passes
    its stamp plus the shortest delay. A ``copy.deepcopy`` is a snapshot.

    Args:
        vehicle: whose ``plant`` is simulated.
        sensors: in the place of the vehicle's own.
        seed: of all noise.
        start_s: the clock's first value [s].

    Raises:
        ConfigError: the plant's settings contradict its parameter set.
    """

    def __init__(self, vehicle: Vehicle, sensors: Sensors | None = None, seed: int = 0, start_s: float = 0.0) -> None:
        self._settings = vehicle.plant
        self._plant = Plant(vehicle.plant)
        self._actuators = Actuators(vehicle.plant, self._plant.steering_limit_rad)
        self._sensors = SensorSuite(sensors or vehicle.sensors, seed, start_s)
        self._start_s = start_s
        self._steps = 0
        self._newest_stamp_s = -math.inf
        self._under_way: list[tuple[float, int, Reading]] = []
        self._readings = 0
        self.counters: Counter[str] = Counter()
        self._measure()

    @property
    def now_s(self) -> float:
        """The clock [s]."""
        return self._start_s + self._steps * self._settings.step_s

    @property
    def watchdog_active(self) -> bool:
        """Whether the car brakes by itself, for want of commands."""
        return self._actuators.is_silent(self.now_s)

    @property
    def gyro_bias_radps(self) -> float:
        """The gyroscope's present bias."""
        return self._sensors.gyro_bias_radps

    def command(self, stamp_s: float, steering_angle: float, *, speed: float = 0.0, acceleration: float = 0.0) -> str:
        """Command the car from ``stamp_s`` on; returns why it was refused, or an empty string.

        Args:
            stamp_s: the command's stamp [s]; its effect begins after the actuators' delays.
            steering_angle: road wheel angle [rad], left positive.
            speed: [m/s], obeyed by a car whose ``drive`` is ``speed``.
            acceleration: [m/s^2]; signed for a car whose ``drive`` is ``acceleration``, otherwise the magnitude at
                which ``speed`` is approached, 0 meaning as fast as possible.
        """
        refusal = self._refusal(stamp_s, (steering_angle, speed, acceleration))
        self.counters[refusal or "commands"] += 1
        if not refusal:
            self._newest_stamp_s = stamp_s
            self._actuators.command(stamp_s, steering_angle, DriveRequest(speed, acceleration))
        return refusal

    def _refusal(self, stamp_s: float, values: tuple[float, ...]) -> str:
        if not all(math.isfinite(value) for value in (stamp_s, *values)):
            return "non-finite command"
        # The clock stands up to one step behind whoever reads it.
        if stamp_s > self.now_s + self._settings.command_timeout_s:
            return "command from the future"
        if stamp_s < self.now_s - self._settings.command_timeout_s:
            return "stale command"
        if stamp_s <= self._newest_stamp_s:
            return "repeated command stamp" if stamp_s == self._newest_stamp_s else "backward command stamp"
        return ""

    def advance(self, until_s: float) -> list[Reading]:
        """Let time pass to the last grid point not after ``until_s``; returns what arrived, in order of arrival."""
        while self._start_s + (self._steps + 1) * self._settings.step_s <= until_s + _SLACK_S:
            self._step()
        arrived = []
        while self._under_way and self._under_way[0][0] <= until_s + _SLACK_S:
            arrived.append(heapq.heappop(self._under_way)[2])
        return arrived

    def truth(self) -> np.ndarray:
        """[8] true state (core.layout.STATE) of the centre of gravity, now."""
        motion = self._plant.motion()
        return np.array(
            [
                motion.x_m,
                motion.y_m,
                wrap_angle(motion.yaw_rad),
                motion.vx_mps,
                motion.vy_mps,
                motion.yaw_rate_radps,
                motion.steering_angle_rad,
                self._actuators.acceleration_mps2 * self._plant.delivered_share,
            ]
        )

    def motion(self) -> Motion:
        """The true motion, with the accelerations."""
        return self._plant.motion()

    def set_pose(self, x_m: float, y_m: float, yaw_rad: float, speed_mps: float = 0.0) -> None:
        """Put the car there, at rest or rolling straight ahead.

        Commands given and readings under way are lost, the clock runs on.
        """
        self._plant.set_pose(x_m, y_m, yaw_rad, speed_mps)
        self._actuators.reset()
        self._under_way.clear()

    def set_friction_scale(self, friction_scale: float) -> None:
        """Change the grip from now on: a factor on the parameter set's friction."""
        self._plant.set_friction_scale(friction_scale)

    def _step(self) -> None:
        start_s = self.now_s
        self._steps += 1
        cuts = self._actuators.cuts(start_s, self.now_s)
        for begin_s, end_s in itertools.pairwise(cuts):
            steering, speed = self._plant.steering_angle_rad, self._plant.speed_mps
            demand = self._actuators.demand(begin_s, end_s, steering, speed)
            self._plant.step(demand.duration_s, demand.steering_rate_radps, demand.acceleration_mps2)
            if self._plant.standing:
                self._actuators.release_brakes()
        self._measure()

    def _measure(self) -> None:
        if self._sensors.is_due(self.now_s):
            for reading in self._sensors.measure(self.now_s, self._plant.motion()):
                heapq.heappush(self._under_way, (reading.arrival_s, self._readings, reading))
                self._readings += 1
