"""What a planner in shadow mode tells: its agreement with what was really sent to the car."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.layout import DRIVE_COMMAND, STEERING_COMMAND
from mbrl_ros.evaluation.live_agreement import LiveAgreement
from mbrl_ros.msg import PlannerAgreement
from mbrl_ros.nodes.shared import quality
from mbrl_ros.nodes.shared.messages import to_stamp


class Shadow:
    """Publishes ``~/agreement`` for every command that is sent while there is a plan to compare it with.

    Args:
        node: publishes.
        window_s: how far back root mean squares reach [s].
    """

    def __init__(self, node: Node, window_s: float) -> None:
        self._live = LiveAgreement(window_s)
        self._publisher = node.create_publisher(PlannerAgreement, "~/agreement", quality.STATE)

    def compare(self, stamp_s: float, sent: np.ndarray, plan: ControlSequence, planner: str) -> None:
        """A command [2], steering and acceleration, was sent while the car would have followed ``plan``."""
        if not plan.stamp_s <= stamp_s < plan.end_s:
            return
        self._live.add(stamp_s, plan.at(stamp_s), sent)
        newest, over = self._live.newest, self._live.over_window()
        message = PlannerAgreement(
            planner=planner,
            model_id=plan.model_id,
            steering_difference=float(newest[STEERING_COMMAND]),
            acceleration_difference=float(newest[DRIVE_COMMAND]),
            window=self._live.window_s,
            commands=over.count,
            steering_rms=float(over.rms[STEERING_COMMAND]),
            acceleration_rms=float(over.rms[DRIVE_COMMAND]),
            steering_bias=float(over.bias[STEERING_COMMAND]),
            acceleration_bias=float(over.bias[DRIVE_COMMAND]),
        )
        message.header.stamp = to_stamp(stamp_s)
        self._publisher.publish(message)
