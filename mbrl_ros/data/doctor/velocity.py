"""Recorded velocities held against the poses: frame, axes, unit, scale and lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.data.doctor.fields import velocity_paths
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import BLOCKS, fit_lag
from mbrl_ros.data.doctor.motion import LAGS_S, MATTERS_S, Motion
from mbrl_ros.data.doctor.recording import Recording, TopicLog
from mbrl_ros.data.doctor.repairs import Scale, TurnTwist
from mbrl_ros.data.signals import Signals

_TWICE = 2.0  # times less that another frame must leave: with 16 independent parts, odds of 250 to 1
_UNEXPLAINED = 0.3  # share of the motion that the best frame may leave
_ANGLE_RAD = np.radians(5.0)
_SCALE = 0.02
_UNITS = {3.6: "km/h", 2.23694: "mph", 1.94384: "knots", 3.28084: "ft/s", 0.001: "km/s", 1000.0: "mm/s", 100.0: "cm/s"}
_UNIT = 0.12  # by which wheels may slip beside another unit
_SLOWEST_MPS = 0.02


@dataclass(frozen=True)
class FrameFit:
    """``velocity by the poses = gain * recorded velocity``, both complex, in one frame.

    Args:
        frame: its name.
        gain: [B + 1] complex, over everything first, then without each block of driving.
        left: share of the motion that it leaves unexplained.
    """

    frame: str
    gain: np.ndarray
    left: float

    @property
    def scale(self) -> float:
        """By how much the poses move faster than the recorded velocity."""
        return float(abs(self.gain[0]))

    @property
    def scale_std(self) -> float:
        """Of ``scale``, by a jackknife."""
        return float(np.sqrt((len(self.gain) - 2) * np.var(np.abs(self.gain[1:]))))

    @property
    def angle_rad(self) -> float:
        """By which the recorded velocity has to be turned to the left."""
        return float(np.angle(self.gain[0]))


def fit_frames(motion: Motion, recorded: np.ndarray) -> dict[str, FrameFit] | None:
    """The recorded velocity [K] complex held against the motion in each frame; None where there is too little."""
    known = np.flatnonzero(motion.moving & np.isfinite(recorded) & np.isfinite(motion.velocity))
    if len(known) < 40 or np.sqrt(np.mean(np.abs(recorded[known]) ** 2)) < _SLOWEST_MPS:
        return None
    references = {
        "body": motion.body,
        "world": motion.velocity,
        "north-east": 1j * np.conj(motion.velocity),
    }
    fits = {}
    for frame, reference in references.items():
        y, x = reference[known], recorded[known]
        blocks = np.array_split(np.arange(len(known)), BLOCKS)
        xy = np.array([np.conj(x[b]) @ y[b] for b in blocks])
        xx = np.array([np.sum(np.abs(x[b]) ** 2) for b in blocks])
        gain = np.concatenate([[xy.sum() / xx.sum()], (xy.sum() - xy) / (xx.sum() - xx)])
        left = np.sum(np.abs(y - gain[0] * x) ** 2) / np.sum(np.abs(y) ** 2)
        fits[frame] = FrameFit(frame, gain, float(left))
    return fits


def check_velocity(recording: Recording) -> list[Finding]:
    """Frame, axes, unit, scale and lag of every recorded velocity."""
    found = []
    for signals in recording.measured:
        if not signals.has("vx", "vy") or not signals.filled("vx", "vy"):
            continue
        motion = _reference(recording, signals)
        if motion is None:
            continue
        trace = recording.trace(signals, "vx", "vy")
        means = motion.mean(trace)
        fits = fit_frames(motion, means[:, 0] + 1j * means[:, 1])
        if fits is None:
            continue
        frame = frame_of(fits)
        if frame != "body":
            found.append(_wrong_frame(recording, signals, motion, fits, frame))
        elif fits["body"].left > _UNEXPLAINED:
            found.append(_contradicts(signals, fits))
        else:
            found += _scaled(signals, motion, fits["body"])
            if recording.motion is not None and signals.topic != recording.motion.topic:
                found += _late(recording, signals, recording.motion)
    return found


def frame_of(fits: dict[str, FrameFit]) -> str:
    """The frame that explains clearly more than the car's own, where there is one."""
    own, best = fits["body"], min(fits.values(), key=lambda fit: fit.left)
    return best.frame if own.left > _TWICE * best.left and best.left < _UNEXPLAINED else "body"


def _reference(recording: Recording, signals: Signals) -> Motion | None:
    """The poses that predictions are held to; the topic's own where those are in another frame that turns."""
    own = recording.motion_by(signals) if signals.has("yaw") and signals.filled("x", "y") else None
    chosen = recording.motion
    if own is None or chosen is None or own.topic == chosen.topic:
        return chosen or own
    same_frame = recording.signals[chosen.topic].frame_id.strip("/") == signals.frame_id.strip("/")
    means = own.mean(recording.trace(signals, "vx", "vy"))
    fits = None if same_frame else fit_frames(own, means[:, 0] + 1j * means[:, 1])
    return own if fits and frame_of(fits) != "body" else chosen


