"""Judging the model in force beside what must not wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mbrl_ros.evaluation.driven import Driven


class Judging:
    """One judgement at a time, in a thread of its own; of one that does not end is known that nobody judges.

    Args:
        judge: called with a copy of the driving; what fails in it is its own affair.
        longest_s: longest that a judgement may take [s].
    """

    def __init__(self, judge: Callable[[Driven], None], longest_s: float) -> None:
        self._judge, self._longest_s = judge, longest_s
        self._thread: threading.Thread | None = None
        self._begun_s = 0.0

    @property
    def under_way(self) -> bool:
        """Whether a judgement has not ended yet."""
        return self._thread is not None and self._thread.is_alive()

    def begin(self, driven: Driven, now_s: float) -> None:
        """Judge by ``driven``; the last judgement must have ended.

        Args:
            driven: a copy of the last driving.
            now_s: a clock that nothing sets [s].
        """
        self._begun_s = now_s
        self._thread = threading.Thread(target=self._judge, args=(driven,), name="judging", daemon=True)
        self._thread.start()

    def overdue(self, now_s: float) -> str:
        """Why nobody judges any more, in a sentence, or an empty string."""
        took_s = now_s - self._begun_s
        if not self.under_way or took_s <= self._longest_s:
            return ""
        return f"judging takes longer than {self._longest_s:g} s, nobody vouches for the model meanwhile"

    def close(self) -> None:
        """Wait for the judgement under way, but not for ever."""
        if self._thread is not None:
            self._thread.join(self._longest_s)
