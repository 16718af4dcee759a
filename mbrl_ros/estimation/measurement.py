"""What sensors say, and the conventions of their covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import STATE, STEERING_ANGLE, VX, YAW, YAW_RATE, Layout, X, Y
from mbrl_ros.core.sensing import MeasurementNoise

ESTIMATE = Layout((*STATE.names, "gyro_bias"), (*STATE.units, "rad/s"))
"""Entries of an estimate: the car's state and the bias of its yaw gyroscope (measured minus true)."""

GYRO_BIAS = ESTIMATE.index("gyro_bias")

Source = Literal["gyro", "accelerometer", "wheel_speed", "steering", "pose"]


@dataclass(frozen=True)
class Part:
    """Components of a measurement that pass or fail the gate together.

    Args:
        name: in counters.
        components: which components of the measurement.
        observes: entries of the estimate that they speak of, where they do so directly.
    """

    name: str
    components: tuple[int, ...]
    observes: tuple[int, ...] = ()


PARTS: dict[Source, tuple[Part, ...]] = {
    "gyro": (Part("gyro", (0,), (YAW_RATE, GYRO_BIAS)),),
    "accelerometer": (Part("longitudinal_acceleration", (0,)), Part("lateral_acceleration", (1,))),
    "wheel_speed": (Part("wheel_speed", (0,), (VX,)),),
    "steering": (Part("steering", (0,), (STEERING_ANGLE,)),),
    "pose": (Part("position", (0, 1), (X, Y)), Part("yaw", (2,), (YAW,))),
}
"""The sources, in the order in which measurements of one instant are applied: by their usual latency, which saves
filtering again."""

RANK: dict[Source, int] = {source: rank for rank, source in enumerate(PARTS)}
SIZE: dict[Source, int] = {source: sum(len(part.components) for part in parts) for source, parts in PARTS.items()}


@dataclass(frozen=True)
class Measurement:
    """One message of one source.

    Args:
        source: ``pose``: [x m, y m, yaw rad] of the model's reference point; ``wheel_speed``: [forward speed m/s];
            ``steering``: [road wheel angle rad]; ``gyro``: [yaw rate rad/s]; ``accelerometer``: specific force
            [forward, left] m/s^2 of the reference point. A component that is NaN is left out.
        stamp_s: the instant measured [s].
        arrival_s: when the message came, on the clock of the stamps [s].
        values: [n].
        covariance: [n, n]; None or all zero where it is unknown.

    Raises:
        LayoutError: a shape does not fit the source.
    """

    source: Source
    stamp_s: float
    arrival_s: float
    values: np.ndarray
    covariance: np.ndarray | None = None

    def __post_init__(self) -> None:
        size = SIZE[self.source]
        if np.shape(self.values) != (size,):
            raise LayoutError(f"{self.source}: values have shape {np.shape(self.values)}, expected ({size},)")
        if self.covariance is not None and np.shape(self.covariance) != (size, size):
            raise LayoutError(f"{self.source}: covariance {np.shape(self.covariance)}, expected ({size}, {size})")


def noise_covariance(measurement: Measurement, default: MeasurementNoise) -> tuple[np.ndarray, bool]:
    """[n, n] covariance to assume, and whether the message's own had to be put aside as impossible.

    Unknown (None or all zero) and impossible (not finite, a variance that is not positive, asymmetric, not positive
    definite) ones are replaced by the configured default.
    """
    given = measurement.covariance
    fallback = np.diag(np.square(_default_std(measurement.source, default)))
    if given is None or not np.any(given):
        return fallback, False
    if not np.isfinite(given).all() or not np.allclose(given, given.T) or np.linalg.eigvalsh(given)[0] <= 0.0:
        return fallback, True
    return np.asarray(given, dtype=float), False


def _default_std(source: Source, noise: MeasurementNoise) -> tuple[float, ...]:
    return {
        "pose": (noise.position_m, noise.position_m, noise.yaw_rad),
        "wheel_speed": (noise.wheel_speed_mps,),
        "steering": (noise.steering_rad,),
        "gyro": (noise.gyro_radps,),
        "accelerometer": (noise.longitudinal_acceleration_mps2, noise.lateral_acceleration_mps2),
    }[source]
