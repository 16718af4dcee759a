"""What a model predicted against what then happened, while driving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.layout import STATE, VX, YAW, YAW_RATE, X, Y
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.models.model import DynamicsModel, rollout


@dataclass(frozen=True)
class HorizonErrors:
    """Root mean square errors by horizon, each [n]: position [m], yaw [rad], speed [m/s], yaw rate [rad/s]."""

    stamp_s: float
    horizons_s: tuple[float, ...]
    position_m: np.ndarray
    yaw_rad: np.ndarray
    speed_mps: np.ndarray
    yaw_rate_radps: np.ndarray
    starts: int


def live_errors(
    driven: Driven, model: DynamicsModel, horizons_s: Sequence[float], last_s: float = math.inf
) -> HorizonErrors | None:
    """Errors of ``model`` on the last ``last_s`` seconds of driving, None where that holds no whole prediction."""
    longest_s = max(horizons_s)
    starts_s = driven.starts(model, longest_s, last_s)
    if not len(starts_s):
        return None
    window = driven.window(model, starts_s, longest_s)
    with torch.no_grad():
        predicted = rollout(model, window.begin, window.applied)[..., : len(STATE)]
    return errors_of(driven, starts_s, predicted.double().numpy(), model.dt, horizons_s)


def errors_of(
    driven: Driven, starts_s: np.ndarray, predicted: np.ndarray, dt: float, horizons_s: Sequence[float]
) -> HorizonErrors:
    """Errors of the states ``predicted`` [N, H + 1, 8] from ``starts_s`` [N] on, ``dt`` seconds apart.

    Those of predictions that are not finite are infinite: an unknown error would speak neither for nor against a model.
    """
    rows = []
    for horizon_s in horizons_s:
        step = round(horizon_s / dt)
        error = predicted[:, step] - driven.at(starts_s + step * dt)
        finite = np.isfinite(error)
        error[:, YAW] = wrap_angle(np.where(finite[:, YAW], error[:, YAW], 0.0))
        squares = (np.where(finite, error, np.inf) ** 2).mean(axis=0)
        rows.append([squares[X] + squares[Y], squares[YAW], squares[VX], squares[YAW_RATE]])
    position, yaw, speed, yaw_rate = np.sqrt(np.array(rows)).T
    return HorizonErrors(driven.stamp_s, tuple(horizons_s), position, yaw, speed, yaw_rate, len(starts_s))
