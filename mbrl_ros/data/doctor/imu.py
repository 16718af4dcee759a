"""Axes, signs, unit and gravity of an Imu, held against how the car moved."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.driving import speed_trace
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.motion import Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.repairs import Add, Scale
from mbrl_ros.data.doctor.turning import IMU
from mbrl_ros.data.signals import Signals

_GRAVITY = 9.80665
_ODD = 0.15  # share by which gravity may be misread
_ALONG = np.cos(np.radians(30.0))  # of gravity along an axis before the axis is said to be vertical
_BIAS_MPS2 = 0.25
_EXPLAINED = 0.3
_AXES = ("x", "y", "z")
_LAGS_S = np.arange(-40, 41) * 0.01


@dataclass(frozen=True)
class Axes:
    """Which way the axes point, as far as the driving tells: 1, -1, or 0 for unknown.

    Args:
        forward: of x, by the speed's rate.
        left: of y, by speed times turn rate.
        up: of z, by gravity.
        yaw: of the gyroscope's z, by the heading.
        swapped: the horizontal axes follow each other's motion.
    """

    forward: int
    left: int
    up: int
    yaw: int
    swapped: bool


def check_imu(recording: Recording) -> list[Finding]:
    """Gravity, axes and bias of every Imu."""
    found = []
    for signals in recording.measured:
        if signals.msgtype == IMU:
            found += _gravity_and_axes(recording, signals)
    return found


def _gravity_and_axes(recording: Recording, signals: Signals) -> list[Finding]:
    columns = [signals.columns[f"gravity_{axis}"] for axis in _AXES]
    gravity = np.array([np.median(column) for column in columns])
    size = float(np.linalg.norm(gravity))
    if abs(abs(gravity[2]) / _GRAVITY - 1) < _ODD:  # upright, whatever a track with more left turns adds across
        size = abs(float(gravity[2]))
    found = []
    if np.ptp(columns[2]) == 0 and abs(columns[2][0]) > 1:
        found.append(_made_up(signals.topic, float(columns[2][0])))
    if not any(column.any() for column in columns):
        return found
    if abs(size - 1) < 0.1 and np.ptp(np.concatenate(columns)) < 10:
        return [*found, _in_g(signals.topic, size)]
    if size < 0.3 * _GRAVITY:
        found.append(_removed(signals.topic, float(gravity[2])))
        up = 0
    elif abs(size / _GRAVITY - 1) > _ODD:
        return [*found, _odd_size(signals.topic, size)]
    else:
        up = int(np.sign(gravity[2])) if abs(gravity[2]) > _ALONG * size else 0
        if not up:
            return [*found, _tilted(signals.topic, gravity)]
    motion = recording.motion
    if motion is None:
        return found + ([_upside_down(signals.topic, Axes(0, 0, up, 0, False), gravity)] if up < 0 else [])
    fits = _by_motion(recording, signals, motion)
    axes = _axes(signals, motion, recording, fits, up)
    if axes.swapped:
        return [*found, _swapped(signals.topic, fits)]
    if min(axes.forward, axes.left, axes.up, axes.yaw) < 0:
        return [*found, _upside_down(signals.topic, axes, gravity)]
    return found + _biased(signals.topic, fits)


def _by_motion(recording: Recording, signals: Signals, motion: Motion) -> dict[str, LagFit]:
    """Each horizontal axis by the speed's rate, speed times turn rate, and a constant."""
    speed = speed_trace(recording)
    if speed is None:
        return {}
    measured = motion.mean(recording.trace(signals, "gravity_x", "gravity_y"))
    turning = motion.poses

    def regressors(lag: float) -> np.ndarray:
        forward = motion.change(speed, lag)[:, 0]
        lateral = motion.mean(speed, lag)[:, 0] * motion.change(turning, lag)[:, 2]
        return np.stack([forward, lateral, np.ones_like(forward)], axis=1)

    fits = {axis: fit_lag(motion.while_moving(measured[:, i]), regressors, _LAGS_S) for i, axis in enumerate(_AXES[:2])}
    return {axis: fit for axis, fit in fits.items() if fit is not None}


