"""Values that cannot be true, sensors that are stuck, poses that jump, covariances that nobody filled."""

from __future__ import annotations

import numpy as np

from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.recording import Recording, TopicLog
from mbrl_ros.data.doctor.repairs import Drop
from mbrl_ros.data.doctor.spans import Trace
from mbrl_ros.data.resampling import runs
from mbrl_ros.data.signals import QUATERNION, Signals

_STUCK_S = 0.5
_DRIVEN_M = 0.06  # in 0.2 s, both before and after
_JUMP = 12.0  # robust standard deviations
_JUMP_M, _JUMP_S = 0.3, 0.1
_COVARIANCES = ("pose_covariance", "twist_covariance", "gyro_covariance", "acceleration_covariance")


def check_values(recording: Recording) -> list[Finding]:
    """Values that are not finite or beyond what any car reaches, and orientations that are none."""
    found = []
    for log in recording.topics.values():
        seen = np.zeros(len(log), dtype=bool)
        for what, rows in log.bad_values.items():
            new = np.flatnonzero(rows & ~seen)
            seen |= rows
            if len(new):
                found.append(_impossible(log, what, new, recording.used(log.topic)))
    return found


def _impossible(log: TopicLog, what: str, rows: np.ndarray, used: bool) -> Finding:
    return Finding(
        "impossible_values",
        "error" if used else "warning",
        log.topic,
        f"in {len(rows)} of {len(log)} messages {what}; the first is message {rows[0]}",
        "one such value spoils a fit, a normaliser and a filter's state; reading for training stops at it",
        "leave the messages out (--repair, or --on-bad drop where the recording is read), and look at the driver",
        float(len(rows)),
        "messages",
        repair=Drop(log.topic, rows, what),
    )


def check_stuck(recording: Recording) -> list[Finding]:
    """Measurements that repeat themselves to the last digit while the car moves."""
    found = []
    for signals in recording.measured:
        if not recording.used(signals.topic) or signals.msgtype.startswith("ackermann_msgs/"):
            continue
        names = [n for n in signals.columns if not n.endswith("covariance")]
        table = np.stack([signals.columns[n] for n in names], axis=1)
        time_s = recording.time_s(signals)
        same = np.concatenate([[False], np.all(table[1:] == table[:-1], axis=1)])
        lengths = [(time_s[r.start - 1], time_s[r.stop - 1]) for r in runs(same)]
        moved = [(a, b) for a, b in lengths if b - a > _STUCK_S and _moved(recording, signals, a, b)]
        if moved:
            found.append(_stuck(signals, moved))
    return found


def _moved(recording: Recording, signals: Signals, start_s: float, end_s: float) -> bool:
    """Whether any other topic moved or measured motion in the meantime."""
    for other in recording.measured:
        if other.topic == signals.topic:
            continue
        time_s = recording.time_s(other)
        inside = (time_s >= start_s) & (time_s <= end_s)
        for name in ("vx", "speed"):
            if other.has(name) and inside.any() and np.abs(other.columns[name][inside]).max() > 0.3:
                return True
    before = recording.trace(signals, "x", "y") if signals.has("x") else None
    if before is None:
        return False
    ends = before.at(np.array([start_s - 0.2, start_s, end_s, end_s + 0.2]))
    steps = np.hypot(*(ends[1::2] - ends[::2]).T)
    return bool(np.isfinite(steps).all() and steps.min() > _DRIVEN_M)


def _stuck(signals: Signals, moved: list[tuple[float, float]]) -> Finding:
    start, end = max(moved, key=lambda span: span[1] - span[0])
    return Finding(
        "stuck",
        "warning",
        signals.topic,
        f"{len(moved)} time{'s' if len(moved) > 1 else ''} every field stays the same while the car moves, for "
        f"{end - start:.2f} s at {start:.1f} s",
        "a model learns that the car stands still, or turns evenly, while it does not",
        "look at the driver: it repeats its last message where it should be silent; cut the recording there",
        end - start,
        "s",
    )


