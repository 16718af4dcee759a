"""Scores by regime: how fast, and how hard in a corner, the car was driven."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_ros.core.layout import VX, YAW_RATE
from mbrl_ros.evaluation.bootstrap import block_of, mean_interval
from mbrl_ros.evaluation.open_loop import Windows, errors_over

SPEEDS = ("slow", "medium", "fast")
TURNING = ("little turning", "some turning", "most turning")
REGIMES = tuple(f"{speed}, {turning}" for speed in SPEEDS for turning in TURNING)
"""Names of the regimes, speed first."""


@dataclass(frozen=True)
class Regimes:
    """Every start in one regime: thirds of the starts by speed, and thirds by lateral acceleration.

    Both are means over the driving after the start, so that a regime is the same for every horizon.

    Args:
        speed_mps: borders between the `SPEEDS` [m/s].
        lateral_mps2: borders between the degrees of `TURNING`, of the magnitude of vx times yaw rate [m/s^2].
        of_start: [N] index into `REGIMES`.
    """

    speed_mps: tuple[float, float]
    lateral_mps2: tuple[float, float]
    of_start: np.ndarray

    def speed(self, regime: str) -> tuple[float, float]:
        """Between which speeds ``regime`` lies [m/s]; the outer ones are infinite."""
        return _between(self.speed_mps, REGIMES.index(regime) // len(TURNING))

    def lateral(self, regime: str) -> tuple[float, float]:
        """Between which lateral accelerations ``regime`` lies [m/s^2]; the outer ones are infinite."""
        return _between(self.lateral_mps2, REGIMES.index(regime) % len(TURNING))

    def rows(self, regime: str) -> np.ndarray:
        """[N] bool: the starts in ``regime``."""
        return self.of_start == REGIMES.index(regime)


@dataclass(frozen=True)
class RegimeScore:
    """How well one predictor does over one horizon in one regime; figures as those of `open_loop.Score`."""

    model: str
    horizon_s: float
    regime: str
    starts: int
    ade_m: float
    fde_m: float
    ade_interval_m: tuple[float, float]
    fde_interval_m: tuple[float, float]


def regimes_of(windows: Windows) -> Regimes:
    """The regimes of the starts in ``windows``, whose speed and yaw rate are recorded."""
    driven = windows.driven.numpy()
    speed = np.nanmean(driven[..., VX], axis=1)
    lateral = np.nanmean(np.abs(driven[..., VX] * driven[..., YAW_RATE]), axis=1)
    borders = [tuple(np.quantile(values, [1 / 3, 2 / 3]).tolist()) for values in (speed, lateral)]
    of_start = len(TURNING) * np.searchsorted(borders[0], speed) + np.searchsorted(borders[1], lateral)
    return Regimes(borders[0], borders[1], of_start)


def regime_scores(
    name: str,
    predicted: torch.Tensor,
    windows: Windows,
    regimes: Regimes,
    horizons_s: Sequence[float],
    *,
    seed: int = 0,
) -> list[RegimeScore]:
    """Scores of ``predicted`` [N, H + 1, 8] by horizon and regime; regimes without a start are left out."""
    found = []
    for horizon_s in horizons_s:
        average, final = errors_over(horizon_s, predicted, windows)
        block = block_of(horizon_s, windows.every_s)
        for regime in REGIMES:
            rows = regimes.rows(regime) & ~np.isnan(final)
            if rows.any():
                found.append(
                    RegimeScore(
                        name,
                        horizon_s,
                        regime,
                        int(rows.sum()),
                        float(average[rows].mean()),
                        float(final[rows].mean()),
                        mean_interval(average, block, seed, rows),
                        mean_interval(final, block, seed, rows),
                    )
                )
    return found


def in_words(between: tuple[float, float]) -> str:
    """What lies between two figures, the outer ones infinite: ``< 12.3``, ``12.3–17`` or ``> 17``."""
    low, high = between
    if math.isinf(low):
        return f"< {high:.3g}"
    return f"> {low:.3g}" if math.isinf(high) else f"{low:.3g}–{high:.3g}"


def _between(borders: tuple[float, float], third: int) -> tuple[float, float]:
    edges = (-math.inf, *borders, math.inf)
    return edges[third], edges[third + 1]
