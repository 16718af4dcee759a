"""A thread that does one thing over and over, whenever it is told to."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from mbrl_ros.core.errors import MbrlError


class Worker:
    """Calls ``work`` in a thread of its own, once after each ``wake``; what is woken while it works, works once more.

    Args:
        name: of the thread, and of what stopped in errors.
        work: what to do; an exception ends the thread and is told by ``check``.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name, self._work = name, work
        self._wake = threading.Event()
        self._running = False
        self._failure = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, and forget how it failed before."""
        self._running, self._failure = True, ""
        self._wake.clear()
        self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Work now, or once more after what is being done."""
        self._wake.set()

    def stop(self) -> None:
        """End after what is being done; blocks until then."""
        self._running = False
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def check(self) -> None:
        """Raise MbrlError where the thread was ended by an exception."""
        if self._failure:
            raise MbrlError(f"the {self._name} stopped: {self._failure}")

    def _loop(self) -> None:
        try:
            while True:
                self._wake.wait()
                self._wake.clear()
                if not self._running:
                    return
                self._work()
        except Exception:
            self._failure = traceback.format_exc()
