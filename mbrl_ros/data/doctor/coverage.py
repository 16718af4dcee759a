"""What the driving covers, so that one knows beforehand where a model can only guess."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mbrl_ros.data.doctor.driving import speed_trace
from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.motion import SPAN_S
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.signals import Signals

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_STANDING_MPS, _STANDING_SHARE = 0.1, 0.5
_ONE_SIDED = 0.1
_AT_LIMIT, _SATURATED, _OFTEN = 1e-3, 0.02, 0.1
_LEAST_MOVING_S = 20.0
_NARROW = 0.1


@dataclass(frozen=True, eq=False)
class Coverage:
    """What was driven, sampled twice per span of the motion; [K] each, NaN where unknown.

    Args:
        time_s: from the recording's first stamp [s].
        speed: forward [m/s].
        lateral: speed times turn rate [m/s^2].
        longitudinal: rate of the speed [m/s^2].
        slip_deg: angle between velocity and heading of the poses' point [deg].
        steering: road wheel angle, commanded or measured [rad].
        x, y: place [m].
        standing: share of the time.
        moving_s: seconds of driving.
    """

    time_s: np.ndarray
    speed: np.ndarray
    lateral: np.ndarray
    longitudinal: np.ndarray
    slip_deg: np.ndarray
    steering: np.ndarray
    x: np.ndarray
    y: np.ndarray
    standing: float
    moving_s: float
    quantities: dict[str, str] = field(
        default_factory=lambda: {
            "speed": "m/s",
            "lateral": "m/s²",
            "longitudinal": "m/s²",
            "slip_deg": "deg",
            "steering": "rad",
        }
    )

    def quantiles(self) -> dict[str, list[float]]:
        """Quantiles ``QUANTILES`` of every quantity while moving, where it is known."""
        moving = np.abs(self.speed) > _STANDING_MPS
        found = {}
        for name in self.quantities:
            values = getattr(self, name)[moving]
            values = values[np.isfinite(values)]
            if len(values):
                found[name] = [float(v) for v in np.quantile(values, QUANTILES)]
        return found


def coverage_of(recording: Recording) -> Coverage | None:
    """None where there are no poses that can be used."""
    motion, speed = recording.motion, speed_trace(recording)
    if motion is None:
        return None
    forward = motion.body.real if speed is None else motion.mean(speed)[:, 0]
    rate = np.full_like(forward, np.nan) if speed is None else motion.change(speed)[:, 0]
    steering = recording.sources.get("command") or recording.sources.get("steering")
    angle = (
        motion.mean(recording.trace(steering, "steering_angle"))[:, 0]
        if steering is not None
        else np.full_like(forward, np.nan)
    )
    place = motion.poses.at(motion.centre_s)
    known = np.isfinite(forward)
    standing = float(np.mean(np.abs(forward[known]) < _STANDING_MPS)) if known.any() else 1.0
    step = float(motion.centre_s[1] - motion.centre_s[0])
    return Coverage(
        motion.centre_s,
        forward,
        forward * motion.turn_rate,
        rate,
        np.where(motion.moving, np.degrees(np.angle(motion.body)), np.nan),
        angle,
        place[:, 0],
        place[:, 1],
        standing,
        float(known.sum() * (1 - standing) * step),
    )


def check_coverage(recording: Recording) -> list[Finding]:
    """Standing, too little driving, one speed, one side."""
    coverage = coverage_of(recording)
    standing, moving_s = (coverage.standing, coverage.moving_s) if coverage else _by_places(recording)
    found = []
    if standing > _STANDING_SHARE:
        found.append(_standing(standing, moving_s))
    if moving_s < _LEAST_MOVING_S:
        found.append(_short(moving_s))
    if coverage is None or moving_s < _LEAST_MOVING_S:
        return found
    moving = np.abs(coverage.speed) > _STANDING_MPS
    lateral = coverage.lateral[moving & np.isfinite(coverage.lateral)]
    energy = np.array([np.sum(lateral[lateral > 0] ** 2), np.sum(lateral[lateral < 0] ** 2)])
    if energy.sum() > 0 and energy.min() < _ONE_SIDED * energy.sum():
        found.append(_one_sided(energy))
    speed = coverage.speed[moving]
    low, middle, high = np.percentile(speed, [5, 50, 95])
    if high - low < _NARROW * middle:
        found.append(_one_speed(float(low), float(high)))
    return found


def _by_places(recording: Recording) -> tuple[float, float]:
    """Share of standing and seconds of driving by positions alone, where the orientation cannot be used."""
    pose = recording.sources.get("pose")
    if pose is None or len(pose) < 2:
        return 0.0, np.inf
    trace, time_s = recording.trace(pose, "x", "y"), recording.time_s(pose)
    middle = np.arange(time_s[0] + SPAN_S / 2, time_s[-1] - SPAN_S / 2, SPAN_S / 2)
    step = trace.at(middle + SPAN_S / 2) - trace.at(middle - SPAN_S / 2)
    speed = np.hypot(*step.T) / SPAN_S
    speed = speed[np.isfinite(speed)]
    if not len(speed):
        return 0.0, np.inf
    standing = float(np.mean(speed < _STANDING_MPS))
    return standing, float(len(speed) * (1 - standing) * SPAN_S / 2)


def check_saturation(recording: Recording) -> list[Finding]:
    """Commands and measured actuators that lie at one and the same largest value."""
    found = []
    for quantity in ("command", "steering"):
        signals = recording.sources.get(quantity)
        if signals is None:
            continue
        moving = _while_moving(recording, signals)
        for name in ("steering_angle", "speed", "acceleration"):
            if quantity == "steering" and name != "steering_angle":
                continue
            if signals.has(name) and signals.filled(name) and moving.sum() > 50:
                found += _saturated(signals, name, signals.columns[name][moving])
    return found


def _while_moving(recording: Recording, signals: Signals) -> np.ndarray:
    motion = recording.motion
    if motion is None:
        return np.ones(len(signals), dtype=bool)
    nearest = np.searchsorted(motion.centre_s, recording.time_s(signals)).clip(0, len(motion.centre_s) - 1)
    return np.asarray(motion.moving[nearest])


def _saturated(signals: Signals, name: str, values: np.ndarray) -> list[Finding]:
    low, high = float(values.min()), float(values.max())
    margin = _AT_LIMIT * (high - low)
    shares = {
        limit: float(np.mean(np.abs(values - limit) <= margin))
        for limit in (low, high)
        if limit != 0 and np.sign(limit) == (1 if limit == high else -1)
    }
    share = sum(shares.values())
    if share < _SATURATED or high == low:
        return []
    limits = " and ".join(f"{limit:+.3g} ({100 * part:.0f} %)" for limit, part in shares.items() if part > 0.005)
    return [
        Finding(
            "saturation",
            "warning" if share > _OFTEN else "info",
            signals.topic,
            f"{name.replace('_', ' ')} lies at its limit in {100 * share:.0f} % of the messages while moving: {limits}",
            "there the car does not show what more of it would do, and a delay cannot be read off a constant",
            "drive with commands inside the limits as well; give planners these limits",
            share,
        )
    ]


def _standing(share: float, moving_s: float) -> Finding:
    return Finding(
        "standstill",
        "warning",
        "",
        f"the car stands for {100 * share:.0f} % of the time ({moving_s:.0f} s of driving)",
        "scores and losses averaged over all rows look better than the driving deserves",
        "score and fit only where it moves (--min-speed), or cut the standing off",
        share,
    )


def _short(moving_s: float) -> Finding:
    return Finding(
        "little_driving",
        "warning",
        "",
        f"only {moving_s:.1f} s of driving",
        "too little to fit a car and to hold anything out",
        f"record more: {_LEAST_MOVING_S:g} s at the very least, some minutes for a learned model",
        moving_s,
        "s",
    )


def _one_sided(energy: np.ndarray) -> Finding:
    side, share = ("left", energy[0]) if energy[0] > energy[1] else ("right", energy[1])
    return Finding(
        "one_sided",
        "warning",
        "",
        f"{100 * share / energy.sum():.0f} % of the squared lateral acceleration is to the {side}",
        "a learned model guesses how the car turns to the other side, and a steering offset hides in it",
        "drive the course in the other direction as well, or augment by mirroring",
        float(share / energy.sum()),
    )


def _one_speed(low: float, high: float) -> Finding:
    return Finding(
        "one_speed",
        "info",
        "",
        f"nine tenths of the driving lie between {low:.2f} and {high:.2f} m/s",
        "what depends on speed (understeer, drag, the drive train) cannot be told from constants",
        "record slow and fast laps",
        high - low,
        "m/s",
    )
