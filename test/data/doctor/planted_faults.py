"""Faults as recordings have them, each a change to the messages of some topics of a clean one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

GRAVITY, WHEELBASE, REAR = 9.80665, 2.5789, 1.4227
HALF_WAY = 750  # of the messages of a topic at 50 Hz


@dataclass(frozen=True)
class Fault:
    """What is planted, and the one finding that it has to give.

    Args:
        name: of the test.
        topics: whose messages are changed.
        change: (place, message) -> message to record, None for none; or a pair with the shift of the receipt [ns].
        finding: check that has to be found.
        where: topics at which.
        how: arguments of ``examine``.
        mends: whether it can be repaired.
    """

    name: str
    topics: tuple[str, ...]
    change: Callable[[int, Any], Any]
    finding: str
    where: tuple[str, ...]
    how: dict[str, Any] = field(default_factory=dict)
    mends: bool = True

    def __call__(self, topic: str, place: int, message: Any, received_ns: int) -> tuple[Any, int] | None:
        changed = self.change(place, message)
        return None if changed is None else (changed, received_ns)


def move_stamp(message: Any, by_s: float) -> Any:
    stamp = message.header.stamp
    stamp_ns = stamp.sec * 10**9 + stamp.nanosec + round(by_s * 1e9)
    stamp.sec, stamp.nanosec = stamp_ns // 10**9, stamp_ns % 10**9
    return message


def yaw_of(message: Any) -> float:
    q = message.pose.pose.orientation
    return 2 * np.arctan2(q.z, q.w)


def _some(rows: range, change: Callable[[Any], Any]) -> Callable[[int, Any], Any]:
    return lambda place, message: change(message) if place in rows else message


def _zero(message: Any) -> Any:
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    return message


def _linear(turn: Callable[[complex, float], complex]) -> Callable[[int, Any], Any]:
    """Changes an Odometry's velocity, given as forward + i left and the yaw."""

    def change(_: int, message: Any) -> Any:
        linear = message.twist.twist.linear
        turned = turn(linear.x + 1j * linear.y, yaw_of(message))
        linear.x, linear.y = float(turned.real), float(turned.imag)
        return message

    return change


def _yaw_rate(change: Callable[[float], float]) -> Callable[[int, Any], Any]:
    def changed(_: int, message: Any) -> Any:
        message.twist.twist.angular.z = change(message.twist.twist.angular.z)
        return message

    return changed


def _steering(change: Callable[[float], float]) -> Callable[[int, Any], Any]:
    def changed(_: int, message: Any) -> Any:
        message.drive.steering_angle = change(message.drive.steering_angle)
        return message

    return changed


def _acceleration(factor: float) -> Callable[[int, Any], Any]:
    def changed(_: int, message: Any) -> Any:
        message.drive.acceleration *= factor
        return message

    return changed


def _imu(
    force: tuple[float, float, float] = (1, 1, 1), gyro: float = 1.0, plus: tuple[float, float, float] = (0, 0, 0)
) -> Callable[[int, Any], Any]:
    def change(_: int, message: Any) -> Any:
        a = message.linear_acceleration
        a.x, a.y, a.z = force[0] * a.x + plus[0], force[1] * a.y + plus[1], force[2] * a.z + plus[2]
        message.angular_velocity.z *= gyro
        return message

    return change


def _imu_turned(_: int, message: Any) -> Any:
    a = message.linear_acceleration
    a.x, a.y = a.y, -a.x
    return message


def _imu_on_its_side(_: int, message: Any) -> Any:
    a, w = message.linear_acceleration, message.angular_velocity
    a.x, a.z = -a.z, a.x
    w.x, w.z = -w.z, w.x
    return message


def _pose_moved(back_m: float, twist: bool) -> Callable[[int, Any], Any]:
    """Pose, and the twist if asked, of a point that lies further back."""

    def change(_: int, message: Any) -> Any:
        yaw, position = yaw_of(message), message.pose.pose.position
        position.x -= back_m * np.cos(yaw)
        position.y -= back_m * np.sin(yaw)
        if twist:
            message.twist.twist.linear.y -= back_m * message.twist.twist.angular.z
        return message

    return change


def _heading_turned(by_rad: float) -> Callable[[int, Any], Any]:
    def change(_: int, message: Any) -> Any:
        yaw, q = yaw_of(message) + by_rad, message.pose.pose.orientation
        q.z, q.w = np.sin(yaw / 2), np.cos(yaw / 2)
        linear = message.twist.twist.linear
        turned = (linear.x + 1j * linear.y) * np.exp(-1j * by_rad)
        linear.x, linear.y = float(turned.real), float(turned.imag)
        return message

    return change


