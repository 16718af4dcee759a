"""/diagnostics once a second (REP-107): for people and dashboards, never as a keep-alive or a stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)

Report = tuple[bytes, str, Mapping[str, object]]
"""Level, one sentence, and figures by name."""


class Diagnostics:
    """Publishes what ``report`` answers, once a second and whenever the level changes.

    Args:
        node: publishes and names the status ``<node>: <part>``.
        part: the part of the node that is reported on.
        report: called for level, sentence and figures.
    """

    def __init__(self, node: Node, part: str, report: Callable[[], Report]) -> None:
        self._node = node
        self._name = f"{node.get_name()}: {part}"
        self._report = report
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(1.0, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._level: bytes | None = None

    def publish_on_change(self) -> None:
        """Publish now if the level is another one than last time."""
        if self._report()[0] != self._level:
            self.publish()

    def publish(self) -> None:
        """Publish now."""
        level, message, values = self._report()
        self._level = level
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [
            DiagnosticStatus(
                level=level,
                name=self._name,
                message=message,
                hardware_id="",
                values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
            )
        ]
        self._publisher.publish(array)
