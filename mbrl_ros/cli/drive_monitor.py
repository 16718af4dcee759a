"""Watching a driving graph from outside: figures for the table, and every message for the recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ackermann_msgs.msg import AckermannDriveStamped
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Imu

from mbrl_ros.cli.listener import Listener
from mbrl_ros.core.lap import Lap
from mbrl_ros.core.layout import STATE
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.msg import ModelInfo, ModelTrust, PlannedTrajectory, PlannerAgreement, PlannerStatus, VehicleState
from mbrl_ros.nodes.shared import quality
from mbrl_ros.nodes.shared.messages import state_of, to_seconds, yaw_of

TOPICS: dict[str, tuple[Any, Any]] = {
    "/ground_truth": (Odometry, quality.STATE),
    "/vehicle_state": (VehicleState, quality.STATE),
    "/state": (Odometry, quality.STATE),
    "/drive": (AckermannDriveStamped, quality.SENT),
    "/imu/data": (Imu, quality.SENSOR),
    "/wheel_odom": (Odometry, quality.SENSOR),
    "/drive_feedback": (AckermannDriveStamped, quality.SENSOR),
    "/pose_fix": (PoseWithCovarianceStamped, quality.SENSOR),
    "/planner/status": (PlannerStatus, quality.STATE),
    "/planner/plan": (PlannedTrajectory, quality.STATE),
    "/shadow_planner/status": (PlannerStatus, quality.STATE),
    "/shadow_planner/plan": (PlannedTrajectory, quality.STATE),
    "/shadow_planner/agreement": (PlannerAgreement, quality.STATE),
    "/dynamics_server/model": (ModelInfo, quality.LATCHED),
    "/dynamics_server/trust": (ModelTrust, quality.LATCHED),
    "/diagnostics": (DiagnosticArray, quality.STATE),
}
"""What is recorded, and how it is subscribed to."""


@dataclass
class Latest:
    """The newest of what the table shows."""

    speed_mps: float = 0.0
    status: PlannerStatus | None = None
    agreement: PlannerAgreement | None = None
    """Of a planner in shadow mode."""
    diagnostics: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)
    """What diagnostics say that are not OK."""


class DriveMonitor:
    """What a `Listener` hears of a drive; a context manager.

    Messages arrive as bytes, so that the recording costs no conversion; only what the figures need is decoded.

    Args:
        log: collects truth, estimates and solve times.
        recording: where every message goes, or None.
        on_lap: called with each completed lap.
    """

    def __init__(self, log: DriveLog, recording: BagWriter | None, on_lap: Callable[[Lap], None]) -> None:
        self.log = log
        self.latest = Latest()
        self._recording = recording
        self._on_lap = on_lap
        self._listener = Listener("drive_monitor", self._subscribe)
        self._finished = False
        self._decoders: dict[str, Callable[[Any], None]] = {
            "/ground_truth": self._on_truth,
            "/vehicle_state": self._on_estimate,
            "/planner/status": self._on_status,
            "/shadow_planner/agreement": self._on_agreement,
            "/diagnostics": self._on_diagnostics,
        }

    def __enter__(self) -> DriveMonitor:
        self._listener.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.__exit__()

    def check(self) -> None:
        """Raise what stopped the monitor's thread, if anything did."""
        self._listener.check()

    def finish(self) -> None:
        """The drive is over: how nodes stop, one after the other, is no part of its figures or its recording."""
        self._finished = True

    def _subscribe(self, node: Node) -> None:
        for topic, (kind, profile) in TOPICS.items():
            if self._recording is not None or topic in self._decoders:
                node.create_subscription(kind, topic, self._receiver(topic, kind), profile, raw=True)

    def _receiver(self, topic: str, kind: Any) -> Callable[[bytes], None]:
        decode = self._decoders.get(topic)
        msgtype = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"

        def receive(data: bytes) -> None:
            if self._finished:
                return
            if self._recording is not None:
                self._recording.write(topic, msgtype, data, self._listener.node.get_clock().now().nanoseconds)
            if decode is not None:
                decode(deserialize_message(data, kind))

        return receive

    def _on_truth(self, message: Odometry) -> None:
        twist, pose = message.twist.twist, message.pose.pose
        values = {
            "x": pose.position.x,
            "y": pose.position.y,
            "yaw": yaw_of(pose.orientation) or 0.0,
            "vx": twist.linear.x,
            "vy": twist.linear.y,
            "yaw_rate": twist.angular.z,
        }
        state = np.array([values.get(name, 0.0) for name in STATE.names])
        self.latest.speed_mps = twist.linear.x
        lap = self.log.add_truth(to_seconds(message.header.stamp), state)
        if lap is not None:
            self._on_lap(lap)

    def _on_estimate(self, message: VehicleState) -> None:
        self.log.add_estimate(to_seconds(message.header.stamp), state_of(message))

    def _on_status(self, message: PlannerStatus) -> None:
        self.latest.status = message
        self.log.solve_times_s.append(message.solve_time)

    def _on_agreement(self, message: PlannerAgreement) -> None:
        self.latest.agreement = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            self.latest.diagnostics[status.name] = (status.message, values)
            self.latest.doubts.pop(status.name, None)
            if status.level != DiagnosticStatus.OK:
                self.latest.doubts[status.name] = status.message
            if status.name == "command_gate: commands" and int(values.get("cycles", 0)):
                self.log.control_rate_kept = int(values["cycles in their slot"]) / int(values["cycles"])
