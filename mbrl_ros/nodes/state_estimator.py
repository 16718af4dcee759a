"""state_estimator: fuses wheel speed, IMU, steering feedback and pose fixes with a car model."""

from __future__ import annotations

import numpy as np
import torch
from ackermann_msgs.msg import AckermannDriveStamped
from geometry_msgs.msg import PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from pydantic import Field
from rclpy.node import Node
from sensor_msgs.msg import Imu
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import (
    Measurement,
    StateEstimator,
    imu_message_measurements,
    odometry_covariances,
    planar_covariance,
    steering_measurement,
    wheel_measurement,
)
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.msg import VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.clock import NodeClock
from mbrl_ros.nodes.shared.messages import odometry_message, to_seconds, to_stamp, vehicle_state_message, yaw_of
from mbrl_ros.nodes.shared.run import run


class StateEstimatorSettings(Settings):
    """Parameters of the state_estimator node."""

    vehicle: str = Field(description="path of the vehicle's YAML: nominal model and the filter's noise")
    model: str = Field(
        "", description="folder of a fitted parametric model to predict with; empty: the vehicle's nominal single track"
    )
    rate_hz: float = Field(100.0, ge=1.0, le=500.0, description="rate of estimates, predicted between measurements")
    publish_tf: bool = Field(False, description="publish odom -> base_link; never have two that do")
    odom_frame: str = Field("odom", description="frame of poses; pose fixes must be in it")
    base_frame: str = Field("base_link", description="the car's own frame")