def _tilted(_: int, message: Any) -> Any:
    """The whole frame turned about y by a quarter: x down, z forward."""
    yaw, q = yaw_of(message), message.pose.pose.orientation
    half = np.sqrt(0.5)
    q.x, q.y, q.z, q.w = -half * np.sin(yaw / 2), half * np.cos(yaw / 2), half * np.sin(yaw / 2), half * np.cos(yaw / 2)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.z, linear.x = linear.x, 0.0
    angular.x, angular.z = -angular.z, 0.0
    return message


def _later(fields: tuple[str, str], by: int) -> Callable[[int, Any], Any]:
    """A field that says what was true ``by`` messages ago."""
    kept: list[float] = []

    def change(_: int, message: Any) -> Any:
        owner = message
        for name in fields[0].split("."):
            owner = getattr(owner, name)
        kept.append(getattr(owner, fields[1]))
        setattr(owner, fields[1], kept[max(0, len(kept) - 1 - by)])
        return message

    return change


def _stuck(rows: range) -> Callable[[int, Any], Any]:
    first: list[Any] = []

    def change(place: int, message: Any) -> Any:
        if place not in rows:
            return message
        first.append((message.pose, message.twist))
        message.pose, message.twist = first[0]
        return message

    return change


def _jumping(rows: range, by_m: float) -> Callable[[int, Any], Any]:
    def change(place: int, message: Any) -> Any:
        if place in rows:
            message.pose.pose.position.x += by_m
        return message

    return change


def _nan(message: Any) -> Any:
    message.twist.twist.linear.x = np.nan
    return message


def _lossy(share: float, seed: int = 3) -> Callable[[int, Any], Any]:
    rng = np.random.default_rng(seed)
    return lambda place, message: None if place > 1 and rng.random() < share else message


def _from_steering() -> Callable[[int, Any], Any]:
    """The yaw rate of a motor controller: computed from the newest command."""
    newest = [0.0]

    def change(_: int, message: Any) -> Any:
        if hasattr(message, "drive"):
            newest[0] = message.drive.steering_angle
        else:
            message.twist.twist.angular.z = message.twist.twist.linear.x * np.tan(newest[0]) / WHEELBASE
        return message

    return change


def _clipped(limit: float) -> Callable[[float], float]:
    return lambda angle: float(np.clip(angle, -limit, limit))


ODOM, IMU, DRIVE, FEEDBACK = "/odom", "/imu/data", "/drive", "/drive_feedback"
STEERING, ACCELERATION = ("drive", "steering_angle"), ("drive", "acceleration")
DOWN = range(HALF_WAY, HALF_WAY + 60)

