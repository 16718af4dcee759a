"""Listening to a graph: a node of the command line's own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import rclpy
from rclpy.node import Node

from mbrl_ros.nodes.shared.executor import new_executor, spin_a_while


class Listener:
    """Spins a node in a thread; a context manager.

    Args:
        name: of the node.
        subscribe: makes the node's subscriptions, whose callbacks run in the thread.
    """

    def __init__(self, name: str, subscribe: Callable[[Node], None]) -> None:
        self._name, self._subscribe = name, subscribe
        self._failure: BaseException | None = None
        self._stopping = False

    def __enter__(self) -> Listener:
        rclpy.init(args=[])
        self.node = Node(self._name)
        self._subscribe(self.node)
        self._executor = new_executor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name=self._name, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        self.node.destroy_node()
        rclpy.try_shutdown()

    def check(self) -> None:
        """Raise what stopped the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _spin(self) -> None:
        try:
            while not self._stopping:
                spin_a_while(self._executor)
        except BaseException as error:
            self._failure = error
