"""Which obstacles are still there: the newest ones heard of, unless they are too old, and the nearest of too many."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from mbrl_ros.core.tasks.obstacles import Obstacle, nearest


class SeenObstacles:
    """Keeps what was seen last; each message replaces the one before.

    Args:
        timeout_s: longest that they count after their stamp [s].
        future_tolerance_s: how far a stamp may lie ahead of the clock [s].
        capacity: most that the task takes; of more, those whose outlines are nearest to the car count.
        counters: what is dropped is counted here.
    """

    def __init__(self, timeout_s: float, future_tolerance_s: float, capacity: int, counters: Counter[str]) -> None:
        self._timeout_s, self._future_tolerance_s, self._capacity = timeout_s, future_tolerance_s, capacity
        self._counters = counters
        self.forget()

    def forget(self) -> None:
        """There is nothing in the way any more."""
        self._obstacles: tuple[Obstacle, ...] = ()
        self._stamp_s = -math.inf
        self._published = False
        self.doubt = ""
        """Why the car may be driven into something, as of the last ``present``, or empty."""

    def silent(self, now_s: float) -> bool:
        """Whether obstacles were published before, but none that can be used within the timeout."""
        return self._published and now_s - self._stamp_s > self._timeout_s

    def observe(self, obstacles: Sequence[Obstacle], stamp_s: float, now_s: float) -> None:
        """Take in all obstacles that were seen at ``stamp_s`` [s], in the frame of states."""
        if stamp_s > now_s + self._future_tolerance_s:
            self.refuse("in the future")
        elif stamp_s < self._stamp_s:
            self.refuse("backward")
        elif now_s - stamp_s > self._timeout_s:
            self.refuse("stale")
        else:
            self._obstacles, self._stamp_s, self._published = tuple(obstacles), stamp_s, True

    def refuse(self, why: str) -> None:
        """Something was published that cannot be used; the newest before it counts until it is too old."""
        self._counters[f"obstacles {why}"] += 1
        self._published = True

    def present(self, now_s: float, position: np.ndarray) -> tuple[Obstacle, ...]:
        """At most as many as the task takes, seen lately, in the order given: those whose outlines are the nearest to
        ``position`` [2] [m], however far away the middle of a wall may be."""
        self.doubt = ""
        if self.silent(now_s):
            self.doubt = "obstacles are not heard of in time, and none is kept away from"
            if self._obstacles:
                self._counters["obstacles stale"] += 1
                self._obstacles = ()
        count = len(self._obstacles)
        if count <= self._capacity:
            return self._obstacles
        left_out = count - self._capacity
        self.doubt = f"{left_out} of {count} obstacles are left out, field 'task.obstacles' allows no more"
        self._counters["cycles with obstacles left out"] += 1
        return nearest(self._obstacles, self._capacity, float(position[0]), float(position[1]))
