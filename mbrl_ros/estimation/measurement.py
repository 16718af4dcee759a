"""What sensors say, and the conventions of their covariances."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import STATE, STEERING_ANGLE, VX, YAW, YAW_RATE, Layout, X, Y
from mbrl_ros.core.sensing import EstimatorSettings

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
        observes: entries of the estimate that they speak of, where they do so directly; those that can be wrong all at
            once, as a gyroscope's bias cannot.
        checked_by: part that speaks of the same, if slower, and does not slip: while that one is believed, this one is
            at fault where it is rejected for long. A wheel that locks in a bend does not mean that the car stands.
    """

    name: str
    components: tuple[int, ...]
    observes: tuple[int, ...] = ()
    checked_by: str = ""


PARTS: dict[Source, tuple[Part, ...]] = {
    "gyro": (Part("gyro", (0,), (YAW_RATE,)),),
    "accelerometer": (Part("longitudinal_acceleration", (0,)), Part("lateral_acceleration", (1,))),
    "wheel_speed": (Part("wheel_speed", (0,), (VX,), checked_by="position"),),
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


def noise_covariance(measurement: Measurement, settings: EstimatorSettings) -> tuple[np.ndarray, bool]:
    """[n, n] covariance to assume, and whether the message's own had to be put aside as impossible.

    Unknown (None or all zero) and impossible ones (not finite, asymmetric, not positive definite) are replaced by
    the configured default; what the measurement equations leave out is added to either.
    """
    noise, unmodelled = settings.measurement, settings.unmodelled
    default, added = {
        "gyro": ((noise.gyro_radps,), (0.0,)),
        "accelerometer": (
            2 * (noise.acceleration_mps2,),
            (unmodelled.longitudinal_acceleration_mps2, unmodelled.lateral_acceleration_mps2),
        ),
        "wheel_speed": ((noise.wheel_speed_mps,), (unmodelled.wheel_speed_mps,)),
        "steering": ((noise.steering_rad,), (0.0,)),
        "pose": ((noise.position_m, noise.position_m, noise.yaw_rad), (0.0, 0.0, 0.0)),
    }[measurement.source]
    given, missing = measurement.covariance, np.diag(np.square(added))
    if given is None or not np.any(given):
        return np.diag(np.square(default)) + missing, False
    if not _is_possible(given):
        return np.diag(np.square(default)) + missing, True
    return given + missing, False


def _is_possible(covariance: np.ndarray) -> bool:
    if not np.isfinite(covariance).all() or covariance.diagonal().min() <= 0.0:
        return False
    if len(covariance) == 1:
        return True
    skew = np.abs(covariance - covariance.T).max()
    return bool(skew <= 1e-6 * covariance.diagonal().max() and np.linalg.eigvalsh(covariance)[0] > 0.0)
