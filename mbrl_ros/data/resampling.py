"""Irregular samples brought to a fixed rate without looking ahead."""

from __future__ import annotations

import numpy as np

SAME_TIME_S = 1e-6
"""Times closer than this are one time [s]: stamps are often rounded, and so are sums of sample times."""


def interpolate(time_s: np.ndarray, values: np.ndarray, grid_s: np.ndarray) -> np.ndarray:
    """[G, C] linear interpolation of ``values`` [N, C] between the two samples that bracket each grid time.

    A row depends on no sample later than the first one at or after its own time: at most one sample period
    of the topic, far less than what a filter that runs both ways would see.
    """
    return np.stack([np.interp(grid_s, time_s, column) for column in values.T], axis=1)


def hold(time_s: np.ndarray, values: np.ndarray, grid_s: np.ndarray) -> np.ndarray:
    """[G, C] the newest of ``values`` [N, C] at or before each grid time; NaN before the first one."""
    newest = _newest(time_s, grid_s)
    return np.where((newest >= 0)[:, None], values[np.maximum(newest, 0)], np.nan)


def held_mean(time_s: np.ndarray, values: np.ndarray, grid_s: np.ndarray, dt: float) -> np.ndarray:
    """[G, C] mean over the ``dt`` seconds from each grid time on of ``values`` [N, C], each held until the next.

    NaN before the first one.
    """
    knots = np.append(time_s, max(time_s[-1], grid_s[-1] + dt) + dt)
    integral = np.vstack([np.zeros(values.shape[1]), np.cumsum(np.diff(knots)[:, None] * values, axis=0)])
    mean = (interpolate(knots, integral, grid_s + dt) - interpolate(knots, integral, grid_s)) / dt
    return np.where((_newest(time_s, grid_s) >= 0)[:, None], mean, np.nan)


def between_samples(time_s: np.ndarray, grid_s: np.ndarray, longest_s: float) -> np.ndarray:
    """[G] bool: which grid times lie on a sample, or between two that are at most ``longest_s`` apart."""
    newest = _newest(time_s, grid_s)
    before = time_s[np.maximum(newest, 0)]
    after = time_s[np.minimum(newest + 1, len(time_s) - 1)]
    on_sample = grid_s - before <= SAME_TIME_S
    inside = (newest + 1 < len(time_s)) & (after - before <= longest_s)
    return (newest >= 0) & (on_sample | inside)


def within_hold(time_s: np.ndarray, grid_s: np.ndarray, longest_s: float) -> np.ndarray:
    """[G] bool: which grid times come at most ``longest_s`` after a sample."""
    newest = _newest(time_s, grid_s)
    return (newest >= 0) & (grid_s - time_s[np.maximum(newest, 0)] <= longest_s + SAME_TIME_S)


def _newest(time_s: np.ndarray, grid_s: np.ndarray) -> np.ndarray:
    """[G] index of the last sample at or before each grid time, -1 for none."""
    return np.searchsorted(time_s, grid_s + SAME_TIME_S, side="right") - 1


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
