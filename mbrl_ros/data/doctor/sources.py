"""What the recording has and lacks, and which topics say the same thing twice."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.recording import Recording
from mbrl_ros.data.signals import Signals

_MEASURED = (("vx",), ("yaw_rate",), ("x", "y"), ("steering_angle",), ("acceleration",))
_SAME_STAMP_NS = 1000


def check_sources(recording: Recording) -> list[Finding]:
    """Quantities that no topic gives, and commands that several could be."""
    found = []
    topics = ", ".join(f"{s.topic} ({s.msgtype})" for s in recording.signals.values()) or "none that can be read"
    if "pose" not in recording.sources:
        found.append(
            Finding(
                "no_pose",
                "error",
                "",
                f"0 of {len(recording.topics)} topics give a pose that can be used; readable are: {topics}",
                "nothing can be predicted or scored, and most of what the doctor looks at has nothing to be held to",
                "record an Odometry or PoseStamped topic, or name it (--topic pose=/topic)",
                0.0,
                "topics",
            )
        )
    if recording.unclear:
        found.append(
            Finding(
                "several_commands",
                "error",
                "",
                recording.unclear.removeprefix(f"{recording.path}: "),
                "a model fitted to commands that the car did not obey learns nothing",
                "say which one with --topic command=/topic",
                0.0,
                "topics",
            )
        )
    elif "command" not in recording.sources and "steering" not in recording.sources:
        found.append(
            Finding(
                "no_controls",
                "error",
                "",
                f"0 of {len(recording.topics)} topics are commands or actuator feedback (AckermannDriveStamped)",
                "no model of the car can be fitted: nothing says what it was told to do",
                "record /drive, or the steering angle and acceleration that the car reports",
                0.0,
                "topics",
            )
        )
    return found


def check_same_signals(recording: Recording) -> list[Finding]:
    """Measurements of two topics that agree to the last digit, so that one of them is a copy."""
    found = []
    for first, second in combinations(recording.measured, 2):
        same = [names for names in _MEASURED if _same(first, second, names)]
        if same:
            found.append(_copy(first, second, [name for names in same for name in names]))
    return found


def _same(first: Signals, second: Signals, names: tuple[str, ...]) -> bool:
    if not (first.has(*names) and second.has(*names) and first.filled(*names) and second.filled(*names)):
        return False
    nearest = np.clip(np.searchsorted(second.stamp_ns, first.stamp_ns - _SAME_STAMP_NS), 0, len(second) - 1)
    together = np.abs(second.stamp_ns[nearest] - first.stamp_ns) <= _SAME_STAMP_NS
    if together.sum() < 0.9 * min(len(first), len(second)) or together.sum() < 50:
        return False
    return all(
        np.ptp(first.columns[n]) > 0
        and np.array_equal(first.columns[n][together], second.columns[n][nearest][together])
        for n in names
    )


def _copy(first: Signals, second: Signals, names: list[str]) -> Finding:
    return Finding(
        "same_signal",
        "info",
        second.topic,
        f"{', '.join(names)} equal those of {first.topic} to the last digit in all {len(second)} messages",
        "one measurement, not two: a filter that fuses both counts it twice, and neither can check the other",
        f"use only one of the two; where {first.topic} is wrong, so is {second.topic}",
        float(len(second)),
        "messages",
    )
