"""Irregular samples brought to a fixed rate without looking ahead."""

from __future__ import annotations

import numpy as np


def interpolate(time_s: np.ndarray, values: np.ndarray, grid_s: np.ndarray) -> np.ndarray:
    """[G, C] linear interpolation of ``values`` [N, C] between the two samples that bracket each grid time.

    A row depends on no sample later than the first one at or after its own time: at most one sample period
    of the topic, far less than what a filter that runs both ways would see.
    """
    return np.stack([np.interp(grid_s, time_s, column) for column in values.T], axis=1)


def interpolate_angle(time_s: np.ndarray, angle: np.ndarray, grid_s: np.ndarray) -> np.ndarray:
    """[G] the same for an angle [rad], the short way round; continuous (not wrapped) over the recording."""
    return np.interp(grid_s, time_s, np.unwrap(angle))


def hold(time_s: np.ndarray, values: np.ndarray, grid_s: np.ndarray) -> np.ndarray:
    """[G, C] the newest of ``values`` [N, C] at or before each grid time; NaN before the first one."""
    newest = np.searchsorted(time_s, grid_s, side="right") - 1
    return np.where((newest >= 0)[:, None], values[np.maximum(newest, 0)], np.nan)


def covered(time_s: np.ndarray, grid_s: np.ndarray, longest_s: float, held: bool = False) -> np.ndarray:
    """[G] bool: which grid times the samples speak for.

    Interpolated samples speak for the time between two of them that are at most ``longest_s`` apart; held ones
    for ``longest_s`` after each.
    """
    newest = np.searchsorted(time_s, grid_s, side="right") - 1
    inside = newest >= 0
    newest = np.maximum(newest, 0)
    if held:
        return inside & (grid_s - time_s[newest] <= longest_s)
    following = np.minimum(newest + 1, len(time_s) - 1)
    exact = time_s[newest] == grid_s
    return inside & (exact | ((grid_s < time_s[-1]) & (time_s[following] - time_s[newest] <= longest_s)))


def runs(mask: np.ndarray) -> list[slice]:
    """The unbroken stretches of True in ``mask`` [G]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [slice(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def low_pass(values: np.ndarray, dt: float, cutoff_hz: float) -> np.ndarray:
    """[G, C] first-order low-pass of ``values``, exact for held inputs, started at the first row: causal.

    It delays by about ``1 / (2 pi cutoff_hz)`` seconds, as every causal filter does.
    """
    gain = -np.expm1(-2 * np.pi * cutoff_hz * dt)
    filtered = np.array(values)
    for k in range(1, len(values)):
        filtered[k] = filtered[k - 1] + gain * (values[k] - filtered[k - 1])
    return filtered


def backward_derivative(values: np.ndarray, dt: float, steps: int) -> np.ndarray:
    """[G] mean slope of ``values`` [G] over the last ``steps`` steps; NaN in the first ``steps`` rows."""
    slope = np.full(len(values), np.nan)
    slope[steps:] = (values[steps:] - values[:-steps]) / (steps * dt)
    return slope
