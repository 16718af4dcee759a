"""Where in a message a column comes from."""

from __future__ import annotations

_TWIST = {
    "nav_msgs/msg/Odometry": "twist.twist.",
    "geometry_msgs/msg/TwistStamped": "twist.",
    "geometry_msgs/msg/TwistWithCovarianceStamped": "twist.twist.",
}


def yaw_rate_path(msgtype: str) -> str:
    """Dotted path of the yaw rate in a message of ``msgtype``."""
    if msgtype == "sensor_msgs/msg/Imu":
        return "angular_velocity.z"
    return _TWIST[msgtype] + "angular.z" if msgtype in _TWIST else "yaw_rate"


def velocity_paths(msgtype: str) -> tuple[str, str]:
    """Dotted paths of vx and vy in a message of ``msgtype``."""
    if msgtype in _TWIST:
        return _TWIST[msgtype] + "linear.x", _TWIST[msgtype] + "linear.y"
    return "vx", "vy"


def steering_path(msgtype: str) -> str:
    """Dotted path of the steering angle in a message of ``msgtype``."""
    return "drive.steering_angle" if msgtype.startswith("ackermann_msgs/") else "steering_angle"


def acceleration_path(msgtype: str) -> str:
    """Dotted path of the longitudinal acceleration in a message of ``msgtype`` other than an Imu."""
    return "drive.acceleration" if msgtype.startswith("ackermann_msgs/") else "acceleration"
