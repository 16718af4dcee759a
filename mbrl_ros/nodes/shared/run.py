"""Starting, spinning and stopping a node, so that no fault ends in silence."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

import rclpy
from rclpy.duration import Duration
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.nodes.shared.executor import new_executor, spin_a_while

LAST_WORDS_S = 0.5
"""Longest that a node which goes waits until its last messages were heard: what was not by then goes with it [s]."""


class Closable(Protocol):
    """A node adapter: its node, and what to do before it goes."""

    node: Node

    def close(self) -> None:
        """Send what must still be sent (stop commands) and join threads."""


class _StopRequested(BaseException):
    """SIGINT or SIGTERM arrived while the node was being made."""


class _Stop:
    """What SIGINT and SIGTERM do: end the making of a node at once, a spinning one after its callback."""

    def __init__(self) -> None:
        self.requested = self.spinning = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._request)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if not self.spinning:
            raise _StopRequested


def run(name: str, make: Callable[[], Closable], arguments: Sequence[str] | None = None) -> None:
    """Spin the node that ``make`` builds until a signal, and exit the process.

    The context outlives the signal, so that ``close`` can still publish: with rclpy's own handlers the
    publishers are gone before a car can be told to stop. Exit status: 0 after a signal, 2 for an error made on
    purpose (wrong parameter, missing file), 1 for any other exception; both errors are logged as FATAL. On SIGUSR1 it
    writes down where each of its threads is, for a node that hangs.
    """
    with contextlib.suppress(RuntimeError, OSError, ValueError):  # there is no standard error to write it to
        faulthandler.register(signal.SIGUSR1)
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    stop = _Stop()
    status = 0
    subject: Closable | None = None
    try:
        subject = make()
        executor = new_executor()
        executor.add_node(subject.node)
        # What was made so far stays: looking through it for garbage would hold a control cycle up for tens of ms.
        gc.collect()
        gc.freeze()
        stop.spinning = True
        while not stop.requested:
            spin_a_while(executor)
    except _StopRequested:
        pass
    except MbrlError as error:
        get_logger(name).fatal(str(error))
        status = 2
    except Exception:
        get_logger(name).fatal(f"stopped by an unexpected error:\n{traceback.format_exc()}")
        status = 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if subject is not None:
        try:
            subject.close()
            _let_be_heard(subject.node)
        except Exception:
            get_logger(name).fatal(f"error while closing:\n{traceback.format_exc()}")
            status = status or 1
    rclpy.try_shutdown()
    sys.exit(status)


def _let_be_heard(node: Node) -> None:
    """Wait until all that was published reliably, stop commands above all, has reached who listens."""
    deadline_s = time.monotonic() + LAST_WORDS_S
    for publisher in node.publishers:
        publisher.wait_for_all_acked(Duration(seconds=max(deadline_s - time.monotonic(), 0.0)))
