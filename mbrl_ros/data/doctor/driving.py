"""Speeds and accelerations, commanded and measured, held against how the speed changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mbrl_ros.data.doctor.fields import acceleration_path
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.motion import LAGS_S, MATTERS_S, Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.repairs import Scale
from mbrl_ros.data.doctor.spans import Trace
from mbrl_ros.data.doctor.turning import IMU
from mbrl_ros.data.signals import Signals

_LAGS_S = np.arange(-200, 51) * 0.01  # filters delay by seconds, and nothing measures ahead
_EXPLAINED = 0.5
_CHANGING_MPS2 = 0.1  # rms of the speed's rate below which there is nothing to compare
_SCALE = 0.15
_GRAVITY, _IN_G = 9.80665, 0.35  # filters flatten what is in g as well
_FEWEST, _ALIKE = 40, 0.8
_DRIVEN = {"speed": "speed", "acceleration": "speed's rate"}
_COMMANDED = 0.3  # by which a driven speed may differ from the commanded one


def speed_trace(recording: Recording) -> Trace | None:
    """Forward speed over time, scaled to the poses where it is recorded and agrees with them; otherwise theirs.

    A velocity in another frame, or turned, still has the right magnitude.
    """
    motion, velocity = recording.motion, recording.sources.get("velocity")
    if motion is None:
        return None
    by_poses = motion.body.real
    known = np.isfinite(by_poses)
    candidates = []
    if velocity is not None and velocity.filled("vx", "vy"):
        vx, vy = velocity.columns["vx"], velocity.columns["vy"]
        candidates = [Trace(recording.time_s(velocity), column[:, None]) for column in (vx, np.hypot(vx, vy))]
    for trace in candidates:
        means = motion.mean(trace)[:, 0]
        both = known & np.isfinite(means) & motion.moving
        if both.sum() > _FEWEST and np.corrcoef(means[both], by_poses[both])[0, 1] > _ALIKE:
            scale = float(means[both] @ by_poses[both] / (means[both] @ means[both]))
            return Trace(trace.time_s, scale * trace.values)
    return Trace(motion.centre_s[known], by_poses[known, None]) if known.sum() > _FEWEST else None


def check_acceleration(recording: Recording) -> list[Finding]:
    """Sign, unit, scale and lag of the measured longitudinal acceleration."""
    fit = fit_acceleration(recording)
    return _judged(recording.sources["acceleration"], fit) if fit else []


def fit_acceleration(recording: Recording) -> LagFit | None:
    """The speed's rate by the measured acceleration and a constant; None where there is nothing to fit.

    The accelerometer of an Imu is looked at with its other axes.
    """
    signals, motion, speed = recording.sources.get("acceleration"), recording.motion, speed_trace(recording)
    if signals is None or motion is None or speed is None or signals.msgtype == IMU:
        return None
    rate = motion.while_moving(motion.change(speed)[:, 0])
    changing = np.any(np.isfinite(rate)) and np.sqrt(np.nanmean(rate**2)) > _CHANGING_MPS2
    if not changing or not signals.filled("acceleration"):
        return None
    return fit_lag(rate, _and_one(motion, recording.trace(signals, "acceleration")), _LAGS_S)


def _judged(signals: Signals, fit: LagFit) -> list[Finding]:
    topic, path = signals.topic, acceleration_path(signals.msgtype)
    slope, std = float(fit.coefficients[0]), float(fit.std[0])
    if fit.explained < _EXPLAINED:
        return [
            Finding(
                "acceleration_contradicts",
                "warning",
                topic,
                f"at no lag within 2 s does the measured acceleration explain more than "
                f"{max(0.0, 100 * fit.explained):.0f} % of how the speed changed",
                "as an action it teaches a model nothing, as a state it contradicts the speed",
                "leave it out (--topic acceleration=none): the speed's own rate takes its place",
                max(0.0, fit.explained),
            )
        ]
    found = []
    if slope + 3 * std < 0:
        found.append(
            Finding(
                "acceleration_sign",
                "error",
                topic,
                f"the speed changes {slope:.2f} ± {std:.2f} times as fast as the measured acceleration says",
                "a model brakes where it should accelerate",
                "forward is positive (REP-103); turn the sign in the driver, or with --repair",
                slope,
                "1",
                std,
                Scale(topic, ((path, -1.0),), "backward was positive before"),
            )
        )
    elif abs(slope / _GRAVITY - 1) < _IN_G:
        found.append(
            Finding(
                "acceleration_unit",
                "error",
                topic,
                f"the speed changes {slope:.2f} ± {std:.2f} times as fast as the acceleration says: it is in g",
                "a model accelerates ten times too little",
                "ROS messages carry m/s^2 (REP-103); convert in the driver, or with --repair",
                slope,
                "1",
                std,
                Scale(topic, ((path, _GRAVITY),), "in g before"),
            )
        )
    elif abs(slope - 1) > _SCALE + 3 * std:
        found.append(
            Finding(
                "acceleration_scale",
                "warning",
                topic,
                f"the speed changes {slope:.2f} ± {std:.2f} times as fast as the measured acceleration says",
                "as a known action it moves predicted speeds by the wrong amount",
                "calibrate it, or leave it out (--topic acceleration=none)",
                slope,
                "1",
                std,
            )
        )
    if fit.clear(MATTERS_S):
        late = -fit.lag_s
        found.append(
            Finding(
                "acceleration_lag",
                "warning",
                topic,
                f"the measured acceleration {'trails' if late > 0 else 'leads'} the speed's own rate by "
                f"{abs(late):.2f} ± {fit.lag_std_s:.2f} s (it explains {100 * fit.explained:.1f} % of it there)",
                "as a known action it acts on the speed after the fact: predicted speeds are late by as much",
                "leave it out (--topic acceleration=none): the speed's own rate takes its place",
                late,
                "s",
                fit.lag_std_s,
            )
        )
    return found


def check_drive_command(recording: Recording) -> list[Finding]:
    """Delay and gain from the commanded speed or acceleration to the driven speed."""
    command, motion, speed = recording.sources.get("command"), recording.motion, speed_trace(recording)
    if command is None or motion is None or speed is None:
        return []
    found = []
    rate = motion.while_moving(motion.change(speed)[:, 0])
    driven = motion.mean(speed)[:, 0]
    for name in _DRIVEN:
        if not command.filled(name):
            continue
        asked = recording.trace(command, name)
        fit = _follow(motion, asked, driven) if name == "speed" else _accelerate(motion, asked, driven, rate)
        if fit is None or fit.explained < 0.1 or not 3 * fit.std[0] < abs(fit.coefficients[0]):
            found.append(_no_response(command.topic, name, fit))
        elif fit.lags_s[0] < fit.lag_s < fit.lags_s[-1]:
            found.append(_response(command.topic, name, fit))
        if name == "speed":
            found += _reached(command, motion, asked, driven)
    return found


def _follow(motion: Motion, asked: Trace, driven: np.ndarray) -> LagFit | None:
    """The driven speed by the commanded one; the lag is delay and speed controller together."""
    return fit_lag(motion.while_moving(driven), _and_one(motion, asked), LAGS_S)


def _accelerate(motion: Motion, asked: Trace, driven: np.ndarray, rate: np.ndarray) -> LagFit | None:
    """The speed's rate by the commanded acceleration and the speed, whose share is drag."""

    def regressors(lag: float) -> np.ndarray:
        return np.stack([motion.mean(asked, lag)[:, 0], np.ones_like(driven), driven], axis=1)

    return fit_lag(rate, regressors, LAGS_S)


