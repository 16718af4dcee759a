"""Sampled columns asked for their values, and their means over spans, at any time."""

from __future__ import annotations

import numpy as np

LONGEST_S = 0.25
"""Measurements further apart than this do not tell what lies between them [s], as in data.drives."""

LONGEST_HOLD_S = 0.5
"""A command older than this no longer counts [s], as in data.drives."""


class Trace:
    """Columns over time, unknown (NaN) across gaps and outside of the recording.

    Means come from the exact integral between samples, so topics with clocks and rates of their own compare over
    the same spans without a common grid.

    Args:
        time_s: [N] rising.
        values: [N, C] finite.
        held: each value lasts until the next, as commands do; otherwise they are joined by lines.
    """

    def __init__(self, time_s: np.ndarray, values: np.ndarray, held: bool = False) -> None:
        self.time_s, self.values = time_s, values
        self._rise = np.zeros_like(values[1:]) if held else np.diff(values, axis=0)
        steps = np.diff(time_s)
        longest = max(LONGEST_HOLD_S if held else LONGEST_S, 5 * float(np.median(steps)))
        self._gaps = np.concatenate([[0], np.cumsum(steps > longest)])
        areas = np.cumsum((values[:-1] + self._rise / 2) * steps[:, None], axis=0)
        self._integral = np.vstack([np.zeros(values.shape[1]), areas])

    def at(self, time_s: np.ndarray) -> np.ndarray:
        """[K, C] values at ``time_s`` [K]."""
        low, share = self._place(time_s)
        values = self.values[low] + share[:, None] * self._rise[low]
        return np.where(self._known(time_s, time_s)[:, None], values, np.nan)

    def mean(self, start_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
        """[K, C] means from ``start_s`` [K] to ``end_s`` [K]."""
        area = self._area(end_s) - self._area(start_s)
        mean = area / (end_s - start_s)[:, None]
        return np.where(self._known(start_s, end_s)[:, None], mean, np.nan)

    def _place(self, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low = np.clip(np.searchsorted(self.time_s, time_s, side="right") - 1, 0, len(self.time_s) - 2)
        share = (time_s - self.time_s[low]) / (self.time_s[low + 1] - self.time_s[low])
        return low, np.clip(share, 0.0, 1.0)

    def _area(self, time_s: np.ndarray) -> np.ndarray:
        low, share = self._place(time_s)
        mean = self.values[low] + share[:, None] / 2 * self._rise[low]
        width = share * (self.time_s[low + 1] - self.time_s[low])
        return np.asarray(self._integral[low] + mean * width[:, None])

    def _known(self, start_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
        first = np.searchsorted(self.time_s, start_s, side="right") - 1
        last = np.searchsorted(self.time_s, end_s, side="left")
        inside = (first >= 0) & (last < len(self.time_s))
        count = len(self.time_s) - 1
        gaps = self._gaps[np.clip(last, 0, count)] - self._gaps[np.clip(first, 0, count)]
        return np.asarray(inside & (gaps == 0))
