"""Turn rates that were computed from the steering instead of being measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.motion import Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.spans import Trace
from mbrl_ros.data.doctor.turning import IMU
from mbrl_ros.data.signals import Signals

_EXACT = 0.98  # share of a turn rate that steering explains where it was computed from it
_CLOSER = 4.0  # times, in squares, that it is closer to the steering than to how the car turned
_LAGS_S = np.arange(-20, 21) * 0.02
_LATER_S = 0.02
_CERTAIN, _UNDERSTEER = 5.0, 0.02


@dataclass(frozen=True)
class _Turn:
    """A turn rate and where it comes from."""

    topic: str
    what: str
    rate: Callable[[float], np.ndarray]  # lag [s] -> [K, 1] over the spans of the motion, that much earlier
    independent: bool  # a gyroscope, or the poses that predictions are held to


def check_copied_yaw_rate(recording: Recording) -> list[Finding]:
    """Turn rates that steering explains to the last percent while the car turned later, or less at speed.

    Odometry of motor controllers computes ``yaw_rate = speed tan(servo) / wheelbase``; dead-reckoned headings are
    its integral. A car follows late and understeers, a formula does neither; where both agree but for noise,
    nothing can be told and nothing is said.
    """
    motion, steering = recording.motion, recording.sources.get("command") or recording.sources.get("steering")
    if motion is None or steering is None or not steering.filled("steering_angle"):
        return []
    found: list[Finding] = []
    turns = _turns(recording, motion)
    for turn in turns:  # headings come first, and one that is a copy vouches for nothing
        copied = {finding.topic for finding in found}
        truth = [
            t for t in turns if t.independent and t is not turn and not (t.what == "heading" and t.topic in copied)
        ]
        if turn.what != "gyroscope" and truth and (finding := _judged(recording, motion, steering, turn, truth)):
            found.append(finding)
    return found


def _judged(recording: Recording, motion: Motion, steering: Signals, turn: _Turn, truth: list[_Turn]) -> Finding | None:
    by_steering = _by_steering(recording, motion, steering, turn)
    if by_steering is None or by_steering.explained < _EXACT:
        return None
    fits = [(fit, t) for t in truth if (fit := _by_truth(motion, turn, t))]
    if not fits:
        return None
    best, closest = max(fits, key=lambda pair: pair[0].explained)
    nearer = _CLOSER * (1 - by_steering.explained) < 1 - best.explained
    if not nearer or not _differs(motion, turn, closest):
        return None
    return _copied(recording, turn, steering, by_steering, best)


def _turns(recording: Recording, motion: Motion) -> list[_Turn]:
    headings, rates = [], []
    for s in recording.measured:
        if s.has("yaw") and s.filled("x", "y") and (own := recording.motion_by(s)) is not None:
            heading = Trace(own.poses.time_s, own.poses.values[:, 2:])
            headings.append(_Turn(s.topic, "heading", partial(motion.change, heading), s.topic == motion.topic))
        if s.has("yaw_rate") and s.filled("yaw_rate"):
            gyro = s.msgtype == IMU
            rate = partial(motion.mean, recording.trace(s, "yaw_rate"))
            rates.append(_Turn(s.topic, "gyroscope" if gyro else "yaw rate", rate, gyro))
    return headings + rates


def _by_steering(recording: Recording, motion: Motion, steering: Signals, turn: _Turn) -> LagFit | None:
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

    return fit_lag(motion.while_moving(turn.rate(0.0)[:, 0]), regressors, _LAGS_S)


def _by_truth(motion: Motion, turn: _Turn, truth: _Turn) -> LagFit | None:
    """At the best lag, so that clocks that differ do not make a copy of an honest measurement."""
    return fit_lag(motion.while_moving(turn.rate(0.0)[:, 0]), truth.rate, _LAGS_S)


def _differs(motion: Motion, turn: _Turn, truth: _Turn) -> bool:
    """Whether the car turned later than ``turn`` says, or less at speed, beyond doubt."""
    speed = np.abs(motion.velocity)

    def regressors(lag: float) -> np.ndarray:
        said = turn.rate(lag)[:, 0]
        return np.stack([said, speed**2 * said], axis=1)

    fit = fit_lag(motion.while_moving(truth.rate(0.0)[:, 0]), regressors, _LAGS_S)
    if fit is None:
        return False
    share = fit.coefficients[1] * float(np.nanmean(speed[motion.moving] ** 2)) / fit.coefficients[0]
    understeers = abs(fit.coefficients[1]) > _CERTAIN * fit.std[1] and abs(share) > _UNDERSTEER
    return understeers or fit.lag_s - 3 * fit.lag_std_s > _LATER_S


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
        f"{100 * max(by_truth.explained, 0.0):.2f} % at most",
        "it was computed from the steering, not measured: a model learns the formula and neither slip nor delay",
        "take the yaw rate from a gyroscope and the pose from a localisation (--topic yaw_rate=..., --topic pose=...)",
        by_steering.explained,
    )
