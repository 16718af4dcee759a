"""How far a planner that only watches agrees with whoever drives, command by command, while driving."""

from __future__ import annotations

from collections import deque

import numpy as np

from mbrl_ros.evaluation.agreement import Agreement, agreement


class LiveAgreement:
    """Commands that were sent beside those that a planner would have sent at the same stamps, of the last seconds.

    Args:
        window_s: how far back the figures reach [s].
    """

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._pairs: deque[tuple[float, np.ndarray, np.ndarray]] = deque()

    def add(self, stamp_s: float, planned: np.ndarray, sent: np.ndarray) -> None:
        """Two commands [A] of one stamp [s]; one that is older than the last, as when time is set back, begins anew."""
        if self._pairs and stamp_s < self._pairs[-1][0]:
            self._pairs.clear()
        self._pairs.append((stamp_s, planned, sent))
        while self._pairs[0][0] < stamp_s - self.window_s:
            self._pairs.popleft()

    @property
    def newest(self) -> np.ndarray:
        """[A] planned minus sent, of the last stamp that was added."""
        _, planned, sent = self._pairs[-1]
        return planned - sent

    def over_window(self) -> Agreement:
        """Of all pairs that are kept."""
        _, planned, sent = zip(*self._pairs, strict=True)
        return agreement(np.stack(planned), np.stack(sent))
