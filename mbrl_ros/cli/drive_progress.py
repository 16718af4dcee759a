"""How a drive gets on, by wall time: whether the car gets anywhere, and how fast simulated time passes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from mbrl_ros.core.layout import X, Y
from mbrl_ros.evaluation.drive_log import DriveLog

_PLACE_M = 0.5


class Stall:
    """For how long a car has got nowhere.

    Args:
        now: a clock [s].
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._place: np.ndarray | None = None
        self._planned = False
        self._since_s = now()

    def seconds(self, log: DriveLog) -> float:
        """Time [s] since the car left a place by `_PLACE_M`, or since the first plan, or since the beginning."""
        place = log.truth[-1][1][[X, Y]] if log.truth else None
        moved = place is not None and (self._place is None or np.hypot(*(place - self._place)) > _PLACE_M)
        if moved or self._planned != bool(log.solve_times_s):
            self._place, self._planned, self._since_s = place, bool(log.solve_times_s), self._now()
        return self._now() - self._since_s


class MeasuredPace:
    """How fast simulated time passes while there are plans.

    Args:
        now: a clock [s].
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._first: tuple[float, float] | None = None
        self.share = math.nan
        """Simulated seconds per second since the first plan."""

    def see(self, log: DriveLog) -> None:
        """The drive has come so far."""
        if not (log.solve_times_s and log.truth):
            return
        reached = self._now(), log.truth[-1][0]
        if self._first is None:
            self._first = reached
        elif reached[0] > self._first[0]:
            self.share = (reached[1] - self._first[1]) / (reached[0] - self._first[0])