FAULTS = [
    Fault("zero_stamps", (ODOM,), _some(range(300, 303), _zero), "zero_stamps", (ODOM,)),
    Fault("all_stamps_zero", (IMU,), lambda _, m: _zero(m), "unstamped", (IMU,)),
    Fault("repeated", (ODOM,), _some(range(301, 302), lambda m: move_stamp(m, -0.02)), "repeated_stamps", (ODOM,)),
    Fault("backward", (ODOM,), _some(range(301, 302), lambda m: move_stamp(m, -0.5001)), "backward_stamps", (ODOM,)),
    Fault("leaping", (ODOM,), _some(range(301, 302), lambda m: move_stamp(m, 3600.0)), "leaping_stamps", (ODOM,)),
    Fault("nan", (ODOM,), _some(range(500, 502), _nan), "impossible_values", (ODOM,)),
    Fault("silent", (ODOM,), lambda k, m: None if k in DOWN else m, "silence", (ODOM,), mends=False),
    Fault("lossy", (IMU,), _lossy(0.2), "lost_messages", (IMU,), mends=False),
    Fault("imu_clock_ahead", (IMU,), lambda _, m: move_stamp(m, 0.3), "future_stamps", (IMU,)),
    Fault("imu_clock_behind", (IMU,), lambda _, m: move_stamp(m, -0.2), "clock_offset", (IMU,)),
    Fault("command_clock_ahead", (DRIVE,), lambda _, m: move_stamp(m, 0.4), "future_stamps", (DRIVE,)),
    Fault("imu_clock_drifts", (IMU,), lambda k, m: move_stamp(m, -5e-5 * k), "clock_drift", (IMU,), mends=False),
    Fault("world_twist", (ODOM,), _linear(lambda v, yaw: v * np.exp(1j * yaw)), "twist_frame", (ODOM,)),
    Fault("ned_twist", (ODOM,), _linear(lambda v, yaw: 1j * np.conj(v * np.exp(1j * yaw))), "twist_frame", (ODOM,)),
    Fault("backward_twist", (ODOM,), _linear(lambda v, _: -v), "twist_axes", (ODOM,)),
    Fault("turned_twist", (ODOM,), _linear(lambda v, _: 1j * v), "twist_axes", (ODOM,), mends=False),
    Fault("kmh", (ODOM,), _linear(lambda v, _: 3.6 * v), "speed_unit", (ODOM,)),
    Fault("fast_wheels", (ODOM,), _linear(lambda v, _: 1.08 * v), "speed_scale", (ODOM,), mends=False),
    Fault("yaw_rate_sign", (ODOM,), _yaw_rate(lambda r: -r), "yaw_rate_sign", (ODOM,)),
    Fault("yaw_rate_degrees", (ODOM,), _yaw_rate(np.degrees), "yaw_rate_unit", (ODOM,)),
    Fault("yaw_rate_scale", (ODOM,), _yaw_rate(lambda r: 1.15 * r), "yaw_rate_scale", (ODOM,), mends=False),
    Fault("yaw_rate_late", (ODOM,), _later(("twist.twist.angular", "z"), 15), "yaw_rate_lag", (ODOM,), mends=False),
    Fault("copied", (DRIVE, ODOM), _from_steering(), "copied_yaw_rate", (ODOM,), mends=False),
    Fault("steering_sign", (FEEDBACK,), _steering(lambda d: -d), "steering_sign", (FEEDBACK,)),
    Fault("command_sign", (DRIVE,), _steering(lambda d: -d), "steering_sign", (DRIVE,)),
    Fault("steering_degrees", (FEEDBACK,), _steering(np.degrees), "steering_unit", (FEEDBACK,)),
    Fault("steering_wheel", (FEEDBACK,), _steering(lambda d: 15 * d), "steering_scale", (FEEDBACK,), mends=False),
    Fault(
        "steering_scale", (FEEDBACK, DRIVE), _steering(lambda d: 1.4 * d), "steering_scale", (FEEDBACK, DRIVE),
        {"wheelbase_m": WHEELBASE},
    ),
    Fault("steering_offset", (FEEDBACK,), _steering(lambda d: d + 0.02), "steering_offset", (FEEDBACK,), mends=False),
    Fault("steering_late", (FEEDBACK,), _later(STEERING, 20), "response_precedes", (FEEDBACK,), mends=False),
    Fault("acceleration_late", (FEEDBACK,), _later(ACCELERATION, 35), "acceleration_lag", (FEEDBACK,), mends=False),
    Fault("acceleration_sign", (FEEDBACK,), _acceleration(-1.0), "acceleration_sign", (FEEDBACK,)),
    Fault("acceleration_in_g", (FEEDBACK,), _acceleration(1 / GRAVITY), "acceleration_unit", (FEEDBACK,)),
    Fault("imu_negated", (IMU,), _imu((-1, -1, -1)), "imu_gravity", (IMU,)),
    Fault("imu_z_negated", (IMU,), _imu((1, 1, -1)), "imu_gravity", (IMU,)),
    Fault("imu_forward_right_down", (IMU,), _imu((1, -1, -1), gyro=-1), "imu_axes", (IMU,)),
    Fault("imu_backwards", (IMU,), _imu((-1, -1, 1)), "imu_axes", (IMU,)),
    Fault("imu_turned", (IMU,), _imu_turned, "imu_axes", (IMU,), mends=False),
    Fault("imu_on_its_side", (IMU,), _imu_on_its_side, "imu_tilted", (IMU,), mends=False),
    Fault("imu_gyro_sign", (IMU,), _imu(gyro=-1), "imu_gyro_sign", (IMU,)),
    Fault("imu_gyro_degrees", (IMU,), _imu(gyro=180 / np.pi), "yaw_rate_unit", (IMU,)),
    Fault("imu_in_g", (IMU,), _imu((1 / GRAVITY,) * 3), "imu_unit", (IMU,)),
    Fault("imu_gravity_removed", (IMU,), _imu(plus=(0, 0, -GRAVITY)), "imu_gravity_removed", (IMU,)),
    Fault("imu_bias", (IMU,), _imu(plus=(0.6, 0, 0)), "imu_bias", (IMU,), mends=False),
    Fault("rear_axle", (ODOM,), _pose_moved(REAR, twist=True), "reference_point", (ODOM,), mends=False),
    Fault("pose_of_rear_axle", (ODOM,), _pose_moved(REAR, twist=False), "two_reference_points", (ODOM,), mends=False),
    Fault("antenna", (ODOM,), _pose_moved(-3.5, twist=True), "reference_point", (ODOM,), mends=False),
    Fault("heading_offset", (ODOM,), _heading_turned(0.035), "heading_offset", (ODOM,), mends=False),
    Fault("frame_tilted", (ODOM,), _tilted, "frame_tilted", (ODOM,), mends=False),
    Fault("stuck", (ODOM,), _stuck(range(700, 760)), "stuck", (ODOM,), mends=False),
    Fault("jump", (ODOM,), _jumping(range(700, 720), 3.0), "pose_jumps", (ODOM,), mends=False),
    Fault("saturated", (DRIVE, FEEDBACK), _steering(_clipped(0.06)), "saturation", (DRIVE, FEEDBACK), mends=False),
]  # fmt: skip
