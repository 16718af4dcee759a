"""How well a periodic task keeps its rate."""

from __future__ import annotations


class RateMonitor:
    """Share of cycles that came within a tolerance of their slot.

    The slot of a cycle is one period after the one before it: a late cycle is one miss, not a shift that makes
    all that follow count as late. Slots that pass without a cycle are misses, too.

    Args:
        period_s: nominal period [s].
        tolerance_s: how far from its slot a cycle still counts as kept [s].
    """

    def __init__(self, period_s: float, tolerance_s: float) -> None:
        self.period_s = period_s
        self.tolerance_s = tolerance_s
        self.cycles = 0
        self.kept = 0
        self._last_s: float | None = None

    def cycle(self, now_s: float) -> None:
        """A cycle happened at ``now_s``."""
        if self._last_s is not None:
            elapsed_s = now_s - self._last_s
            self.cycles += max(round(elapsed_s / self.period_s), 1)
            self.kept += abs(elapsed_s - self.period_s) <= self.tolerance_s
        self._last_s = now_s

    def interrupt(self) -> None:
        """The task paused on purpose: the next cycle begins anew."""
        self._last_s = None

    @property
    def share(self) -> float:
        """Share of cycles kept; nan before the second."""
        return self.kept / self.cycles if self.cycles else float("nan")
