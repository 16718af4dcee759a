"""simulator: stands in for the car. A published vehicle model, actuators, noisy sensors and /clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ackermann_msgs.msg import AckermannDriveStamped
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from pydantic import Field
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import Imu

from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.msg import PlannerStatus, VehicleState
from mbrl_ros.nodes.shared import diagnostics, parameters, quality
from mbrl_ros.nodes.shared.messages import odometry_message, quaternion_of, to_seconds, to_stamp, yaw_of
from mbrl_ros.nodes.shared.run import run
from mbrl_ros.simulation.pace import Pace
from mbrl_ros.simulation.sensors import Reading
from mbrl_ros.simulation.simulator import Simulator


class SimulatorSettings(Settings):
    """Parameters of the simulator node."""

    vehicle: str = Field(description="path of the vehicle's YAML")
    track: str = Field(description="path of the track's CSV; the car starts on it, where it begins")
    plant: str = Field("", description="plant model: single_track_drift or multi_body; empty: as the vehicle says")
    seed: int = Field(0, ge=0, description="seed of the sensors' noise")
    real_time_factor: float = Field(1.0, gt=0.0, description="simulated seconds per second")
    publish_clock: bool = Field(
        False, description="whether simulated time begins at zero on /clock; if not, it is the system's, at real time"
    )
    wait_for_plans_s: float = Field(
        0.0,
        ge=0.0,
        le=10.0,
        description="simulated time waits while the newest state, plan or command is older than this [s]; 0: never",
    )
    tick_rate_hz: float = Field(100.0, ge=50.0, le=1000.0, description="rate of steps and /clock, in simulated time")
    truth_rate_hz: float = Field(50.0, ge=1.0, le=1000.0, description="rate of /ground_truth in simulated time")
    friction_scale: float = Field(1.0, ge=0.05, le=3.0, description="factor on the tyres' friction, also while driving")
    odom_frame: str = Field("odom", description="frame of poses")
    base_frame: str = Field("base_link", description="the car's own frame")


class SimulatorNode:
    """Subscribes ``/drive`` and ``/initialpose``, and ``/vehicle_state`` and ``/planner/status`` where plans are waited
    for; publishes ``/clock``, ``/ground_truth``, ``/imu/data``, ``/wheel_odom``, ``/drive_feedback`` and ``/pose_fix``.
    """

    def __init__(self) -> None:
        self.node = Node("simulator")
        self.settings = parameters.declare(self.node, SimulatorSettings, dynamic={"friction_scale"})
        parameters.on_change(self.node, SimulatorSettings, self._apply)
        for name, real in {"real_time_factor": 1.0, "wait_for_plans_s": 0.0}.items():
            if getattr(self.settings, name) != real and not self.settings.publish_clock:
                raise ConfigError(f"{name} other than {real:g} needs publish_clock, and use_sim_time in other nodes")
        # Both clocks are read at one instant: what passes while the plant is built must not make it lag for ever.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        wall_s = self._wall_s()
        self._start_s = 0.0 if self.settings.publish_clock else self.node.get_clock().now().nanoseconds * 1e-9
        self.simulator = Simulator(self._vehicle(), seed=self.settings.seed, start_s=self._start_s)
        self.simulator.set_friction_scale(self.settings.friction_scale)
        start = Track.from_csv(self.settings.track).at(0.0)
        self.simulator.set_pose(float(start.position[0]), float(start.position[1]), float(start.heading))
        self._clock = self.node.create_publisher(ClockMessage, "/clock", quality.STATE)
        self._truth = self.node.create_publisher(Odometry, "/ground_truth", quality.STATE)
        self._imu = self.node.create_publisher(Imu, "/imu/data", quality.SENSOR)
        self._wheels = self.node.create_publisher(Odometry, "/wheel_odom", quality.SENSOR)
        self._feedback = self.node.create_publisher(AckermannDriveStamped, "/drive_feedback", quality.SENSOR)
        self._pose = self.node.create_publisher(PoseWithCovarianceStamped, "/pose_fix", quality.SENSOR)
        self._publish = {
            "imu": self._publish_imu,
            "wheel_speed": self._publish_wheel_speed,
            "steering": self._publish_steering,
            "pose": self._publish_pose,
        }
        self.node.create_subscription(AckermannDriveStamped, "/drive", self._on_drive, quality.STATE)
        if self.settings.wait_for_plans_s:
            # States, too, for before there are plans: an estimator that falls behind never gives the first of them.
            for kind, topic in ((VehicleState, "/vehicle_state"), (PlannerStatus, "/planner/status")):
                self.node.create_subscription(kind, topic, self._answered(topic), quality.STATE)
        self.node.create_subscription(PoseWithCovarianceStamped, "/initialpose", self._on_initial_pose, quality.STATE)
        self._diagnostics = diagnostics.Diagnostics(self.node, "plant", self._report)
        self._tick_s = 1.0 / self.settings.tick_rate_hz
        self._pace = Pace(
            self._tick_s,
            self.settings.real_time_factor,
            wall_s,
            slips=self.settings.publish_clock,
            longest_ahead_s=self.settings.wait_for_plans_s,
        )
        self._truth_every = max(round(self.settings.tick_rate_hz / self.settings.truth_rate_hz), 1)
        self._ticks = 0
        self._report_from = (wall_s, self.simulator.now_s)
        self.node.create_timer(self._tick_s / self.settings.real_time_factor, self._on_timer, clock=self._steady)

    def close(self) -> None:
        """Nothing to send: a simulator that is gone is a car that is gone."""

    def _vehicle(self) -> Vehicle:
        return read_settings(self.settings.vehicle, Vehicle).with_plant(self.settings.plant, "parameter 'plant'")

    def _apply(self, settings: SimulatorSettings) -> None:
        self.simulator.set_friction_scale(settings.friction_scale)

    def _wall_s(self) -> float:
        return self._steady.now().nanoseconds * 1e-9

    def _on_timer(self) -> None:
        self._pace.advance(self._wall_s())
        while self._pace.due(self._now_s()):
            self._tick()

    def _now_s(self) -> float:
        """Time on ``/clock``."""
        return self._start_s + self._ticks * self._tick_s

    def _tick(self) -> None:
        self._ticks += 1
        now_s = self._now_s()
        readings = self.simulator.advance(now_s)
        if self.settings.publish_clock:
            self._clock.publish(ClockMessage(clock=to_stamp(now_s)))
        for reading in readings:
            self._publish[reading.sensor](reading)
        if self._ticks % self._truth_every == 0:
            truth = self.simulator.truth()
            self._truth.publish(
                odometry_message(self.simulator.now_s, truth, self.settings.odom_frame, self.settings.base_frame)
            )

    def _publish_imu(self, reading: Reading) -> None:
        message = Imu()
        message.header.stamp = to_stamp(reading.stamp_s)
        message.header.frame_id = self.settings.base_frame
        message.angular_velocity.z, *force = reading.values.tolist()
        message.linear_acceleration.x, message.linear_acceleration.y, message.linear_acceleration.z = force
        message.angular_velocity_covariance[8] = reading.variances[0]
        for axis in range(3):
            message.linear_acceleration_covariance[4 * axis] = reading.variances[1 + axis]
        message.orientation_covariance[0] = -1.0
        self._imu.publish(message)

    def _publish_wheel_speed(self, reading: Reading) -> None:
        message = Odometry()
        message.header.stamp = to_stamp(reading.stamp_s)
        message.header.frame_id = self.settings.odom_frame
        message.child_frame_id = self.settings.base_frame
        message.twist.twist.linear.x = float(reading.values[0])
        message.twist.covariance[0] = reading.variances[0]
        message.pose.covariance[0] = -1.0
        self._wheels.publish(message)

    def _publish_steering(self, reading: Reading) -> None:
        message = AckermannDriveStamped()
        message.header.stamp = to_stamp(reading.stamp_s)
        message.header.frame_id = self.settings.base_frame
        message.drive.steering_angle = float(reading.values[0])
        self._feedback.publish(message)

    def _publish_pose(self, reading: Reading) -> None:
        message = PoseWithCovarianceStamped()
        message.header.stamp = to_stamp(reading.stamp_s)
        message.header.frame_id = self.settings.odom_frame
        x, y, yaw = reading.values.tolist()
        message.pose.pose.position.x, message.pose.pose.position.y = x, y
        message.pose.pose.orientation = quaternion_of(yaw)
        for entry, variance in zip((0, 7, 35), reading.variances.tolist(), strict=True):
            message.pose.covariance[entry] = variance
        self._pose.publish(message)

    def _on_drive(self, message: AckermannDriveStamped) -> None:
        drive, stamp_s = message.drive, to_seconds(message.header.stamp)
        self._pace.answered("/drive", stamp_s)
        refusal = self.simulator.command(
            stamp_s,
            drive.steering_angle,
            speed=drive.speed,
            acceleration=drive.acceleration,
        )
        if refusal:
            self.node.get_logger().warning(f"command refused: {refusal}", throttle_duration_sec=1.0)

    def _answered(self, topic: str) -> Callable[[Any], None]:
        return lambda message: self._pace.answered(topic, to_seconds(message.header.stamp))

    def _on_initial_pose(self, message: PoseWithCovarianceStamped) -> None:
        pose = message.pose.pose
        yaw = yaw_of(pose.orientation)
        if yaw is None or not np.isfinite([pose.position.x, pose.position.y]).all():
            self.node.get_logger().error("/initialpose refused: not finite, or no unit quaternion")
            return
        self.simulator.set_pose(pose.position.x, pose.position.y, yaw)

    def _report(self) -> diagnostics.Report:
        wall_s, simulated_s = self._report_from
        self._report_from = (self._wall_s(), self.simulator.now_s)
        elapsed_s = self._report_from[0] - wall_s
        factor = (self._report_from[1] - simulated_s) / elapsed_s if elapsed_s > 0 else math.nan
        slow = factor < 0.95 * self.settings.real_time_factor
        values = {
            "real-time factor": f"{factor:.3f}",
            "time slipped [s]": f"{self._pace.slipped_s:.2f}",
            "braking for want of commands": self.simulator.watchdog_active,
            **self.simulator.counters,
        }
        message = f"real-time factor {factor:.2f} of {self.settings.real_time_factor:g}"
        return (diagnostics.WARN if slow else diagnostics.OK), message, values


def main() -> None:
    """Run the node."""
    run("simulator", SimulatorNode)


if __name__ == "__main__":
    main()
