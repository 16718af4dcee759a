"""Steering angles held against how the car turned: sign, unit, scale, offset and delay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.fields import steering_path
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.lever import fit_lever
from mbrl_ros.data.doctor.motion import LAGS_S, MATTERS_S, Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.repairs import Scale
from mbrl_ros.data.doctor.spans import Trace
from mbrl_ros.data.signals import Signals

_EXPLAINED = 0.3  # share of the turning that steering must explain before its sign means anything
_OFFSET_RAD = 0.005
_LARGEST_RAD, _DEGREES = 0.8, 1.0
_LIKELY_M = ((0.08, 0.7), (1.0, 4.2))  # wheelbases of model cars, and of karts to the longest limousines
_KNOWN = 0.1  # by which a wheelbase may differ from the one that was told
_SAME = 0.1  # by which the two steering topics may differ in scale


@dataclass(frozen=True)
class SteeringFit:
    """The understeer bicycle, ``turn rate = v (tan(steering) + offset) / (L + K v^2)`` to first order in K.

    Args:
        signals: whose steering angle.
        fit: of ``turn rate = c0 v u + c1 v^3 u + c2 v``, by lag.
        degrees: whether the angle is in degrees.
    """

    signals: Signals
    fit: LagFit
    degrees: bool = False

    def trace(self, recording: Recording) -> Trace:
        """Tangent of the angle over time, as it was fitted."""
        return _tangent(recording, self.signals, self.degrees)

    @property
    def wheelbase_m(self) -> float:
        """Length that the turning shows."""
        return float(1 / max(abs(self.fit.coefficients[0]), 1e-9))

    @property
    def wheelbase_std_m(self) -> float:
        """Its standard deviation."""
        return float(self.fit.std[0]) * self.wheelbase_m**2

    @property
    def offset_rad(self) -> float:
        """Angle that the straight-ahead steering differs by: added to the recorded angle."""
        return float(self.fit.coefficients[2] / self.fit.coefficients[0])

    @property
    def offset_std_rad(self) -> float:
        """Its standard deviation."""
        return float(self.fit.std[2] / abs(self.fit.coefficients[0]))


def fit_steering(recording: Recording, quantity: str) -> SteeringFit | None:
    """How the car turned by what ``quantity`` ("command" or "steering") says; None where there is nothing to fit."""
    motion, signals = recording.motion, recording.sources.get(quantity)
    if motion is None or signals is None or not signals.filled("steering_angle"):
        return None
    fit = _fit_angle(motion, _tangent(recording, signals, degrees=False))
    if fit is None:
        return None
    steering = SteeringFit(signals, fit)
    if _in_degrees(recording, motion, steering):
        converted = _fit_angle(motion, _tangent(recording, signals, degrees=True))
        return SteeringFit(signals, converted or fit, degrees=True)
    return steering


def _tangent(recording: Recording, signals: Signals, degrees: bool) -> Trace:
    """Far beyond what road wheels turn to, the tangent of something else says nothing: the angle itself."""
    angle = np.radians(signals.columns["steering_angle"]) if degrees else signals.columns["steering_angle"]
    large = float(np.percentile(np.abs(angle), 98)) > _LARGEST_RAD
    values = angle if large else np.tan(angle)
    return Trace(recording.time_s(signals), values[:, None], held=signals is recording.sources.get("command"))


def _fit_angle(motion: Motion, trace: Trace) -> LagFit | None:
    speed = motion.body.real

    def regressors(lag: float) -> np.ndarray:
        u = motion.mean(trace, lag)[:, 0]
        return np.stack([speed * u, speed**3 * u, speed], axis=1)

    return fit_lag(motion.while_moving(motion.turn_rate), regressors, LAGS_S)


def _in_degrees(recording: Recording, motion: Motion, steering: SteeringFit) -> bool:
    """Whether the turning shows the wheelbase of a car only where the angles are taken to be in degrees.

    Where the wheelbase is not known, the point that the poses describe must lie on a car of that length: on a
    small car it would not, if what was recorded is the angle of a big car's steering wheel.
    """
    length, known = steering.wheelbase_m * np.pi / 180, recording.wheelbase_m
    if steering.fit.explained < _EXPLAINED or np.abs(steering.signals.columns["steering_angle"]).max() < _DEGREES:
        return False
    if known is not None:
        return abs(length / known - 1) < 0.25
    if likely_wheelbase(steering.wheelbase_m) or not likely_wheelbase(length, 0.1 * length):
        return False
    lever = fit_lever(motion, motion.body.imag)
    return lever is None or lever.metres - 3 * lever.std_m < 1.2 * length


def likely_wheelbase(length_m: float, slack_m: float = 0.0) -> bool:
    """Whether cars of that wheelbase are built, big or small, to within ``slack_m`` [m]."""
    return any(low - slack_m <= length_m <= high + slack_m for low, high in _LIKELY_M)


def check_steering(recording: Recording) -> list[Finding]:
    """Sign, unit, scale, offset and delay of the commanded and of the measured steering angle."""
    found = []
    for quantity in ("command", "steering"):
        steering = fit_steering(recording, quantity)
        if steering is None:
            continue
        if steering.fit.explained < _EXPLAINED:
            if recording.motion is not None and recording.motion.denies(steering.fit):
                found.append(_contradicts(steering))
            continue
        found += [*_sign(steering), *_scale(recording, steering), *_offset(steering), *_delay(quantity, steering)]
    return found + _between_topics(recording)


def _sign(steering: SteeringFit) -> list[Finding]:
    coefficient, std = steering.fit.coefficients[0], steering.fit.std[0]
    if coefficient + 3 * std > 0:
        return []
    topic = steering.signals.topic
    return [
        Finding(
            "steering_sign",
            "error",
            topic,
            f"the car turns right where the steering angle is positive: turn rate over v tan(steering) is "
            f"{coefficient:.3f} ± {std:.3f} per metre ({100 * steering.fit.explained:.1f} % explained)",
            "a model learns to steer to the wrong side, or 'steers only left'",
            "left is positive (AckermannDrive, REP-103); turn the sign in the driver, or with --repair",
            float(coefficient),
            "1/m",
            float(std),
            Scale(topic, ((steering_path(steering.signals.msgtype), -1.0),), "right was positive before"),
        )
    ]


def _scale(recording: Recording, steering: SteeringFit) -> list[Finding]:
    topic, path = steering.signals.topic, steering_path(steering.signals.msgtype)
    length, std, known = steering.wheelbase_m, steering.wheelbase_std_m, recording.wheelbase_m
    if steering.degrees:
        largest = float(np.abs(steering.signals.columns["steering_angle"]).max())
        return [
            Finding(
                "steering_unit",
                "error",
                topic,
                f"steering angles reach {largest:.3g}, and taken as radians they would show a wheelbase of "
                f"{length * 180 / np.pi:.0f} m: they are in degrees",
                "a model steers 57 times too much or too little",
                "ROS messages carry radians (REP-103); convert in the driver, or with --repair",
                largest,
                "deg",
                repair=Scale(topic, ((path, np.pi / 180),), "degrees before"),
            )
        ]
    if known is not None:
        wrong, expected = abs(length / known - 1) > _KNOWN + 3 * std / known, f"the wheelbase is {known:.3f} m"
    else:
        wrong = not likely_wheelbase(length, 3 * std)
        expected = "no car has that wheelbase"
    if not wrong:
        return []
    factor = known / length if known else None
    advice = "--repair scales it" if factor else "say --wheelbase METRES, and --repair scales it"
    return [
        Finding(
            "steering_scale",
            "error",
            topic,
            f"the turning shows a wheelbase of {length:.3f} ± {std:.3f} m, but {expected}",
            "a model that is told the true wheelbase steers too much or too little by the ratio",
            f"record the angle of the road wheels, not of the steering wheel or the servo; {advice}",
            length,
            "m",
            std,
            Scale(topic, ((path, factor),), "the wheelbase that it showed was another") if factor else None,
        )
    ]


def _offset(steering: SteeringFit) -> list[Finding]:
    offset, std = steering.offset_rad, steering.offset_std_rad
    if abs(offset) < _OFFSET_RAD + 3 * std:
        return []
    return [
        Finding(
            "steering_offset",
            "warning",
            steering.signals.topic,
            f"the car goes straight at a steering angle of {-offset:+.4f} ± {std:.4f} rad ({np.degrees(-offset):+.2f} "
            "degrees), not at 0",
            "a model without an offset pulls to one side on every straight",
            "set the servo's or the steering column's middle anew, or let the model carry an offset",
            -offset,
            "rad",
            std,
        )
    ]


def _delay(quantity: str, steering: SteeringFit) -> list[Finding]:
    fit = steering.fit
    if fit.lag_s <= fit.lags_s[0] or fit.lag_s >= fit.lags_s[-1]:
        return []
    source = "commanded" if quantity == "command" else "measured"
    evidence = (
        f"turning trails the {source} steering angle by {fit.lag_s:.3f} ± {fit.lag_std_s:.3f} s "
        f"({100 * fit.explained:.1f} % explained), with L = {steering.wheelbase_m:.3f} ± "
        f"{steering.wheelbase_std_m:.3f} m in the understeer bicycle"
    )
    if fit.lag_s + 3 * fit.lag_std_s < -MATTERS_S:
        return [
            Finding(
                "response_precedes",
                "error",
                steering.signals.topic,
                f"the car turns {-fit.lag_s:.3f} ± {fit.lag_std_s:.3f} s before the {source} steering angle changes",
                "no cause comes after its effect: a model learns to read the steering off the future",
                "the stamps are late (taken after a filter or on another clock); stamp at the source",
                fit.lag_s,
                "s",
                fit.lag_std_s,
            )
        ]
    return [
        Finding(
            "steering_delay",
            "info",
            steering.signals.topic,
            evidence,
            "a model without this delay steers early by as much" if fit.lag_s > 0 else "none",
            "mbrl fit identifies it and the model carries it",
            fit.lag_s,
            "s",
            fit.lag_std_s,
        )
    ]


def _contradicts(steering: SteeringFit) -> Finding:
    return Finding(
        "steering_contradicts",
        "error",
        steering.signals.topic,
        f"at no lag within ±1 s does the steering angle explain more than {max(0, 100 * steering.fit.explained):.0f} % "
        "of how the car turned",
        "a model finds no relation between steering and turning and learns noise",
        "check that the topic is the steering of this car while it drove (--topic steering=..., --topic command=...)",
        max(0.0, steering.fit.explained),
    )


def _between_topics(recording: Recording) -> list[Finding]:
    """The measured angle beside the commanded one."""
    motion = recording.motion
    command, measured = recording.sources.get("command"), recording.sources.get("steering")
    if motion is None or command is None or measured is None:
        return []
    asked, got = recording.trace(command, "steering_angle"), recording.trace(measured, "steering_angle")
    fit = fit_lag(motion.while_moving(motion.mean(got)[:, 0]), lambda lag: _with_one(motion, asked, lag), LAGS_S)
    if fit is None or fit.explained < _EXPLAINED:
        return []
    slope, std = float(fit.coefficients[0]), float(fit.std[0])
    found = [
        Finding(
            "steering_actuator_delay",
            "info",
            measured.topic,
            f"the measured steering angle trails the command by {fit.lag_s:.3f} ± {fit.lag_std_s:.3f} s, at "
            f"{slope:.3f} ± {std:.3f} of its size",
            "the actuator's share of the delay; the rest is the car's",
            "mbrl fit identifies it and the model carries it",
            fit.lag_s,
            "s",
            fit.lag_std_s,
        )
    ]
    if slope > 0 and abs(slope - 1) > _SAME + 3 * std:
        found.append(
            Finding(
                "steering_topics_differ",
                "warning",
                measured.topic,
                f"the measured steering angle is {slope:.3f} ± {std:.3f} times the command on {command.topic}",
                "one of the two has the wrong scale, and a model fitted to it the wrong wheelbase",
                "compare both with the road wheels; calibrate the servo",
                slope,
                "1",
                std,
            )
        )
    return found


def _with_one(motion: Motion, trace: Trace, lag_s: float) -> np.ndarray:
    return np.concatenate([motion.mean(trace, lag_s), np.ones((len(motion.centre_s), 1))], axis=1)
