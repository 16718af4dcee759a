"""Ctrl-C as a wish: a training that runs ends with the best it has."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType


class StopOnSignal:
    """Answers whether SIGINT or SIGTERM asked to stop; a context manager, in the main thread.

    Before it is first asked, and when the signal comes again, the signal interrupts at once.
    """

    def __init__(self) -> None:
        self._heard = self._asked = False

    def __enter__(self) -> StopOnSignal:
        self._before = [(number, signal.signal(number, self._request)) for number in (signal.SIGINT, signal.SIGTERM)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)

    def __call__(self) -> bool:
        """Whether to stop."""
        self._asked = True
        return self._heard

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self._heard or not self._asked:
            raise KeyboardInterrupt
        self._heard = True
