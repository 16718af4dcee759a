"""All checks on one recording, and what remains once consequences are taken off their causes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_ros.core.layout import ReferencePoint
from mbrl_ros.data.doctor.clocks import Latency, check_clocks, latency
from mbrl_ros.data.doctor.copies import check_copied_yaw_rate
from mbrl_ros.data.doctor.coverage import QUANTILES, Coverage, check_coverage, check_saturation, coverage_of
from mbrl_ros.data.doctor.driving import check_acceleration, check_drive_command
from mbrl_ros.data.doctor.evidence import Evidence, evidence_of
from mbrl_ros.data.doctor.findings import SEVERITIES, Finding, Severity, worst
from mbrl_ros.data.doctor.imu import check_imu
from mbrl_ros.data.doctor.rates import Rhythm, check_rates, rhythm_in
from mbrl_ros.data.doctor.recording import Recording, read_recording
from mbrl_ros.data.doctor.reference import check_reference_point
from mbrl_ros.data.doctor.sources import check_same_signals, check_sources
from mbrl_ros.data.doctor.stamps import check_damage, check_stamps
from mbrl_ros.data.doctor.steering import check_steering
from mbrl_ros.data.doctor.turning import check_yaw_rate
from mbrl_ros.data.doctor.values import check_covariances, check_jumps, check_stuck, check_tilt, check_values
from mbrl_ros.data.doctor.velocity import check_velocity
from mbrl_ros.data.topics import TopicMapping

CHECKS: tuple[Callable[[Recording], list[Finding]], ...] = (
    check_damage,
    check_sources,
    check_stamps,
    check_values,
    check_clocks,
    check_rates,
    check_tilt,
    check_stuck,
    check_jumps,
    check_velocity,
    check_copied_yaw_rate,
    check_yaw_rate,
    check_imu,
    check_steering,
    check_acceleration,
    check_drive_command,
    check_reference_point,
    check_same_signals,
    check_saturation,
    check_coverage,
    check_covariances,
)
"""In the order in which they are asked; of two findings of one severity the earlier stands first."""

CAUSES = {
    "copied_yaw_rate": ("yaw_rate_lag", "yaw_rate_scale", "yaw_rate_contradicts"),
    "clock_offset": ("yaw_rate_lag", "velocity_lag", "yaw_rate_contradicts", "response_precedes"),
    "future_stamps": ("yaw_rate_lag", "velocity_lag", "yaw_rate_contradicts", "response_precedes"),
    "steering_unit": ("steering_topics_differ",),
    "steering_scale": ("steering_topics_differ",),
    "two_reference_points": ("reference_point",),
    "stuck": ("pose_jumps",),
    "acceleration_lag": ("acceleration_scale",),  # a filter that delays also flattens
    "clock_drift": ("yaw_rate_lag", "velocity_lag", "response_precedes"),
    "imu_tilted": ("yaw_rate_contradicts", "yaw_rate_scale", "yaw_rate_lag"),
}
"""Findings that explain others on the same topic, which are then left out."""


@dataclass(frozen=True, eq=False)
class TopicFacts:
    """One row of the table of topics."""

    topic: str
    msgtype: str
    messages: int
    feeds: tuple[str, ...]
    rhythm: Rhythm | None
    latency: Latency | None

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        spoken, late = self.rhythm, self.latency
        return {
            "topic": self.topic,
            "type": self.msgtype,
            "messages": self.messages,
            "feeds": list(self.feeds),
            "rate_hz": spoken.rate_hz if spoken else None,
            "period_s": spoken.period_s if spoken else None,
            "jitter": spoken.jitter if spoken else None,
            "lost": spoken.lost if spoken else None,
            "silences": len(spoken.silences_s) if spoken else 0,
            "longest_silence_s": float(spoken.silences_s.max()) if spoken and len(spoken.silences_s) else None,
            "latency_s": late.median_s if late else None,
        }


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Everything that was found.

    Args:
        recording: what was looked at.
        findings: the worst first.
        topics: facts of every topic.
        coverage: what was driven, None where no pose says.
    """

    recording: Recording
    findings: tuple[Finding, ...]
    topics: tuple[TopicFacts, ...]
    coverage: Coverage | None

    @property
    def evidence(self) -> Evidence | None:
        """What the findings about motion are read off, None where no pose says."""
        with np.errstate(all="ignore"):
            return evidence_of(self.recording)

    @property
    def worst(self) -> Severity | None:
        """The highest severity, None where nothing was found."""
        return worst(list(self.findings))

    def as_json(self) -> dict[str, Any]:
        """What scripts read."""
        log = self.recording.signals.values()
        seconds = max((float(s.stamp_ns[-1] - self.recording.origin_ns) * 1e-9 for s in log), default=0.0)
        covered = self.coverage
        return {
            "bag": str(self.recording.path),
            "verdict": self.worst or "healthy",
            "seconds": seconds,
            "sources": {quantity: s.topic for quantity, s in self.recording.sources.items()},
            "notes": list(self.recording.notes),
            "findings": [finding.as_json() for finding in self.findings],
            "topics": [facts.as_json() for facts in self.topics],
            "coverage": {
                "standing_share": covered.standing,
                "moving_s": covered.moving_s,
                "quantiles": list(QUANTILES),
                "units": covered.quantities,
                **covered.quantiles(),
            }
            if covered
            else None,
        }


def examine(
    path: str | Path,
    mapping: TopicMapping | None = None,
    wheelbase_m: float | None = None,
    reference_point: ReferencePoint | None = None,
) -> Diagnosis:
    """Look at a recording with every check.

    Args:
        path: rosbag2 folder or storage file, or ROS 1 ``.bag``.
        mapping: topics by quantity, chosen by content where it says nothing.
        wheelbase_m: of the car, where it is known: it lets the scale of the steering be judged.
        reference_point: that the poses describe, where it is known: what the poses show is held to it.

    Raises:
        DataError: see `read_recording`.
    """
    recording = read_recording(path, mapping, wheelbase_m, reference_point)
    with np.errstate(all="ignore"):
        found = [finding for check in CHECKS for finding in check(recording)]
        covered = coverage_of(recording)
    found = _without_consequences(found)
    found.sort(key=lambda finding: -SEVERITIES.index(finding.severity))
    facts = tuple(
        TopicFacts(topic, log.msgtype, len(log), tuple(recording.feeds(topic)), rhythm_in(recording, log), latency(log))
        for topic, log in sorted(recording.topics.items())
    )
    return Diagnosis(recording, tuple(found), facts, covered)


def _without_consequences(findings: list[Finding]) -> list[Finding]:
    explained = {(finding.topic, consequence) for finding in findings for consequence in CAUSES.get(finding.check, ())}
    return [finding for finding in findings if (finding.topic, finding.check) not in explained]
