"""Messages to numbers and back. Arrays travel as array.array: rclpy copies lists element by element."""

from __future__ import annotations

import array
import math

import numpy as np
from ackermann_msgs.msg import AckermannDriveStamped
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, PoseStamped, Quaternion
from nav_msgs.msg import Odometry, Path
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from mbrl_ros.core.angles import quaternion_from_yaw, yaw_from_quaternion
from mbrl_ros.core.command_gate import Command
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.layout import STATE, YAW, X, Y
from mbrl_ros.msg import ControlSequence as ControlSequenceMsg
from mbrl_ros.msg import PlannedTrajectory, VehicleState


def to_seconds(stamp: Time) -> float:
    """Seconds of a stamp; as float64 exact to a quarter of a microsecond in this century."""
    return stamp.sec + stamp.nanosec * 1e-9


def to_stamp(seconds: float) -> Time:
    """Stamp of ``seconds``."""
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def doubles(values: np.ndarray) -> array.array:
    """A float64 message array of ``values``, row-major."""
    return array.array("d", np.ascontiguousarray(values, dtype=np.float64).tobytes())


def yaw_of(quaternion: Quaternion) -> float | None:
    """Heading [rad], or None where the quaternion is not of unit length (to 1 %) or not finite."""
    x, y, z, w = quaternion.x, quaternion.y, quaternion.z, quaternion.w
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    return float(yaw_from_quaternion(x, y, z, w)) if abs(norm - 1.0) < 0.01 else None


def quaternion_of(yaw: float) -> Quaternion:
    """Unit quaternion of a heading [rad]."""
    x, y, z, w = quaternion_from_yaw(yaw)
    return Quaternion(x=x, y=y, z=z, w=w)


def command_of(message: AckermannDriveStamped) -> Command:
    """The command in an AckermannDriveStamped."""
    drive = message.drive
    return Command(drive.steering_angle, drive.steering_angle_velocity, drive.speed, drive.acceleration, drive.jerk)


def drive_message(command: Command, stamp_s: float) -> AckermannDriveStamped:
    """An AckermannDriveStamped with every field set, since zero would mean "as fast as possible"."""
    message = AckermannDriveStamped()
    message.header.stamp = to_stamp(stamp_s)
    message.header.frame_id = "base_link"
    message.drive.steering_angle = command.steering_angle_rad
    message.drive.steering_angle_velocity = command.steering_rate_radps
    message.drive.speed = command.speed_mps
    message.drive.acceleration = command.acceleration_mps2
    message.drive.jerk = command.jerk_mps3
    return message


def odometry_message(
    stamp_s: float,
    state: np.ndarray,
    frame_id: str,
    child_frame_id: str,
    pose_covariance: np.ndarray | None = None,
    twist_covariance: np.ndarray | None = None,
) -> Odometry:
    """Odometry of a state (core.layout.STATE); covariances [6, 6], None for unknown (all zero)."""
    message = Odometry()
    message.header.stamp = to_stamp(stamp_s)
    message.header.frame_id = frame_id
    message.child_frame_id = child_frame_id
    values = dict(zip(STATE.names, state.tolist(), strict=True))
    message.pose.pose.position.x = values["x"]
    message.pose.pose.position.y = values["y"]
    message.pose.pose.orientation = quaternion_of(values["yaw"])
    message.twist.twist.linear.x = values["vx"]
    message.twist.twist.linear.y = values["vy"]
    message.twist.twist.angular.z = values["yaw_rate"]
    if pose_covariance is not None:
        message.pose.covariance = pose_covariance.reshape(-1)
    if twist_covariance is not None:
        message.twist.covariance = twist_covariance.reshape(-1)
    return message


