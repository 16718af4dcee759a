"""The executor that spins nodes: the event-driven one where rclpy has it, the classic one elsewhere."""

from __future__ import annotations

from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.task import Future

try:
    from rclpy.experimental.events_executor import EventsExecutor
except ImportError:  # before Jazzy
    EventsExecutor = SingleThreadedExecutor

_TURN_S = 0.1


def new_executor() -> Executor:
    """An executor of one thread.

    The classic one builds its set of things to wait for anew before each callback, which for nodes with a dozen of
    them and hundreds of messages a second takes half of their time.
    """
    return EventsExecutor()


def spin_a_while(executor: Executor) -> None:
    """Run callbacks for a tenth of a second; call it in a loop.

    Between two turns Python gets to run signal handlers, which it never does inside of an endless wait. (Waiting
    without an end also keeps a core busy where rclpy was built against an old C++ library, as the wheels are.)
    """
    executor.spin_until_future_complete(Future(), timeout_sec=_TURN_S)
