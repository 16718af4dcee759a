"""Starting, spinning and stopping a node, so that no fault ends in silence."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Protocol

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from mbrl_ros.core.errors import MbrlError


class Closable(Protocol):
    """A node adapter: its node, and what to do before it goes."""

    node: Node

    def close(self) -> None:
        """Send what must still be sent (stop commands) and join threads."""


class _StopRequested(BaseException):
    """SIGINT or SIGTERM arrived."""


def run(name: str, make: Callable[[], Closable], arguments: Sequence[str] | None = None) -> None:
    """Spin the node that ``make`` builds until a signal, and exit the process.

    The context outlives the signal, so that ``close`` can still publish: with rclpy's own handlers the
    publishers are gone before a car can be told to stop. Exit status: 0 after a signal, 2 for an error made on
    purpose (wrong parameter, missing file), 1 for any other exception; both errors are logged as FATAL.
    """
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _request_stop)
    status = 0
    subject: Closable | None = None
    try:
        subject = make()
        # Python runs a signal's handler only between two waits, and with simulated time standing still no other
        # timer would end a wait.
        subject.node.create_timer(0.1, lambda: None, clock=Clock(clock_type=ClockType.STEADY_TIME))
        executor = SingleThreadedExecutor()
        executor.add_node(subject.node)
        executor.spin()
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
        except Exception:
            get_logger(name).fatal(f"error while closing:\n{traceback.format_exc()}")
            status = status or 1
    rclpy.try_shutdown()
    sys.exit(status)


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise _StopRequested
