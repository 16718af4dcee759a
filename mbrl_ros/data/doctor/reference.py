"""Which point of the car poses and velocities describe, and whether its heading points where the car goes."""

from __future__ import annotations

import numpy as np

from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.lever import Lever, fit_lever
from mbrl_ros.data.doctor.motion import Motion
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.doctor.steering import fit_steering, likely_wheelbase
from mbrl_ros.data.doctor.velocity import fit_frames, frame_of

_OFFSET_RAD = 0.005
_APART = 0.25  # of a wheelbase, by which two points are two
_REAR, _BEYOND = 0.2, 1.2  # shares of the wheelbase
_EXPLAINED = 0.1


def check_reference_point(recording: Recording) -> list[Finding]:
    """The point that the poses describe, and the one that the velocity describes."""
    motion = recording.motion
    if motion is None or (by_poses := fit_lever(motion, motion.body.imag)) is None:
        return []
    wheelbase = _wheelbase(recording)
    found = _point(recording, motion.topic, by_poses, wheelbase)
    found += _offset(motion.topic, by_poses)
    by_twist = _by_twist(recording, motion)
    if by_twist is not None:
        found += _two_points(recording, by_poses, by_twist, wheelbase)
    return found


def _wheelbase(recording: Recording) -> float | None:
    """As told, or as the turning shows."""
    if recording.wheelbase_m is not None:
        return recording.wheelbase_m
    fits = (fit_steering(recording, quantity) for quantity in ("steering", "command"))
    good = [s for s in fits if s is not None and s.fit.explained > 0.5 and likely_wheelbase(s.wheelbase_m)]
    return good[0].wheelbase_m if good else None


def _by_twist(recording: Recording, motion: Motion) -> Lever | None:
    velocity = recording.sources.get("velocity")
    if velocity is None or not velocity.filled("vy"):
        return None
    means = motion.mean(recording.trace(velocity, "vx", "vy"))
    fits = fit_frames(motion, means[:, 0] + 1j * means[:, 1])
    if fits is None or frame_of(fits) != "body" or abs(fits["body"].angle_rad) > 0.1:
        return None
    return fit_lever(motion, means[:, 1] * fits["body"].scale)


def _point(recording: Recording, topic: str, lever: Lever, wheelbase: float | None) -> list[Finding]:
    recorded = recording.signals[topic].reference_point
    told = recording.reference_point or recorded
    if wheelbase is None:
        return []
    share, std = lever.metres / wheelbase, lever.std_m / wheelbase
    if std > _APART / 2:
        return []
    rear, beyond = share + 2 * std < _REAR, share - 3 * std > _BEYOND or share + 3 * std < -_REAR
    place = "outside of the wheelbase" if beyond else "near the rear axle" if rear else "between the axles"
    contradicted = (told == "cg" and rear) or (told == "rear_axle" and share - 3 * std > _REAR)
    assumed = not told and rear
    evidence = (
        f"the poses are those of a point {lever.metres:.2f} ± {lever.std_m:.2f} m ahead of the rear axle, "
        f"{share:.2f} of the wheelbase that turning shows ({wheelbase:.2f} m): {place}"
    )
    fix = "say --reference-point rear_axle where the recording is read" if rear else "nothing: 'cg' is what is assumed"
    if beyond:
        fix = "look for an antenna's lever arm or a heading that is taken from the path; transform poses to base_link"
    if contradicted:
        evidence += f", yet {'the recording says' if told == recorded else '--reference-point says'} {told}"
        fix = "correct the label, or the transform of the estimator that wrote the poses"
    return [
        Finding(
            "reference_point",
            "warning" if beyond or contradicted or assumed else "info",
            topic,
            evidence,
            "a model's sideways velocity and its levers are those of another point"
            if beyond or contradicted or assumed
            else "none",
            fix,
            lever.metres,
            "m",
            lever.std_m,
        )
    ]


def _offset(topic: str, lever: Lever) -> list[Finding]:
    if abs(lever.offset_rad) < _OFFSET_RAD + 3 * lever.offset_std_rad:
        return []
    degrees, std = np.degrees(lever.offset_rad), np.degrees(lever.offset_std_rad)
    return [
        Finding(
            "heading_offset",
            "warning",
            topic,
            f"on straights the car goes {degrees:+.2f} ± {std:.2f} degrees (left positive) beside its recorded heading",
            f"a model without sideways velocity is {10 * abs(lever.offset_rad):.2f} m beside the road after 10 m",
            "correct the mounting angle of the sensor that gives the heading",
            float(degrees),
            "deg",
            float(std),
        )
    ]


def _two_points(recording: Recording, poses: Lever, twist: Lever, wheelbase: float | None) -> list[Finding]:
    apart = twist.metres - poses.metres
    std = float(np.hypot(poses.std_m, twist.std_m))
    size = wheelbase or max(abs(twist.metres), abs(poses.metres))
    if abs(apart) < _APART * size + 3 * std or max(poses.fit.explained, twist.fit.explained) < _EXPLAINED:
        return []
    velocity = recording.sources["velocity"].topic
    still = poses.fit.rms < 0.1 * twist.fit.rms or abs(poses.metres) < 0.2 * size
    return [
        Finding(
            "two_reference_points",
            "warning",
            velocity,
            f"its vy is that of a point {twist.metres:.2f} ± {twist.std_m:.2f} m ahead of the rear axle, "
            f"the poses move as one {poses.metres:.2f} ± {poses.std_m:.2f} m ahead"
            + (": the heading may have been taken from the path itself" if still else ""),
            "predictions begun with one and held to the other are wrong in every corner",
            "take both from one estimator, or leave vy out; say which point it is with --reference-point",
            apart,
            "m",
            std,
        )
    ]
