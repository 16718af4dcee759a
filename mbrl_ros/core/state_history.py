"""States as they were driven, for whatever wants to know the driving before the present."""

from __future__ import annotations

import bisect

import numpy as np

from mbrl_ros.core.layout import STATE, YAW


class StateHistory:
    """The newest seconds of driven states, in the order of their stamps.

    Args:
        keep_s: how far back states are kept [s].
    """

    def __init__(self, keep_s: float = 5.0) -> None:
        self._keep_s = keep_s
        self._stamps: list[float] = []
        self._states: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def span_s(self) -> float:
        """Time between the oldest and the newest state [s]."""
        return self._stamps[-1] - self._stamps[0] if self._stamps else 0.0

    def append(self, stamp_s: float, state: np.ndarray) -> None:
        """Record that the car was in ``state`` [8] (core.layout.STATE) at ``stamp_s``; later ones are forgotten."""
        cut = bisect.bisect_left(self._stamps, stamp_s)
        del self._stamps[cut:], self._states[cut:]
        self._stamps.append(stamp_s)
        self._states.append(state)
        expired = bisect.bisect_left(self._stamps, stamp_s - self._keep_s)
        del self._stamps[:expired], self._states[:expired]

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """[n, 8] states at ``times_s`` [n], interpolated linearly, the heading without jumps; the ends are held."""
        first, last = (bisect.bisect_left(self._stamps, time) for time in (times_s.min(), times_s.max()))
        rows = slice(max(first - 1, 0), last + 1)
        stamps, states = self._stamps[rows], np.stack(self._states[rows])
        states[:, YAW] = np.unwrap(states[:, YAW])
        return np.stack([np.interp(times_s, stamps, states[:, k]) for k in range(len(STATE))], axis=1)

    def copy(self) -> StateHistory:
        """A history of its own that holds the same states."""
        twin = StateHistory(self._keep_s)
        twin._stamps, twin._states = self._stamps.copy(), self._states.copy()
        return twin