class StateEstimatorNode:
    """Subscribes ``/wheel_odom``, ``/imu/data``, ``/drive_feedback``, ``/pose_fix``, ``/drive`` and ``~/set_pose``;
    publishes ``/state``, ``/vehicle_state`` and, where asked, ``/tf``; service ``~/reset``."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.node = Node("state_estimator")
        self.clock = NodeClock(self.node)
        self.settings = parameters.declare(self.node, StateEstimatorSettings)
        self.estimator = self._estimator(read_settings(self.settings.vehicle, Vehicle))
        self._refused: dict[str, int] = {}
        self._last_now_s = 0.0
        self._published_s = 0.0
        self._outage = False
        self._state = self.node.create_publisher(Odometry, "/state", quality.STATE)
        self._vehicle_state = self.node.create_publisher(VehicleState, "/vehicle_state", quality.STATE)
        self._tf = self.node.create_publisher(TFMessage, "/tf", 100) if self.settings.publish_tf else None
        self._diagnostics = diagnostics.Diagnostics(self.node, "filter", self._report)
        subscribe = self.node.create_subscription
        subscribe(Odometry, "/wheel_odom", self._on_wheels, quality.SENSOR)
        subscribe(Imu, "/imu/data", self._on_imu, quality.SENSOR)
        subscribe(AckermannDriveStamped, "/drive_feedback", self._on_feedback, quality.SENSOR)
        subscribe(PoseWithCovarianceStamped, "/pose_fix", self._on_pose, quality.SENSOR)
        subscribe(AckermannDriveStamped, "/drive", self._on_drive, quality.SENT)
        subscribe(PoseWithCovarianceStamped, "~/set_pose", self._on_set_pose, quality.STATE)
        self.node.create_service(Trigger, "~/reset", self._on_reset)
        self.node.create_timer(1.0 / self.settings.rate_hz, self._on_timer)

    def close(self) -> None:
        """Nothing to send."""

    def _estimator(self, vehicle: Vehicle) -> StateEstimator:
        if not self.settings.model:
            return StateEstimator.for_vehicle(vehicle)
        model = passport.load(self.settings.model).model
        if not isinstance(model, ParametricModel):
            raise ConfigError(f"model: {self.settings.model} is a {model.kind}; the filter predicts with physics")
        return StateEstimator(model, vehicle.estimator)

    def _refuse(self, reason: str) -> None:
        self._refused[reason] = self._refused.get(reason, 0) + 1
        self.node.get_logger().warning(f"dropped: {reason}", throttle_duration_sec=1.0)

    def _on_wheels(self, message: Odometry) -> None:
        if message.child_frame_id != self.settings.base_frame:
            self._refuse(f"wheel speed in frame '{message.child_frame_id}', not '{self.settings.base_frame}'")
            return
        self.estimator.add(wheel_measurement(message, to_seconds(message.header.stamp), self.clock.now_s()))

    def _on_imu(self, message: Imu) -> None:
        stamp_s = to_seconds(message.header.stamp)
        for measurement in imu_message_measurements(message, stamp_s, self.clock.now_s()):
            self.estimator.add(measurement)

    def _on_feedback(self, message: AckermannDriveStamped) -> None:
        self.estimator.add(steering_measurement(message, to_seconds(message.header.stamp), self.clock.now_s()))

    def _pose(self, message: PoseWithCovarianceStamped) -> tuple[np.ndarray, np.ndarray] | None:
        """[3] x, y, yaw and [3, 3] covariance, or None for a pose in another frame or without a heading."""
        if message.header.frame_id != self.settings.odom_frame:
            self._refuse(f"pose in frame '{message.header.frame_id}', not '{self.settings.odom_frame}'")
            return None
        yaw = yaw_of(message.pose.pose.orientation)
        if yaw is None:
            self._refuse("pose without a unit quaternion")
            return None
        position = message.pose.pose.position
        return np.array([position.x, position.y, yaw]), planar_covariance(np.asarray(message.pose.covariance))

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._pose(message)
        if pose is not None:
            self.estimator.add(Measurement("pose", to_seconds(message.header.stamp), self.clock.now_s(), *pose))

    def _on_set_pose(self, message: PoseWithCovarianceStamped) -> None:
        pose = self._pose(message)
        if pose is not None and np.isfinite(pose[0]).all():
            refusal = self.estimator.set_pose(to_seconds(message.header.stamp), *pose, arrival_s=self.clock.now_s())
            if refusal:
                self.node.get_logger().error(f"pose not set: {refusal}; stamp it with the time it is for")

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        drive = message.drive
        action = np.array([drive.steering_angle, drive.acceleration])
        self.estimator.add_command(to_seconds(message.header.stamp), action, self.clock.now_s())

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.estimator.reset()
        response.success, response.message = True, "waiting for a pose"
        return response

    def _on_timer(self) -> None:
        now_s = self.clock.now_s()
        if now_s < self._last_now_s - 1.0:
            self.node.get_logger().warning("time was set back: the filter starts anew")
            self.estimator.reset()
            self._published_s = 0.0
        self._last_now_s = now_s
        estimate = self.estimator.predict(now_s)
        self._outage = estimate is None and self.estimator.is_aligned
        self._diagnostics.publish_on_change()
        # A timer that was late can fire twice within one tick of /clock: one stamp has one estimate.
        if estimate is None or estimate.stamp_s <= self._published_s:
            return
        self._published_s = estimate.stamp_s
        settings = self.settings
        mean, frames = estimate.mean, (settings.odom_frame, settings.base_frame)
        covariances = odometry_covariances(estimate.covariance)
        stamp_s = estimate.stamp_s
        self._state.publish(odometry_message(stamp_s, mean[:8], *frames, *covariances))
        self._vehicle_state.publish(
            vehicle_state_message(stamp_s, mean, estimate.covariance, *frames, self.estimator.reference_point)
        )
        if self._tf is not None:
            self._tf.publish(self._transforms(stamp_s, mean))

    def _transforms(self, stamp_s: float, mean: np.ndarray) -> TFMessage:
        message = odometry_message(stamp_s, mean[:8], self.settings.odom_frame, self.settings.base_frame)
        transform = TransformStamped(header=message.header, child_frame_id=message.child_frame_id)
        transform.header.stamp = to_stamp(stamp_s)
        transform.transform.translation.x = message.pose.pose.position.x
        transform.transform.translation.y = message.pose.pose.position.y
        transform.transform.rotation = message.pose.pose.orientation
        return TFMessage(transforms=[transform])

    def _report(self) -> diagnostics.Report:
        values = {**self.estimator.counters, **self._refused}
        if not self.estimator.is_aligned:
            return diagnostics.WARN, "waiting for a pose", values
        if self._outage:
            return diagnostics.ERROR, "no sensor is heard", values
        return diagnostics.OK, "estimating", values


def main() -> None:
    """Run the node."""
    run("state_estimator", StateEstimatorNode)


if __name__ == "__main__":
    main()
