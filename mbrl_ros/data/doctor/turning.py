"""Recorded yaw rates held against the heading: sign, unit, scale and lag."""

from __future__ import annotations

import numpy as np

from mbrl_ros.data.doctor.fields import yaw_rate_path
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import LagFit
from mbrl_ros.data.doctor.motion import MATTERS_S, Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.repairs import Scale, Shift
from mbrl_ros.data.signals import Signals

IMU = "sensor_msgs/msg/Imu"
_TURNING_RADPS = 0.03  # rms of the heading's rate below which there is nothing to compare
_EXPLAINED = 0.5  # share of the heading's rate that a yaw rate must explain to be one
_SCALE = 0.05
_DEGREES = 180 / np.pi


def check_yaw_rate(recording: Recording) -> list[Finding]:
    """Sign, unit, scale and lag of every recorded yaw rate."""
    motion = recording.motion
    if motion is None:
        return []
    found = []
    for signals in recording.measured:
        if not signals.has("yaw_rate"):
            continue
        if not signals.filled("yaw_rate"):
            found.append(_empty(signals))
        elif fit := _by_heading(recording, motion, signals):
            found += _judged(recording, motion, signals, fit)
    return found


def turn_lags(recording: Recording) -> dict[str, tuple[float, float]]:
    """Lag of each topic's yaw rate behind the heading of the chosen pose, and its standard deviation [s].

    Only of topics other than the pose's own, whose yaw rate follows the heading at some lag.
    """
    motion = recording.motion
    lags = {}
    for signals in recording.measured if motion else ():
        if motion and signals.has("yaw_rate") and signals.filled("yaw_rate") and signals.topic != motion.topic:
            fit = _by_heading(recording, motion, signals)
            if fit and fit.explained > _EXPLAINED:
                lags[signals.topic] = (-fit.lag_s, fit.lag_std_s)
    return lags


def _by_heading(recording: Recording, motion: Motion, signals: Signals) -> LagFit | None:
    turning = motion.turn_rate[np.isfinite(motion.turn_rate) & motion.moving]
    if not len(turning) or np.sqrt(np.mean(turning**2)) < _TURNING_RADPS:
        return None
    return motion.heading_by(recording.trace(signals, "yaw_rate"))


def _judged(recording: Recording, motion: Motion, signals: Signals, fit: LagFit) -> list[Finding]:
    topic, path = signals.topic, yaw_rate_path(signals.msgtype)
    slope, std = float(fit.coefficients[0]), float(fit.std[0])
    if fit.explained < _EXPLAINED and motion.denies(fit):
        return [_contradicts(topic, fit)]
    found = []
    if slope + 3 * std < 0 and signals.msgtype != IMU:  # the axes of an Imu are looked at together
        found.append(
            Finding(
                "yaw_rate_sign",
                "error",
                topic,
                f"the heading turns {slope:.2f} ± {std:.2f} times as fast as the yaw rate says: to the other side",
                "a model learns to steer to the wrong side",
                "REP-103 counts yaw counter-clockwise; turn the sign in the driver, or with --repair",
                slope,
                "1",
                std,
                Scale(topic, ((path, -1.0),), "counted clockwise before"),
            )
        )
    size = abs(slope)
    if abs(size * _DEGREES - 1) < 0.2:
        found.append(
            Finding(
                "yaw_rate_unit",
                "error",
                topic,
                f"the heading turns {size:.4f} ± {std:.4f} times as fast as the yaw rate says: it is in degrees",
                "a model turns 57 times too fast",
                "ROS messages carry radians per second (REP-103); convert in the driver, or with --repair",
                size,
                "1",
                std,
                Scale(topic, ((path, np.pi / 180),), "degrees before"),
            )
        )
    elif abs(size - 1) > _SCALE + 3 * std:
        found.append(
            Finding(
                "yaw_rate_scale",
                "warning",
                topic,
                f"the heading turns {size:.3f} ± {std:.3f} times as fast as the yaw rate says",
                "predicted headings drift away from the driven ones in every corner",
                "calibrate the gyroscope's scale, or take the yaw rate from another topic (--topic yaw_rate=...)",
                size,
                "1",
                std,
            )
        )
    if fit.explained > _EXPLAINED and fit.clear(MATTERS_S):
        found.append(_late(recording, signals, fit))
    return found


def _late(recording: Recording, signals: Signals, fit: LagFit) -> Finding:
    topic, late = signals.topic, -fit.lag_s
    own_clock = not signals.has("x") and recording.motion is not None and topic != recording.motion.topic
    what = "trails" if late > 0 else "leads"
    return Finding(
        "yaw_rate_lag",
        "warning",
        topic,
        f"the yaw rate {what} the heading by {abs(late):.3f} ± {fit.lag_std_s:.3f} s (it explains "
        f"{100 * fit.explained:.1f} % of the heading's rate there): a filter, or another clock",
        "a delay read off it is wrong by as much, and rows mix the yaw rate of one moment with the pose of another",
        "take the yaw rate from another topic (--topic yaw_rate=...) or leave it out (--topic yaw_rate=none)"
        + ("; --repair moves the topic's stamps" if own_clock else ""),
        late,
        "s",
        fit.lag_std_s,
        Shift(topic, round(-late * 1e9)) if own_clock else None,
    )


def _contradicts(topic: str, fit: LagFit) -> Finding:
    return Finding(
        "yaw_rate_contradicts",
        "error",
        topic,
        f"at no lag within ±1 s does the yaw rate explain more than {max(0.0, 100 * fit.explained):.0f} % of the "
        "heading's rate",
        "a model learns turning that the poses deny",
        "check that the topic's z axis points up, and take the yaw rate from another one (--topic yaw_rate=...)",
        max(0.0, fit.explained),
    )


def _empty(signals: Signals) -> Finding:
    return Finding(
        "yaw_rate_empty",
        "info",
        signals.topic,
        f"the yaw rate is zero in all {len(signals)} messages: nobody fills it",
        "none as long as the yaw rate comes from elsewhere; taken from here, a model never turns",
        "take the yaw rate from a gyroscope (--topic yaw_rate=...)",
        0.0,
        "rad/s",
    )
