"""Recorded yaw rates held against the heading, and turn rates that were computed from the steering command."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.fields import yaw_rate_path
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.motion import MATTERS_S, SPAN_S, Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.repairs import Scale, Shift
from mbrl_ros.data.doctor.spans import Trace
from mbrl_ros.data.signals import Signals

IMU = "sensor_msgs/msg/Imu"
_TURNING_RADPS = 0.03  # rms of the heading's rate below which there is nothing to compare
_EXPLAINED = 0.5  # share of the heading's rate that a yaw rate must explain to be one
_SCALE = 0.05
_DEGREES = 180 / np.pi
_EXACT = 0.99  # share of a turn rate that steering explains only where it was computed from it
_CLOSER = 4.0  # times, in squares
_COPY_LAGS_S = np.arange(-20, 41) * 0.01


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
            found += _judged(recording, signals, fit)
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


def _judged(recording: Recording, signals: Signals, fit: LagFit) -> list[Finding]:
    topic, path = signals.topic, yaw_rate_path(signals.msgtype)
    slope, std = float(fit.coefficients[0]), float(fit.std[0])
    if fit.explained < _EXPLAINED:
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
    if fit.clear(MATTERS_S):
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


@dataclass(frozen=True)
class _Turn:
    """A turn rate and where it comes from."""

    topic: str
    what: str
    rate: np.ndarray  # [K] over the spans of the motion
    independent: bool  # a gyroscope, or the poses that predictions are held to


def check_copied_yaw_rate(recording: Recording) -> list[Finding]:
    """Turn rates that steering explains to the last percent while they differ from how the car turned.

    Odometry of motor controllers computes ``yaw_rate = speed tan(servo) / wheelbase``; dead-reckoned headings are
    its integral.
    """
    motion, steering = recording.motion, recording.sources.get("command") or recording.sources.get("steering")
    if motion is None or steering is None:
        return []
    turns = _turns(recording, motion)
    found = []
    for turn in turns:
        truth = [t for t in turns if t.independent and t.topic != turn.topic]
        if turn.what == "gyroscope" or not truth:
            continue
        from_steering = _from_steering(recording, motion, steering, turn)
        from_truth = max(
            (fit for t in truth if (fit := _proportional(motion, turn.rate, t.rate))),
            key=lambda fit: fit.explained,
            default=None,
        )
        if from_steering is None or from_truth is None:
            continue
        left, left_by_truth = 1 - from_steering.explained, 1 - from_truth.explained
        if from_steering.explained > _EXACT and _CLOSER * left < left_by_truth:
            found.append(_copied(recording, turn, steering, from_steering, from_truth))
    return found


def _turns(recording: Recording, motion: Motion) -> list[_Turn]:
    turns = []
    for s in recording.measured:
        if s.has("yaw") and s.filled("x", "y") and (own := recording.motion_by(s)) is not None:
            change = motion.change(Trace(own.poses.time_s, own.poses.values[:, 2:]))[:, 0]
            turns.append(_Turn(s.topic, "heading", change, s.topic == motion.topic))
        if s.has("yaw_rate") and s.filled("yaw_rate"):
            gyro = s.msgtype == IMU
            rate = motion.mean(recording.trace(s, "yaw_rate"))[:, 0]
            turns.append(_Turn(s.topic, "gyroscope" if gyro else "yaw rate", rate, gyro))
    return turns


def _from_steering(recording: Recording, motion: Motion, steering: Signals, turn: _Turn) -> LagFit | None:
    own = recording.signals[turn.topic]
    speed = own if own.has("vx") and own.filled("vx") else recording.sources.get("velocity")
    if speed is None:
        return None
    time_s = recording.time_s(speed)
    angle = recording.time_s(steering)
    command = steering.columns["steering_angle"]

    def regressors(lag: float) -> np.ndarray:
        held = np.searchsorted(angle, time_s - lag, side="right") - 1
        product = speed.columns["vx"] * np.tan(command[np.maximum(held, 0)])
        return motion.mean(Trace(time_s, np.stack([product, speed.columns["vx"]], axis=1)))

    return fit_lag(motion.while_moving(turn.rate), regressors, _COPY_LAGS_S)


def _proportional(motion: Motion, response: np.ndarray, cause: np.ndarray) -> LagFit | None:
    """At lags of whole half spans, which is enough to tell a copy."""
    half = SPAN_S / 2

    def regressors(lag: float) -> np.ndarray:
        shift = round(lag / half)
        moved = np.roll(cause, shift)
        moved[: max(shift, 0)] = np.nan
        moved[len(moved) + min(shift, 0) :] = np.nan
        return moved[:, None]

    return fit_lag(motion.while_moving(response), regressors, np.array([0.0]))


def _copied(recording: Recording, turn: _Turn, steering: Signals, by_steering: LagFit, by_truth: LagFit) -> Finding:
    kind = "command" if recording.sources.get("command") is steering else "feedback"
    used = any(q in recording.feeds(turn.topic) for q in (["yaw_rate"] if turn.what == "yaw rate" else ["pose"]))
    lag_s = by_steering.lag_s
    return Finding(
        "copied_yaw_rate",
        "error" if used else "warning",
        turn.topic,
        f"the {turn.what} is speed times tan(steering {kind}) over {1 / by_steering.coefficients[0]:.3f} m, "
        f"{lag_s:.2f} s later: that explains {100 * by_steering.explained:.2f} % of it, how the car really turned "
        f"{100 * max(by_truth.explained, 0.0):.2f} %",
        "it was computed from the steering, not measured: a model learns the formula and neither slip nor delay",
        "take the yaw rate from a gyroscope and the pose from a localisation (--topic yaw_rate=..., --topic pose=...)",
        by_steering.explained,
    )
