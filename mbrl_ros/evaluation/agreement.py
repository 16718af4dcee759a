"""How far a planner agrees with whoever drives: commands beside commands, paths beside paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.layout import YAW

_CONSTANT = 1e-9
"""A series whose standard deviation is smaller does not vary: nothing can be correlated with it."""


@dataclass(frozen=True)
class Agreement:
    """Differences, planner minus driver, of A quantities over ``count`` pairs; nan where there is no pair.

    Args:
        count: pairs compared.
        rms: [A] root mean square difference, in the quantities' units.
        bias: [A] mean difference.
        correlation: [A] Pearson's; nan where one of the two does not vary.
    """

    count: int
    rms: np.ndarray
    bias: np.ndarray
    correlation: np.ndarray


def agreement(planned: np.ndarray, driven: np.ndarray) -> Agreement:
    """What ``planned`` [..., A] and ``driven`` [..., A] have in common; pairs that hold a NaN are left out.

    All the leading dimensions are pairs, say instants, or instants by the steps that follow each of them.
    """
    quantities = planned.shape[-1]
    pairs = np.stack([planned.reshape(-1, quantities), driven.reshape(-1, quantities)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=(0, 2))]
    if not pairs.shape[1]:
        nothing = np.full(quantities, np.nan)
        return Agreement(0, nothing, nothing, nothing)
    difference = pairs[0] - pairs[1]
    centred = pairs - pairs.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=1))
    varies = (spread > _CONSTANT).all(axis=0)
    together = (centred[0] * centred[1]).mean(axis=0)
    correlation = np.where(varies, together / np.where(varies, spread.prod(axis=0), 1.0), np.nan)
    return Agreement(pairs.shape[1], np.sqrt((difference**2).mean(axis=0)), difference.mean(axis=0), correlation)


def offsets(state: np.ndarray, planned: np.ndarray, driven: np.ndarray) -> np.ndarray:
    """[N, ..., 2] metres by which ``planned`` lies ahead and to the left of ``driven``, seen from the car.

    Args:
        state: [N, 8] core.layout.STATE from which both paths begin.
        planned: [N, ..., 2] positions [m].
        driven: [N, ..., 2] positions [m].
    """
    yaw = state[:, YAW].reshape(-1, *[1] * (planned.ndim - 2))
    east, north = np.moveaxis(planned - driven, -1, 0)
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([cos * east + sin * north, cos * north - sin * east], axis=-1)
