"""What planners hear of obstacles."""

from __future__ import annotations

import threading

from rclpy.node import Node

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.tasks.obstacles import Obstacle
from mbrl_ros.msg import Obstacles
from mbrl_ros.nodes.shared import quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.messages import to_seconds
from mbrl_ros.planning.control_loop import ControlLoop


class ObstacleListener:
    """Hands ``~/obstacles`` to a control loop; those in another frame or not finite are refused and counted.

    Args:
        node: the planner's.
        clock: its clock.
        frame_id: of states.
        loop: the planner's.
        lock: that the loop is used under.
    """

    def __init__(self, node: Node, clock: NodeClock, frame_id: str, loop: ControlLoop, lock: threading.Lock) -> None:
        self._node, self._clock, self._frame_id, self._loop, self._lock = node, clock, frame_id, loop, lock
        # A reliable subscription would be deaf to best-effort publishers, and a planner that hears of none drives on.
        node.create_subscription(Obstacles, "~/obstacles", self._on_obstacles, quality.SENSOR)

    def _on_obstacles(self, message: Obstacles) -> None:
        with self._lock:
            if message.header.frame_id != self._frame_id:
                self._loop.seen.refuse(f"in frame '{message.header.frame_id}'")
                return
            try:
                self._loop.seen.observe(_obstacles_of(message), to_seconds(message.header.stamp), self._clock.now_s())
            except ConfigError as error:
                self._loop.seen.refuse("refused")
                self._node.get_logger().error(str(error), throttle_duration_sec=1.0)


def _obstacles_of(message: Obstacles) -> list[Obstacle]:
    """The obstacles in a message.

    Raises:
        ConfigError: one is not finite, or of negative size.
    """
    return [Obstacle(o.x, o.y, o.radius, o.yaw, o.length, o.width) for o in message.obstacles]
