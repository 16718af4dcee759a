"""What the findings are read off, side by side, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.driving import fit_acceleration, speed_trace
from mbrl_ros.data.doctor.lag import LagFit
from mbrl_ros.data.doctor.motion import Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.steering import fit_steering
from mbrl_ros.data.doctor.turning import IMU

POSES = "poses"


@dataclass(frozen=True, eq=False)
class Evidence:
    """Means over the spans of the motion, [K] each, by where they come from; the poses' own first.

    Args:
        time_s: middles of the spans, from the recording's first stamp [s].
        turning: turn rates [rad/s]; of steering, what the fitted bicycle makes of it.
        accelerating: rates of the forward speed [m/s^2].
        lags: how well a cause explains its response, by lag; by the names of response and cause.
    """

    time_s: np.ndarray
    turning: dict[str, np.ndarray]
    accelerating: dict[str, np.ndarray]
    lags: dict[tuple[str, str], LagFit]


def evidence_of(recording: Recording) -> Evidence | None:
    """None where there are no poses that can be used."""
    motion = recording.motion
    if motion is None:
        return None
    turning, lags = {POSES: motion.turn_rate}, dict[tuple[str, str], LagFit]()
    for signals in recording.measured:
        if signals.has("yaw_rate") and signals.filled("yaw_rate"):
            trace = recording.trace(signals, "yaw_rate")
            name = f"{signals.topic} {'gyroscope' if signals.msgtype == IMU else 'yaw rate'}"
            turning[name] = motion.mean(trace)[:, 0]
            if fit := motion.heading_by(trace):
                lags["the heading", name] = fit
    for quantity in ("command", "steering"):
        steering = fit_steering(recording, quantity)
        if steering is not None and steering.fit.explained > 0:
            name = f"{steering.signals.topic} steering"
            lags["turning", name] = steering.fit
            c0, c1, c2 = steering.fit.coefficients
            u = motion.mean(steering.trace(recording))[:, 0]
            speed = motion.body.real
            turning[f"{name}, bicycle"] = c0 * speed * u + c1 * speed**3 * u + c2 * speed
    return Evidence(motion.centre_s, turning, _accelerating(recording, motion, lags), lags)


def _accelerating(recording: Recording, motion: Motion, lags: dict[tuple[str, str], LagFit]) -> dict[str, np.ndarray]:
    speed = speed_trace(recording)
    if speed is None:
        return {}
    found = {"speed's rate": motion.change(speed)[:, 0]}
    measured = recording.sources.get("acceleration")
    if measured is not None and measured.filled("acceleration"):
        found[f"{measured.topic} acceleration"] = motion.mean(recording.trace(measured, "acceleration"))[:, 0]
    for signals in recording.measured:
        if signals.msgtype == IMU and signals is not measured and signals.filled("acceleration"):
            found[f"{signals.topic} x"] = motion.mean(recording.trace(signals, "acceleration"))[:, 0]
    if measured is not None and (fit := fit_acceleration(recording)):
        lags["the speed's rate", f"{measured.topic} acceleration"] = fit
    return found
