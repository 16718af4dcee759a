"""Services whose answers take time, beside a node that must not be held up."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

_TURN_S = 0.1


class ServiceThread:
    """Answers services in a thread of its own, one request after the other.

    They appear under the names that ``node`` would give them, but belong to a node of their own, because an executor
    of one thread cannot go on while one of its services works. Answers have ``success`` and ``message``: an exception
    in a callback ends in them and in the log.

    Args:
        node: whose services these are.
    """

    def __init__(self, node: Node) -> None:
        self._owner = node
        self._node = rclpy.create_node(
            f"{node.get_name()}_services",
            namespace=node.get_namespace(),
            use_global_arguments=False,
            start_parameter_services=False,
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._stopping = False
        self._thread = threading.Thread(target=self._spin, name="services", daemon=True)

    def offer(self, kind: Any, name: str, answer: Callable[[Any, Any], Any]) -> None:
        """Offer a service of ``kind``; ``name`` is resolved as ``node`` would do it."""

        def guarded(request: Any, response: Any) -> Any:
            try:
                return answer(request, response)
            except Exception:
                response.success, response.message = False, traceback.format_exc()
                self._owner.get_logger().error(f"{name} failed:\n{response.message}")
                return response

        self._node.create_service(kind, self._owner.resolve_service_name(name), guarded)

    def start(self) -> None:
        """Begin to answer; call it after the last `offer`."""
        self._thread.start()

    def close(self) -> None:
        """Finish the answer under way and stop."""
        self._stopping = True
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        while not self._stopping:
            self._executor.spin_once(timeout_sec=_TURN_S)