def vehicle_state_message(
    stamp_s: float,
    mean: np.ndarray,
    covariance: np.ndarray,
    frame_id: str,
    child_frame_id: str,
    reference_point: str,
) -> VehicleState:
    """VehicleState of an estimate: mean [9] (STATE and gyro bias) with covariance [9, 9]."""
    message = VehicleState()
    message.header.stamp = to_stamp(stamp_s)
    message.header.frame_id = frame_id
    message.child_frame_id = child_frame_id
    message.reference_point = reference_point
    for name, value in zip((*STATE.names, "gyro_bias"), mean.tolist(), strict=True):
        setattr(message, name, value)
    message.covariance = covariance.reshape(-1)
    return message


def state_of(message: VehicleState) -> np.ndarray:
    """[8] state (core.layout.STATE) of a VehicleState."""
    return np.array([getattr(message, name) for name in STATE.names])


def control_message(plan: ControlSequence) -> ControlSequenceMsg:
    """ControlSequence message of a plan."""
    message = ControlSequenceMsg()
    message.header.stamp = to_stamp(plan.stamp_s)
    message.dt = plan.dt
    message.action_names = list(plan.layout.names)
    message.action_units = list(plan.layout.units)
    message.actions = doubles(plan.actions)
    message.model_id = plan.model_id
    return message


def trajectory_message(plan: ControlSequence, frame_id: str) -> PlannedTrajectory:
    """PlannedTrajectory of a plan that predicts states."""
    message = PlannedTrajectory()
    message.header.stamp = to_stamp(plan.stamp_s)
    message.header.frame_id = frame_id
    message.dt = plan.dt
    message.state_names = list(STATE.names)
    message.state_units = list(STATE.units)
    if plan.states is not None:
        message.states = doubles(plan.states)
    message.controls = control_message(plan)
    message.model_id = plan.model_id
    return message


def path_message(plan: ControlSequence, frame_id: str) -> Path:
    """Path along a plan's predicted states."""
    path = Path()
    path.header.stamp = to_stamp(plan.stamp_s)
    path.header.frame_id = frame_id
    for k, state in enumerate(plan.states if plan.states is not None else ()):
        pose = PoseStamped()
        pose.header.stamp = to_stamp(plan.stamp_s + k * plan.dt)
        pose.header.frame_id = frame_id
        pose.pose.position.x, pose.pose.position.y = float(state[X]), float(state[Y])
        pose.pose.orientation = quaternion_of(float(state[YAW]))
        path.poses.append(pose)
    return path


def candidates_message(positions: np.ndarray, costs: np.ndarray, stamp_s: float, frame_id: str) -> MarkerArray:
    """Line strips of candidate trajectories [K, N, 2], green for the cheapest, red for the dearest of ``costs`` [K]."""
    low, high = float(np.nanmin(costs)), float(np.nanmax(costs))
    shares = (costs - low) / max(high - low, 1e-9)
    markers = MarkerArray()
    for k, (line, share) in enumerate(zip(positions.tolist(), shares.tolist(), strict=True)):
        marker = Marker(ns="candidates", id=k, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.header.stamp = to_stamp(stamp_s)
        marker.header.frame_id = frame_id
        marker.pose.orientation.w = 1.0
        marker.scale.x = 0.02
        marker.color = ColorRGBA(r=share, g=1.0 - share, b=0.1, a=0.6)
        marker.points = [Point(x=x, y=y, z=0.0) for x, y in line]
        markers.markers.append(marker)
    return markers


def closed_line_message(points: np.ndarray, stamp_s: float, frame_id: str, name: str, index: int) -> Marker:
    """A closed line strip through ``points`` [N, 2], for track borders."""
    marker = Marker(ns=name, id=index, type=Marker.LINE_STRIP, action=Marker.ADD)
    marker.header.stamp = to_stamp(stamp_s)
    marker.header.frame_id = frame_id
    marker.pose.orientation.w = 1.0
    marker.scale.x = 0.03
    marker.color = ColorRGBA(r=0.8, g=0.8, b=0.8, a=1.0)
    marker.points = [Point(x=x, y=y, z=0.0) for x, y in [*points.tolist(), points[0].tolist()]]
    return marker
