"""What ROS messages say of a car: covariances of nav_msgs/Odometry out, measurements of sensors in.

Messages are anything with the fields of theirs, from ROS or read from a recording.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.estimation.measurement import Measurement

PLANAR_VARIANCE = 1e-6
"""Variance given to z, roll, pitch and their rates: flat ground is assumed, not estimated."""

_PLANAR = np.array([0, 1, 5])  # x, y and rotation about z among a message's six


def odometry_covariances(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[6, 6] pose and [6, 6] twist covariance for nav_msgs/Odometry, from an estimate's [9, 9].

    Order (x, y, z, rotation about x, y, z); the pose in the world frame, the twist in the body frame, both of the
    point that the estimate describes.
    """
    return _expanded(covariance, [X, Y, YAW]), _expanded(covariance, [VX, VY, YAW_RATE])


def _expanded(covariance: np.ndarray, entries: list[int]) -> np.ndarray:
    expanded = PLANAR_VARIANCE * np.eye(6)
    expanded[np.ix_(_PLANAR, _PLANAR)] = covariance[np.ix_(entries, entries)]
    return expanded


def planar_covariance(covariance: np.ndarray) -> np.ndarray:
    """[3, 3] of (x, y, yaw) from the [36] or [6, 6] covariance of a geometry_msgs pose.

    Raises:
        LayoutError: it does not hold 36 numbers.
    """
    if np.size(covariance) != 36:
        raise LayoutError(f"a pose covariance of {np.size(covariance)} numbers, expected 36")
    return np.reshape(covariance, (6, 6))[np.ix_(_PLANAR, _PLANAR)].astype(float)


def imu_measurements(
    stamp_s: float,
    arrival_s: float,
    angular_velocity: np.ndarray,
    linear_acceleration: np.ndarray,
    angular_velocity_covariance: np.ndarray,
    linear_acceleration_covariance: np.ndarray,
) -> list[Measurement]:
    """What a sensor_msgs/Imu in the body frame measures: gyroscope and accelerometer, as far as it has them.

    A covariance whose first element is -1 says that the quantity is absent, one that is all zero that it is unknown
    (REP-145). Gravity is on z (+9.81 m/s^2 at rest) and is not used.

    Args:
        stamp_s: [s].
        arrival_s: [s].
        angular_velocity: [3] rad/s.
        linear_acceleration: [3] specific force [m/s^2].
        angular_velocity_covariance: [9] or [3, 3].
        linear_acceleration_covariance: [9] or [3, 3].
    """
    measurements = []
    turning, pushing = (
        np.reshape(angular_velocity_covariance, (3, 3)),
        np.reshape(linear_acceleration_covariance, (3, 3)),
    )
    if turning[0, 0] != -1.0:
        measurements.append(Measurement("gyro", stamp_s, arrival_s, angular_velocity[2:3], turning[2:, 2:]))
    if pushing[0, 0] != -1.0:
        measurements.append(Measurement("accelerometer", stamp_s, arrival_s, linear_acceleration[:2], pushing[:2, :2]))
    return measurements


def wheel_measurement(message: Any, stamp_s: float, arrival_s: float) -> Measurement:
    """The speed in a nav_msgs/Odometry whose twist is in the body frame."""
    variance = np.asarray(message.twist.covariance)[:1].reshape(1, 1)
    return Measurement("wheel_speed", stamp_s, arrival_s, np.array([message.twist.twist.linear.x]), variance)


def imu_message_measurements(message: Any, stamp_s: float, arrival_s: float) -> list[Measurement]:
    """`imu_measurements` of a sensor_msgs/Imu."""
    turning, force = message.angular_velocity, message.linear_acceleration
    return imu_measurements(
        stamp_s,
        arrival_s,
        np.array([turning.x, turning.y, turning.z]),
        np.array([force.x, force.y, force.z]),
        np.asarray(message.angular_velocity_covariance),
        np.asarray(message.linear_acceleration_covariance),
    )


def steering_measurement(message: Any, stamp_s: float, arrival_s: float) -> Measurement:
    """The angle in an ackermann_msgs/AckermannDriveStamped that says how the wheels stand; it carries no variance."""
    return Measurement("steering", stamp_s, arrival_s, np.array([message.drive.steering_angle]))
