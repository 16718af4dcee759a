"""Pose and velocity of one point of the car from those of another, on the car's axis."""

from __future__ import annotations

import math

import numpy as np

from mbrl_ros.core.layout import VY, YAW, YAW_RATE, ReferencePoint, X, Y


def lever_m(point: ReferencePoint, wheelbase_m: float, rear_fraction: float) -> float:
    """Distance [m] of ``point`` ahead of the rear axle, ``rear_fraction * wheelbase_m`` for the centre of gravity."""
    return {"rear_axle": 0.0, "cg": rear_fraction * wheelbase_m, "front_axle": wheelbase_m}[point]


def moved(state: np.ndarray, ahead_m: float) -> np.ndarray:
    """[S] state (core.layout.STATE, further entries kept) of the point ``ahead_m`` [m] in front of the present one.

    A rigid body: ``p' = p + d (cos yaw, sin yaw)``, ``vy' = vy + d yaw_rate``; ``vx`` is the same.
    """
    result = np.array(state, dtype=float)
    result[X] += ahead_m * math.cos(state[YAW])
    result[Y] += ahead_m * math.sin(state[YAW])
    result[VY] += ahead_m * state[YAW_RATE]
    return result


def moved_covariance(covariance: np.ndarray, yaw_rad: float, ahead_m: float) -> np.ndarray:
    """[S, S] covariance of ``moved``'s result, to first order in the error of yaw."""
    jacobian = np.eye(len(covariance))
    jacobian[X, YAW] = -ahead_m * math.sin(yaw_rad)
    jacobian[Y, YAW] = ahead_m * math.cos(yaw_rad)
    jacobian[VY, YAW_RATE] = ahead_m
    return jacobian @ covariance @ jacobian.T
