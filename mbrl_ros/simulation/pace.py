"""How fast simulated time passes: by wall time, at a factor, and no faster than who drives can follow."""

from __future__ import annotations

LARGEST_BACKLOG_S = 0.1
"""How far simulated time may fall behind before it is allowed to slip instead of catching up."""

PATIENCE_S = 2.0
"""Longest wait for one who has fallen silent [s, wall time]: what is wrong with a driver is to be seen."""


class Pace:
    """When the next tick of simulated time is due.

    On a machine that is busy with other things plans take longer, in real time also for the car: it drives worse, by
    luck. Simulated time can wait instead. It then stands still while the newest answer of any driver that was heard of
    (see ``answered``) is older than ``longest_ahead_s``, and goes on where it stood: what is waited is not caught up
    with. Before the first answer, and after a wait of `PATIENCE_S`, it waits for nobody.

    Args:
        tick_s: simulated time between ticks [s].
        factor: simulated seconds per second.
        wall_s: a steady clock, now [s].
        slips: whether to give up what is more than `LARGEST_BACKLOG_S` behind; if not, all is caught up with.
        longest_ahead_s: longest that simulated time may be ahead of an answer's stamp [s]; 0: it never waits.
    """

    def __init__(
        self, tick_s: float, factor: float, wall_s: float, *, slips: bool, longest_ahead_s: float = 0.0
    ) -> None:
        self._tick_s, self._factor, self._slips, self._longest_ahead_s = tick_s, factor, slips, longest_ahead_s
        self._wall_s = wall_s
        self._behind_s = 0.0
        self._answers: dict[str, float] = {}
        self._waits_since_s: float | None = None
        self.slipped_s = 0.0
        """Simulated time that was given up, be it by waiting or by falling behind."""

    def answered(self, who: str, stamp_s: float) -> None:
        """A driver has answered what was known at ``stamp_s``, in simulated time [s]."""
        self._answers[who] = stamp_s

    def advance(self, wall_s: float) -> None:
        """The steady clock now says ``wall_s``."""
        self._behind_s += (wall_s - self._wall_s) * self._factor
        self._wall_s = wall_s
        if self._slips:
            self._slip_to(LARGEST_BACKLOG_S)

    def due(self, now_s: float) -> bool:
        """Whether to tick; then the tick counts as done.

        Args:
            now_s: simulated time [s].
        """
        # Half a tick early is in time: the timer's own jitter must not turn into pairs of ticks.
        if self._behind_s <= 0.5 * self._tick_s:
            return False
        if self._waits(now_s):
            self._slip_to(self._tick_s)
            return False
        self._behind_s -= self._tick_s
        return True

    def _waits(self, now_s: float) -> bool:
        ahead_s = max((now_s - stamp_s for stamp_s in self._answers.values()), default=0.0)
        if not self._longest_ahead_s or ahead_s <= self._longest_ahead_s:
            self._waits_since_s = None
            return False
        if self._waits_since_s is None:
            self._waits_since_s = self._wall_s
        if self._wall_s - self._waits_since_s > PATIENCE_S:
            self._answers.clear()
            self._waits_since_s = None
            return False
        return True

    def _slip_to(self, behind_s: float) -> None:
        self.slipped_s += max(self._behind_s - behind_s, 0.0)
        self._behind_s = min(self._behind_s, behind_s)
