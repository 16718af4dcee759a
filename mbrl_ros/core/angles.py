"""Angle arithmetic. An angle difference is only meaningful after wrapping."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import torch

Number = TypeVar("Number", float, np.ndarray, torch.Tensor)


def wrap_angle(angle: Number) -> Number:
    """``angle`` [rad] moved by whole turns into [-pi, pi); differentiable with derivative one for tensors."""
    if isinstance(angle, torch.Tensor):
        return angle - 2 * math.pi * torch.floor((angle.detach() + math.pi) / (2 * math.pi))
    return angle - 2 * math.pi * np.floor((angle + math.pi) / (2 * math.pi))


def yaw_from_quaternion(x: Number, y: Number, z: Number, w: Number) -> Number:
    """Heading [rad] of a unit quaternion (rotation about z of the z-y-x convention)."""
    sin_yaw, cos_yaw = 2 * (w * z + x * y), 1 - 2 * (y * y + z * z)
    return torch.atan2(sin_yaw, cos_yaw) if isinstance(z, torch.Tensor) else np.arctan2(sin_yaw, cos_yaw)


def quaternion_from_yaw(yaw: float) -> tuple[float, float, float, float]:
    """Unit quaternion (x, y, z, w) of a heading [rad] on flat ground."""
    return 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)