def _response(topic: str, name: str, fit: LagFit) -> Finding:
    precedes = fit.explained > _EXPLAINED and fit.lag_s + 3 * fit.lag_std_s < -MATTERS_S
    return Finding(
        "response_precedes" if precedes else "drive_delay",
        "error" if precedes else "info",
        topic,
        f"the {_DRIVEN[name]} trails the commanded {name} by {fit.lag_s:.3f} ± {fit.lag_std_s:.3f} s, at "
        f"{fit.coefficients[0]:.2f} ± {fit.std[0]:.2f} of its size ({100 * fit.explained:.0f} % explained)",
        "no cause comes after its effect" if precedes else "a model without this delay accelerates early by as much",
        "stamp commands when they are sent" if precedes else "mbrl fit identifies it and the model carries it",
        fit.lag_s,
        "s",
        fit.lag_std_s,
    )


def _no_response(topic: str, name: str, fit: LagFit | None) -> Finding:
    gain, std = (float(fit.coefficients[0]), float(fit.std[0])) if fit else (0.0, 0.0)
    return Finding(
        "drive_response_unseen",
        "info",
        topic,
        f"the {_DRIVEN[name]} follows the commanded {name} by {gain:.3f} ± {std:.3f} of its size: too little to tell a "
        "delay from",
        "the drive train's delay and gain cannot be identified from this recording",
        "record steps: accelerate and brake several times over the whole range of speeds",
        gain,
        "1",
        std,
    )


def _reached(command: Signals, motion: Motion, asked: Trace, driven: np.ndarray) -> list[Finding]:
    """Whether the car drives as fast as it is told where the command has not changed for a second."""
    now, before = motion.mean(asked)[:, 0], motion.mean(asked, 1.0)[:, 0]
    steady = motion.moving & (np.abs(now - before) < 0.02 * np.abs(now)) & np.isfinite(driven) & (now > 0)
    if steady.sum() < 40:
        return []
    ratio = driven[steady] / now[steady]
    middle = float(np.median(ratio))
    std = 1.25 * 1.4826 * float(np.median(np.abs(ratio - middle))) / np.sqrt(max(steady.sum() / 10, 1))
    if abs(middle - 1) < _COMMANDED + 3 * std:
        return []
    return [
        Finding(
            "speed_not_reached",
            "warning",
            command.topic,
            f"where the commanded speed is steady (median {np.median(now[steady]):.2f} m/s) the car drives "
            f"{middle:.2f} ± {std:.2f} times as fast",
            "the command says little about the speed: a limiter, another gain, or not the command that the car obeyed",
            "record what was sent to the motor controller, or take measured speeds as actions",
            middle,
            "1",
            std,
        )
    ]


def _and_one(motion: Motion, trace: Trace) -> Callable[[float], np.ndarray]:
    one = np.ones((len(motion.centre_s), 1))
    return lambda lag: np.concatenate([motion.mean(trace, lag), one], axis=1)