def _axes(signals: Signals, motion: Motion, recording: Recording, fits: dict[str, LagFit], up: int) -> Axes:
    forward = _sign(fits.get("x"), 0)
    left = _sign(fits.get("y"), 1)
    across = [_sign(fits.get("x"), 1), _sign(fits.get("y"), 0)]
    swapped = all(across) and all(
        fit.explained > _EXPLAINED and abs(fit.coefficients[1 - own]) > 3 * abs(fit.coefficients[own])
        for fit, own in ((fits["x"], 0), (fits["y"], 1))
    )
    gyro = motion.heading_by(recording.trace(signals, "yaw_rate")) if signals.filled("yaw_rate") else None
    yaw = 0
    if gyro is not None and gyro.explained > 0.5 and abs(gyro.coefficients[0]) > 3 * gyro.std[0]:
        yaw = int(np.sign(gyro.coefficients[0]))
    return Axes(forward, left, up, yaw, swapped)


def _sign(fit: LagFit | None, which: int) -> int:
    if fit is None or fit.explained < _EXPLAINED or abs(fit.coefficients[which]) < max(5 * fit.std[which], 0.3):
        return 0
    return int(np.sign(fit.coefficients[which]))


def _upside_down(topic: str, axes: Axes, gravity: np.ndarray) -> Finding:
    """Signs that REP-103 and REP-145 do not know, told apart by which of them go together."""
    known = {"x": axes.forward, "y": axes.left, "z": axes.up}
    shown = ", ".join(
        f"{name} {'follows' if sign > 0 else 'opposes'} it"
        for name, sign in (("x (acceleration)", axes.forward), ("y (cornering)", axes.left), ("gyroscope z", axes.yaw))
        if sign
    )
    seen = f"gravity reads {gravity[2]:+.2f} m/s² on z; against the motion {shown or 'nothing else can be told'}"
    turned = {axis: sign for axis, sign in known.items() if sign < 0}
    if axes.up < 0 and axes.yaw >= 0:
        horizontal_fine = max(axes.forward, axes.left) > 0
        names = ["z"] if horizontal_fine else list(_AXES)
        return Finding(
            "imu_gravity",
            "error",
            topic,
            f"{seen}: the accelerometer's {'z axis counts' if horizontal_fine else 'axes count'} the other way",
            "an estimator takes off gravity where it should add it, and is 2 g wrong; the gyroscope is passed over",
            "at rest an Imu reads +9.81 m/s² on z (REP-145); turn the sign in the driver, or with --repair",
            float(gravity[2]),
            "m/s²",
            repair=Scale(topic, tuple((f"linear_acceleration.{n}", -1.0) for n in names), "counted the other way"),
        )
    if axes.up >= 0 and axes.yaw < 0 and not turned:
        return Finding(
            "imu_gyro_sign",
            "error",
            topic,
            f"{seen}: only the gyroscope turns the other way",
            "a model learns to turn to the wrong side",
            "REP-103 counts yaw counter-clockwise; turn the sign in the driver, or with --repair",
            float(axes.yaw),
            repair=Scale(topic, (("angular_velocity.z", -1.0),), "counted clockwise before"),
        )
    flipped = _flipped(axes)
    return Finding(
        "imu_axes",
        "error",
        topic,
        f"{seen}: its axes {', '.join(flipped)} point the other way"
        + (", as in a forward-right-down frame" if set(flipped) == {"y", "z"} else ""),
        "turning, cornering and braking come with the wrong sign",
        "x forward, y left, z up (REP-103); correct the mounting's transform, or turn the axes with --repair",
        float(len(flipped)),
        "axes",
        repair=Scale(
            topic,
            tuple((f"{part}.{axis}", -1.0) for part in ("linear_acceleration", "angular_velocity") for axis in flipped),
            "pointed the other way",
        ),
    )


def _flipped(axes: Axes) -> list[str]:
    """Axes to turn round: two of three, as a rotation does, where the driving says enough."""
    flipped = [axis for axis, sign in (("x", axes.forward), ("y", axes.left), ("z", axes.up)) if sign < 0]
    if axes.up < 0 and len(flipped) == 1:
        flipped = ["x", "z"] if axes.left > 0 else ["y", "z"]
    return flipped


