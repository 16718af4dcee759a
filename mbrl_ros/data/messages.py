"""Messages of recordings, made from states and actions without ROS."""

from __future__ import annotations

from typing import Any

import numpy as np

from mbrl_ros.core.angles import quaternion_from_yaw
from mbrl_ros.core.layout import STATE, VX, VY, YAW, YAW_RATE, ReferencePoint, X, Y
from mbrl_ros.data.bag import message_types


def header(stamp_ns: int, frame_id: str) -> Any:
    """A std_msgs/Header."""
    types = message_types().types
    time = types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def odometry(stamp_ns: int, state: np.ndarray, frame_id: str = "odom", child_frame_id: str = "base_link") -> Any:
    """A nav_msgs/Odometry of ``state`` [8]: pose in ``frame_id``, twist in ``child_frame_id``."""
    types = message_types().types
    vector, zeros = types["geometry_msgs/msg/Vector3"], np.zeros(36)
    pose = types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](x=float(state[X]), y=float(state[Y]), z=0.0),
        orientation=types["geometry_msgs/msg/Quaternion"](*quaternion_from_yaw(float(state[YAW]))),
    )
    twist = types["geometry_msgs/msg/Twist"](
        linear=vector(x=float(state[VX]), y=float(state[VY]), z=0.0),
        angular=vector(x=0.0, y=0.0, z=float(state[YAW_RATE])),
    )
    return types["nav_msgs/msg/Odometry"](
        header=header(stamp_ns, frame_id),
        child_frame_id=child_frame_id,
        pose=types["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=zeros),
        twist=types["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=zeros),
    )


def vehicle_state(stamp_ns: int, state: np.ndarray, reference_point: ReferencePoint = "cg") -> Any:
    """A mbrl_ros/VehicleState of ``state`` [8], without covariance."""
    return message_types().types["mbrl_ros/msg/VehicleState"](
        header=header(stamp_ns, "odom"),
        child_frame_id="base_link",
        **{name: float(value) for name, value in zip(STATE.names, state, strict=True)},
        gyro_bias=0.0,
        covariance=np.zeros(81),
        reference_point=reference_point,
    )


def imu(stamp_ns: int, yaw_rate: float, acceleration: tuple[float, float, float]) -> Any:
    """A sensor_msgs/Imu; ``acceleration`` is the specific force, about (0, 0, 9.81) at rest."""
    types = message_types().types
    vector, zeros = types["geometry_msgs/msg/Vector3"], np.zeros(9)
    return types["sensor_msgs/msg/Imu"](
        header=header(stamp_ns, "imu"),
        orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        orientation_covariance=np.array([-1.0, *zeros[1:]]),
        angular_velocity=vector(x=0.0, y=0.0, z=float(yaw_rate)),
        angular_velocity_covariance=zeros,
        linear_acceleration=vector(*map(float, acceleration)),
        linear_acceleration_covariance=zeros,
    )


def ackermann(stamp_ns: int, steering_angle: float, *, speed: float = 0.0, acceleration: float = 0.0) -> Any:
    """An ackermann_msgs/AckermannDriveStamped."""
    types = message_types().types
    return types["ackermann_msgs/msg/AckermannDriveStamped"](
        header=header(stamp_ns, "base_link"),
        drive=types["ackermann_msgs/msg/AckermannDrive"](
            steering_angle=float(steering_angle),
            steering_angle_velocity=0.0,
            speed=float(speed),
            acceleration=float(acceleration),
            jerk=0.0,
        ),
    )
