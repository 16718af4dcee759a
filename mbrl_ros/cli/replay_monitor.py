"""Listening to a replay: what the model server says of its predictions."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from mbrl_ros.cli.listener import Listener
from mbrl_ros.msg import PredictionError
from mbrl_ros.nodes.shared import quality


class ReplayMonitor:
    """What a `Listener` hears of a replay; a context manager.

    ``errors`` are all that were heard, in their order; ``said`` is the newest diagnostic of each node.
    """

    def __init__(self) -> None:
        self.errors: list[PredictionError] = []
        self.said: dict[str, str] = {}
        self._listener = Listener("replay_monitor", self._subscribe)

    def __enter__(self) -> ReplayMonitor:
        self._listener.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.__exit__()

    def check(self) -> None:
        """Raise what stopped the monitor's thread, if anything did."""
        self._listener.check()

    def _subscribe(self, node: Node) -> None:
        node.create_subscription(
            PredictionError, "/dynamics_server/prediction_error", self.errors.append, quality.STATE
        )
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, quality.STATE)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.said |= {status.name: status.message for status in message.status}