def _swapped(topic: str, fits: dict[str, LagFit]) -> Finding:
    x, y = fits["x"].coefficients, fits["y"].coefficients
    return Finding(
        "imu_axes",
        "error",
        topic,
        f"x follows the cornering ({x[1]:+.2f} of it) and y the acceleration ({y[0]:+.2f} of it): the horizontal axes "
        "are turned by 90 degrees",
        "braking looks like cornering, and cornering like braking",
        "x forward, y left, z up (REP-103); correct the mounting's transform",
        90.0,
        "deg",
    )


def _tilted(topic: str, gravity: np.ndarray) -> Finding:
    axis = int(np.argmax(np.abs(gravity)))
    degrees = float(np.degrees(np.arccos(gravity[2] / np.linalg.norm(gravity))))
    return Finding(
        "imu_tilted",
        "error",
        topic,
        f"gravity reads ({gravity[0]:+.2f}, {gravity[1]:+.2f}, {gravity[2]:+.2f}) m/s²: mostly on "
        f"{'+' if gravity[axis] > 0 else '-'}{_AXES[axis]}, {degrees:.0f} degrees from +z",
        "its z axis does not measure yaw: the gyroscope is not used, and its accelerations are other axes'",
        "at rest an Imu reads +9.81 m/s² on z (REP-145); rotate it into base_link by the mounting's transform",
        degrees,
        "deg",
    )


def _removed(topic: str, up: float) -> Finding:
    return Finding(
        "imu_gravity_removed",
        "warning",
        topic,
        f"the accelerometer reads {up:+.2f} m/s² on z (median): gravity was taken off",
        "an estimator takes it off again; the gyroscope is passed over because gravity is not where it should be",
        "record the raw specific force, +9.81 m/s² on z at rest (REP-145); --repair adds it on z",
        up,
        "m/s²",
        repair=Add(topic, "linear_acceleration.z", _GRAVITY, "gravity had been taken off"),
    )


def _in_g(topic: str, size: float) -> Finding:
    paths = tuple((f"linear_acceleration.{axis}", _GRAVITY) for axis in _AXES)
    return Finding(
        "imu_unit",
        "error",
        topic,
        f"the accelerometer reads {size:.3f} where gravity is 9.81 m/s²: it is in g",
        "accelerations are ten times too small, and the gyroscope is passed over",
        "ROS messages carry m/s² (REP-103); convert in the driver, or with --repair",
        size,
        "g",
        repair=Scale(topic, paths, "in g before"),
    )


def _odd_size(topic: str, size: float) -> Finding:
    return Finding(
        "imu_scale",
        "error",
        topic,
        f"the accelerometer reads {size:.2f} m/s² (median) where gravity is 9.81 m/s²",
        "accelerations have the wrong scale",
        "calibrate it; check its unit and range",
        size,
        "m/s²",
    )


def _made_up(topic: str, value: float) -> Finding:
    return Finding(
        "imu_constant",
        "info",
        topic,
        f"the vertical acceleration is {value:.2f} m/s² to the last digit in every message: it was written in, not "
        "measured",
        "bumps, tilt and the Imu's own bias cannot be seen; the other axes may have been worked on as well",
        "record the Imu's own messages where vertical motion matters",
        value,
        "m/s²",
    )


def _biased(topic: str, fits: dict[str, LagFit]) -> list[Finding]:
    found = []
    for axis, fit in fits.items():
        bias, std = float(fit.coefficients[2]), float(fit.std[2])
        if abs(bias) < _BIAS_MPS2 + 3 * std:
            continue
        degrees = np.degrees(np.arcsin(min(1.0, abs(bias) / _GRAVITY)))
        found.append(
            Finding(
                "imu_bias",
                "warning",
                topic,
                f"{axis} reads {bias:+.2f} ± {std:.2f} m/s² more than the car's motion: as much as a tilt of "
                f"{degrees:.1f} degrees",
                f"taken for acceleration it moves a prediction by {2 * abs(bias):.1f} m within 2 s",
                "level the mounting, or subtract what it reads at a standstill on flat ground",
                bias,
                "m/s²",
                std,
            )
        )
    return found
