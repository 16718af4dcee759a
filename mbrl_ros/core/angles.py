"""Angle arithmetic. An angle difference is only meaningful after wrapping."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

Number = TypeVar("Number")


def wrap_angle(angle: Number) -> Number:
    """``angle`` [rad] (number, array or tensor) moved by whole turns into [-pi, pi); its derivative is one."""
    return (angle + math.pi) % (2 * math.pi) - math.pi  # type: ignore[operator, return-value]


def yaw_from_quaternion(x: np.ndarray, y: np.ndarray, z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Heading [rad] of unit quaternions (rotation about z of the z-y-x convention)."""
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def quaternion_from_yaw(yaw: float) -> tuple[float, float, float, float]:
    """Unit quaternion (x, y, z, w) of a heading [rad] on flat ground."""
    return 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)