def check_jumps(recording: Recording) -> list[Finding]:
    """Poses that leap further than the car can have driven since the last one."""
    pose, velocity = recording.sources.get("pose"), recording.sources.get("velocity")
    if pose is None or len(pose) < 50:
        return []
    time_s = recording.time_s(pose)
    steps = np.diff(time_s)
    distance = np.hypot(np.diff(pose.columns["x"]), np.diff(pose.columns["y"]))
    speed = _speed(recording, velocity, time_s, distance / steps)
    excess = np.abs(distance - speed * steps)
    typical = 1.4826 * float(np.median(excess))
    leaps = (excess > _JUMP * typical) & (excess > _JUMP_M + _JUMP_S * speed) & (steps < 1.0)
    if not leaps.any():
        return []
    first = int(np.flatnonzero(leaps)[0])
    return [
        Finding(
            "pose_jumps",
            "warning",
            pose.topic,
            f"{int(leaps.sum())} times the pose leaps away from where the speed takes the car, by "
            f"{float(excess[leaps].max()):.2f} m at most; first at {time_s[first + 1]:.2f} s",
            "predictions are held to places where the car never was; headings and rates break there",
            "take the pose from a continuous frame (odom), or cut the recording at the jumps",
            float(excess[leaps].max()),
            "m",
        )
    ]


def _speed(recording: Recording, velocity: Signals | None, time_s: np.ndarray, own: np.ndarray) -> np.ndarray:
    """[N-1] speed between poses: measured where it is of the poses' size, otherwise the poses' own running median."""
    width = 11
    padded = np.pad(own, width // 2, mode="edge")
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1)
    if velocity is None or not velocity.filled("vx", "vy"):
        return np.asarray(usual)
    trace = Trace(recording.time_s(velocity), np.hypot(velocity.columns["vx"], velocity.columns["vy"])[:, None])
    measured = trace.mean(time_s[:-1], time_s[1:])[:, 0]
    total = np.nansum(measured), usual[np.isfinite(measured)].sum()
    if not 0.5 * total[1] < total[0] < 2.0 * total[1]:
        return np.asarray(usual)
    return np.where(np.isfinite(measured), measured, usual)


def check_covariances(recording: Recording) -> list[Finding]:
    """Covariances that are zero throughout, which means unknown and not exact."""
    empty = {}
    for signals in recording.signals.values():
        names = [n for n in _COVARIANCES if signals.has(n) and not signals.filled(n)]
        if names:
            empty[signals.topic] = names
    if not empty:
        return []
    shown = "; ".join(
        f"{topic}: {', '.join(n.removesuffix('_covariance') for n in names)}" for topic, names in empty.items()
    )
    return [
        Finding(
            "covariance_unknown",
            "info",
            "",
            f"covariances are all zero in every message of {len(empty)} topics ({shown}): unknown, not exact",
            "none for a fit; a filter that believes them trusts these measurements without bounds",
            "give the estimator the sensors' noise in its settings; fill the covariances in the drivers",
            float(len(empty)),
            "topics",
        )
    ]


def check_tilt(recording: Recording) -> list[Finding]:
    """Frames of poses whose z axis does not point up."""
    found = []
    for signals in recording.signals.values():
        tilt = recording.tilt_deg(signals) if signals.has(*QUATERNION, "x") else 0.0
        if tilt > _UPRIGHT_DEG:
            found.append(_tilted(recording, signals, tilt))
    return found


_UPRIGHT_DEG = 20.0


def _tilted(recording: Recording, signals: Signals, tilt: float) -> Finding:
    forward = _forward(recording, signals)
    return Finding(
        "frame_tilted",
        "error" if recording.used(signals.topic) else "warning",
        signals.topic,
        f"the z axis of '{signals.child_frame_id or signals.frame_id}' lies {tilt:.0f} degrees from vertical (median)"
        + (
            f"; the car moves along the frame's {forward[0]} axis ({100 * forward[1]:.0f} % of its way)"
            if forward
            else ""
        ),
        "its yaw is no heading, its x no forward, its z rate no yaw rate: a model takes other axes for motion",
        "x forward, y left, z up (REP-103): rotate poses, twists and Imu into base_link by the mounting's transform",
        tilt,
        "deg",
    )


def _forward(recording: Recording, signals: Signals) -> tuple[str, float] | None:
    """The axis of the tilted frame along which the car moves, and its share of the squared motion."""
    if not signals.has("z"):
        return None
    qx, qy, qz, qw = (signals.columns[name] for name in QUATERNION)
    trace = recording.trace(signals, "x", "y", "z")
    time_s = recording.time_s(signals)
    velocity = (trace.at(time_s + 0.2) - trace.at(time_s - 0.2)) / 0.4
    known = np.isfinite(velocity).all(axis=1)
    vector = np.stack([-qx, -qy, -qz], axis=1)[known]
    cross = 2 * np.cross(vector, velocity[known])
    body = velocity[known] + qw[known, None] * cross + np.cross(vector, cross)
    squares = (body**2).sum(axis=0)
    if squares.sum() < 0.01 * known.sum():
        return None
    best = int(squares.argmax())
    return "xyz"[best], float(squares[best] / squares.sum())
