"""How far ahead of the rear axle a point lies, by how it moves sideways in corners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.motion import Motion

_LEAST_TURNING = 0.05  # rms of the turn rate [rad/s]


@dataclass(frozen=True)
class Lever:
    """``vy = lever r - k v^2 r + offset v``: sideways velocity of a point ahead of the rear axle, to first order.

    The rear axle's own sideways velocity is that of its tyres' slip, proportional to the lateral force, hence to
    ``v^2 r`` after multiplication by v.

    Args:
        metres: the point lies this far ahead of the rear axle.
        std_m: standard deviation.
        offset_rad: by which the heading is turned to the right of where the car goes on a straight.
        offset_std_rad: standard deviation.
        fit: the fit.
    """

    metres: float
    std_m: float
    offset_rad: float
    offset_std_rad: float
    fit: LagFit


def fit_lever(motion: Motion, sideways: np.ndarray) -> Lever | None:
    """From sideways velocities [K] over the spans of ``motion``; None where the car does not turn enough."""
    speed, turn = motion.body.real, motion.turn_rate
    known = np.isfinite(turn) & motion.moving
    if not known.any() or np.sqrt(np.mean(turn[known] ** 2)) < _LEAST_TURNING:
        return None
    columns = np.stack([turn, speed**2 * turn, speed], axis=1)
    fit = fit_lag(motion.while_moving(sideways), lambda _: columns, np.zeros(1))
    if fit is None:
        return None
    return Lever(float(fit.coefficients[0]), float(fit.std[0]), float(fit.coefficients[2]), float(fit.std[2]), fit)