def _wrong_frame(
    recording: Recording, signals: Signals, motion: Motion, fits: dict[str, FrameFit], frame: str
) -> Finding:
    fit, own = fits[frame], fits["body"]
    log = recording.topics[signals.topic]
    mirrored = frame == "north-east"
    name = "the frame of its poses" if frame == "world" else "a north-east-down frame"
    yaw = _yaw_at(recording, log, motion)
    angle = np.pi / 2 - yaw if mirrored else -yaw
    return Finding(
        "twist_frame",
        "error",
        signals.topic,
        f"in {name} the linear velocity explains {100 * (1 - fit.left):.1f} % of the motion, in the car's own frame "
        f"{100 * max(0.0, 1 - own.left):.1f} %: it is in {name}",
        "forward and sideways velocity change places with the heading; every model fitted to them is wrong",
        f"an Odometry's twist belongs to its child_frame_id ('{signals.child_frame_id}'); turn it in the driver, or "
        "with --repair",
        1 - fit.left,
        repair=TurnTwist(signals.topic, angle, mirrored, name),
    )


def _yaw_at(recording: Recording, log: TopicLog, motion: Motion) -> np.ndarray:
    """[N] yaw of the motion's poses at every message, held at its ends and across gaps."""
    time_s = (log.stamp_ns - recording.origin_ns) * 1e-9
    return np.interp(time_s, motion.poses.time_s, motion.poses.values[:, 2])


def _contradicts(signals: Signals, fits: dict[str, FrameFit]) -> Finding:
    shares = ", ".join(f"{name} {100 * max(0.0, 1 - fit.left):.0f} %" for name, fit in fits.items())
    return Finding(
        "twist_contradicts",
        "error",
        signals.topic,
        f"in no frame does the linear velocity explain how the poses move: {shares}",
        "a model learns velocities that the poses deny",
        "check the topic's axes and unit, and take the velocity from another one (--topic velocity=...)",
        max(1 - fit.left for fit in fits.values()),
    )


def _scaled(signals: Signals, motion: Motion, fit: FrameFit) -> list[Finding]:
    topic, paths = signals.topic, velocity_paths(signals.msgtype)
    turned = abs(float(wrap_angle(fit.angle_rad)))
    if turned > _ANGLE_RAD:
        degrees = np.degrees(fit.angle_rad)
        backward = turned > np.pi - _ANGLE_RAD
        return [
            Finding(
                "twist_axes",
                "error",
                topic,
                f"the linear velocity has to be turned by {degrees:.0f} degrees to follow the poses",
                "what a model takes for forward is another direction",
                "the child frame's x axis points forward (REP-103); correct the mounting's transform"
                + (", or turn both signs with --repair" if backward else ""),
                float(degrees),
                "deg",
                repair=Scale(topic, tuple((path, -1.0) for path in paths), "counted backwards before")
                if backward
                else None,
            )
        ]
    factor = 1 / fit.scale
    unit = next((u for u in _UNITS if abs(factor / u - 1) < _UNIT), None)
    if unit is not None:
        return [
            Finding(
                "speed_unit",
                "error",
                topic,
                f"the velocity is {factor:.3f} times that of the poses: it is in {_UNITS[unit]}",
                "positions are predicted as many times too far",
                "ROS messages carry metres per second (REP-103); convert in the driver, or with --repair",
                factor,
                "1",
                fit.scale_std / fit.scale**2,
                Scale(topic, tuple((path, 1 / unit) for path in paths), f"{_UNITS[unit]} before"),
            )
        ]
    if abs(factor - 1) < _SCALE + 3 * fit.scale_std / fit.scale**2:
        return []
    std = fit.scale_std / fit.scale**2
    return [
        Finding(
            "speed_scale",
            "warning",
            topic,
            f"the velocity is {100 * abs(factor - 1):.1f} ± {100 * std:.1f} % too {'high' if factor > 1 else 'low'} "
            f"beside the poses of {motion.topic}",
            f"after 2 s at 10 m/s positions are {20 * abs(factor - 1):.1f} m off: wheels that slip, or a wrong radius",
            "calibrate the wheel radius or the motor's speed gain; where it grows with acceleration, it is slip",
            factor,
            "1",
            std,
        )
    ]


def _late(recording: Recording, signals: Signals, motion: Motion) -> list[Finding]:
    trace = recording.trace(signals, "vx")

    def regressors(lag: float) -> np.ndarray:
        return np.concatenate([motion.mean(trace, lag), np.ones((len(motion.centre_s), 1))], axis=1)

    fit = fit_lag(motion.while_moving(motion.body.real), regressors, LAGS_S)
    if fit is None or fit.explained < 0.5 or not fit.clear(MATTERS_S):
        return []
    late = -fit.lag_s
    return [
        Finding(
            "velocity_lag",
            "warning",
            signals.topic,
            f"the velocity {'trails' if late > 0 else 'leads'} the poses of {motion.topic} by {abs(late):.3f} ± "
            f"{fit.lag_std_s:.3f} s",
            "rows mix the speed of one moment with the place of another; delays come out wrong by as much",
            "stamp both at the sensor, or take both from one topic (--topic odom=...)",
            late,
            "s",
            fit.lag_std_s,
        )
    ]
