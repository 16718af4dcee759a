"""What time it is for a node."""

from __future__ import annotations

from rclpy.clock import Clock, ClockType
from rclpy.node import Node


class NodeClock:
    """The clock that stamps are of, and the one that silence is measured with.

    Args:
        node: whose time it is.
    """

    def __init__(self, node: Node) -> None:
        self._clock = node.get_clock()
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)

    def now_s(self) -> float:
        """Time of stamps [s]: the system's, or that of ``/clock``."""
        return self._clock.now().nanoseconds * 1e-9

    def steady_s(self) -> float:
        """Time that nothing sets [s]."""
        return self.steady.now().nanoseconds * 1e-9

    def receipt_s(self) -> float:
        """Time of receipts [s]: steady; simulated time may run at any pace, so there silence too is measured by it."""
        return self.now_s() if self._clock.ros_time_is_active else self.steady_s()
