"""Noisy sensors of the simulated car, each at its own rate and with its own latency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.sensing import (
    InertialSensor,
    PoseSensor,
    Sensors,
    SensorTiming,
    SteeringSensor,
    WheelSpeedSensor,
)
from mbrl_ros.simulation.plant import Motion

SensorName = Literal["wheel_speed", "imu", "steering", "pose"]

GRAVITY_MPS2 = 9.81
_SLACK_S = 1e-9


@dataclass(frozen=True)
class Reading:
    """One measurement, made at ``stamp_s`` and handed over at ``arrival_s``.

    Args:
        sensor: ``wheel_speed``: [speed m/s]; ``imu``: [yaw rate rad/s, specific force x, y, z m/s^2] in the body
            frame, +9.81 on z at rest (REP-145); ``steering``: [road wheel angle rad]; ``pose``: [x m, y m, yaw rad]
            of the centre of gravity in the world.
        stamp_s: when the quantity had this value, noise aside.
        arrival_s: when the message arrives.
        values: [n] float64.
        variances: [n] of the sensor's white noise.
    """

    sensor: SensorName
    stamp_s: float
    arrival_s: float
    values: np.ndarray
    variances: np.ndarray


@dataclass
class _Channel:
    """A sensor at work: what it measures of a motion, and when it does so next."""

    name: SensorName
    timing: SensorTiming
    measure: Callable[[Motion], tuple[float, ...]]
    noise_std: np.ndarray
    generator: np.random.Generator
    bias: np.ndarray
    bias_walk: np.ndarray
    taken: int = field(default=0)


class SensorSuite:
    """All sensors of one car.

    Every sensor draws from a generator of its own, so that leaving one out does not change another's noise.

    Args:
        sensors: which there are.
        seed: of all generators.
        start_s: when each takes its first reading.
    """

    def __init__(self, sensors: Sensors, seed: int, start_s: float) -> None:
        self._start_s = start_s
        children = iter(np.random.SeedSequence(seed).spawn(4))
        self._channels = [
            _channel(name, timing, np.random.default_rng(child))
            for (name, timing), child in zip(_by_name(sensors), children, strict=True)
            if timing is not None
        ]

    @property
    def gyro_bias_radps(self) -> float:
        """The gyroscope's present bias: what an estimator is to find."""
        return next((float(channel.bias[0]) for channel in self._channels if channel.name == "imu"), 0.0)

    def is_due(self, time_s: float) -> bool:
        """Whether any sensor measures at ``time_s``."""
        return any(self._due(channel, time_s) for channel in self._channels)

    def measure(self, time_s: float, motion: Motion) -> list[Reading]:
        """Readings of the sensors that are due at ``time_s``, stamped with it."""
        return [self._read(channel, time_s, motion) for channel in self._channels if self._due(channel, time_s)]

    def _due(self, channel: _Channel, time_s: float) -> bool:
        return time_s >= self._start_s + channel.taken / channel.timing.rate_hz - _SLACK_S

    def _read(self, channel: _Channel, time_s: float, motion: Motion) -> Reading:
        true = np.array(channel.measure(motion))
        noise = channel.generator.normal(size=(2, len(true)))
        if channel.taken:
            channel.bias = channel.bias + channel.bias_walk * noise[0] / math.sqrt(channel.timing.rate_hz)
        channel.taken += 1
        values = true + channel.bias + channel.noise_std * noise[1]
        if channel.name == "pose":
            values[2] = wrap_angle(values[2])
        return Reading(channel.name, time_s, time_s + channel.timing.latency_s, values, channel.noise_std**2)


def _by_name(sensors: Sensors) -> list[tuple[SensorName, SensorTiming | None]]:
    return [
        ("wheel_speed", sensors.wheel_speed),
        ("imu", sensors.imu),
        ("steering", sensors.steering),
        ("pose", sensors.pose),
    ]


def _channel(name: SensorName, timing: SensorTiming, generator: np.random.Generator) -> _Channel:
    noise_std = np.array(_noise_std(timing))
    bias, bias_walk = np.zeros_like(noise_std), np.zeros_like(noise_std)
    if isinstance(timing, InertialSensor):
        bias[0] = generator.normal(scale=timing.gyro_bias_std_radps)
        bias_walk[0] = timing.gyro_bias_walk_radps_rts
    return _Channel(name, timing, _MEASURED[name], noise_std, generator, bias, bias_walk)


_MEASURED: dict[SensorName, Callable[[Motion], tuple[float, ...]]] = {
    "wheel_speed": lambda motion: (motion.wheel_speed_mps,),
    "imu": lambda motion: (motion.yaw_rate_radps, motion.ax_mps2, motion.ay_mps2, GRAVITY_MPS2),
    "steering": lambda motion: (motion.steering_angle_rad,),
    "pose": lambda motion: (motion.x_m, motion.y_m, motion.yaw_rad),
}


def _noise_std(timing: SensorTiming) -> tuple[float, ...]:
    if isinstance(timing, WheelSpeedSensor):
        return (timing.noise_std_mps,)
    if isinstance(timing, InertialSensor):
        return (timing.gyro_noise_std_radps, *3 * (timing.acceleration_noise_std_mps2,))
    if isinstance(timing, SteeringSensor):
        return (timing.noise_std_rad,)
    if isinstance(timing, PoseSensor):
        return (timing.position_noise_std_m, timing.position_noise_std_m, timing.yaw_noise_std_rad)
    raise TypeError(f"no sensor is described by {type(timing).__name__}")
