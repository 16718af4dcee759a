"""Listening to a replay: what the model server says of its predictions."""

from __future__ import annotations

import threading

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from mbrl_ros.msg import PredictionError
from mbrl_ros.nodes.shared import quality
from mbrl_ros.nodes.shared.executor import new_executor, spin_a_while


class ReplayMonitor:
    """Spins a node of its own in a thread; a context manager.

    ``errors`` are all that were heard, in their order; ``said`` is the newest diagnostic of each node.
    """

    def __init__(self) -> None:
        self.errors: list[PredictionError] = []
        self.said: dict[str, str] = {}
        self._failure: BaseException | None = None
        self._stopping = False

    def __enter__(self) -> ReplayMonitor:
        rclpy.init(args=[])
        self.node = Node("replay_monitor")
        self.node.create_subscription(
            PredictionError, "/dynamics_server/prediction_error", self.errors.append, quality.STATE
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, quality.STATE)
        self._executor = new_executor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="replay_monitor", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def check(self) -> None:
        """Raise what stopped the monitor's thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _spin(self) -> None:
        try:
            while not self._stopping:
                spin_a_while(self._executor)
        except BaseException as error:
            self._failure = error

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.said |= {status.name: status.message for status in message.status}
