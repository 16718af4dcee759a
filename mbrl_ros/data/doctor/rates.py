"""How often topics speak: silences, lost messages, jitter, and rates too low to learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.recording import Recording, TopicLog

_GAP_S, _HOLD_S = 0.25, 0.5  # what data.drives bridges: measurements, commands
_SLOWEST_HZ = 10.0
_ON_A_TICK = 0.2  # of a period, by which an interval may miss a whole number of periods
_REGULAR = 0.95  # share of intervals that must be whole numbers for periods to be counted
_LOST, _IRREGULAR = 0.02, 0.5


@dataclass(frozen=True)
class Rhythm:
    """How one topic speaks, by its stamps in order.

    Args:
        rate_hz: messages per second outside of silences.
        period_s: median interval.
        jitter: half of the span from the 5th to the 95th percentile of the intervals, in medians.
        lost: share of the messages of a regular clock that are missing; 0 where the clock is not regular.
        base_s: period of that clock.
        silences_s: [G] lengths of the silences.
        starts_s: [G] when they begin, from the topic's first stamp.
        limit_s: interval from which it is a silence.
    """

    rate_hz: float
    period_s: float
    jitter: float
    lost: float
    base_s: float
    silences_s: np.ndarray
    starts_s: np.ndarray
    limit_s: float


def rhythm(log: TopicLog, longest_s: float = _GAP_S) -> Rhythm | None:
    """None where the topic has fewer than ten usable stamps.

    Args:
        log: the topic.
        longest_s: intervals up to this are bridged when the recording is read.
    """
    stamps = log.stamp_ns[log.usable] if len(log.stamp_ns) else log.received_ns
    if len(stamps) < 10:
        return None
    steps = np.diff(stamps) * 1e-9
    limit = max(longest_s, 5 * float(np.median(steps)))
    silent = steps > limit
    spoken = steps[~silent]
    low, period, high = np.percentile(spoken, [5, 50, 95])
    lost, base = _lost(spoken)
    return Rhythm(
        1 / max(float(spoken.mean()), 1e-12),
        float(period),
        float((high - low) / 2 / max(period, 1e-12)),
        lost,
        base,
        steps[silent],
        (stamps[:-1][silent] - stamps[0]) * 1e-9,
        limit,
    )


def rhythm_in(recording: Recording, log: TopicLog) -> Rhythm | None:
    """The same, by what the topic feeds: commands are held for longer than measurements are bridged."""
    return rhythm(log, _HOLD_S if recording.feeds(log.topic) == ["command"] else _GAP_S)


def _lost(steps: np.ndarray) -> tuple[float, float]:
    """Share of messages missing from a regular clock, and its period; 0 where there is no regular clock."""
    shortest = float(np.percentile(steps, 5))
    base = float(np.median(steps[steps < 1.5 * shortest])) if shortest > 0 else 0.0
    if base <= 0:
        return 0.0, base
    ticks = steps / base
    whole = np.round(ticks)
    if np.mean(np.abs(ticks - whole) < _ON_A_TICK) < _REGULAR:
        return 0.0, base
    return float(1 - len(steps) / max(whole.sum(), 1.0)), base


def check_rates(recording: Recording) -> list[Finding]:
    """Silences, lost messages, jitter and low rates of the topics that feed something."""
    found = []
    for log in recording.topics.values():
        feeds = recording.feeds(log.topic)
        only_command = feeds == ["command"]
        measured = rhythm_in(recording, log)
        if measured is None or not len(log.stamp_ns):
            continue
        used = bool(feeds)
        found += _silences(log, measured, used)
        if measured.lost > _LOST and not only_command:
            found.append(_lost_messages(log, measured, used))
        elif measured.jitter > _IRREGULAR:
            found.append(_irregular(log, measured))
        if used and not only_command and measured.rate_hz < _SLOWEST_HZ:
            found.append(_slow(log, measured, feeds))
    return found


def _silences(log: TopicLog, measured: Rhythm, used: bool) -> list[Finding]:
    if not len(measured.silences_s):
        return []
    count, longest = len(measured.silences_s), float(measured.silences_s.max())
    shown = ", ".join(
        f"{length:.2f} s at {start:.1f} s"
        for start, length in list(zip(measured.starts_s, measured.silences_s, strict=True))[:4]
    )
    return [
        Finding(
            "silence",
            "warning" if used else "info",
            log.topic,
            f"silent {count} time{'s' if count > 1 else ''} for longer than {measured.limit_s:.2f} s: {shown}"
            + (", ..." if count > 4 else ""),
            "the drive is cut there; a model that is carried across learns jumps that no car makes",
            "nothing can bring it back; look for a full disk, a dropped network or a node that stopped",
            longest,
            "s",
        )
    ]


def _lost_messages(log: TopicLog, measured: Rhythm, used: bool) -> Finding:
    return Finding(
        "lost_messages",
        "warning" if used and measured.lost > 2 * _LOST else "info",
        log.topic,
        f"{100 * measured.lost:.0f} % of the messages of a {1 / measured.base_s:.0f} Hz clock are missing; the stamps "
        f"are whole periods apart, {measured.rate_hz:.1f} a second arrive",
        "interpolated rows hide fast motion, and differences over missing samples are smoother than the car",
        "look for a full queue or a best-effort link between sensor and recorder; lower the rate on purpose instead",
        measured.lost,
    )


def _irregular(log: TopicLog, measured: Rhythm) -> Finding:
    return Finding(
        "jitter",
        "info",
        log.topic,
        f"intervals vary by ±{100 * measured.jitter:.0f} % around {1e3 * measured.period_s:.1f} ms (5th to 95th "
        "percentile)",
        "differences between samples carry the error of the stamps; commands reach the car at uneven times",
        "stamp at the sensor rather than on arrival; read at a rate no higher than the topic's own",
        measured.jitter,
    )


def _slow(log: TopicLog, measured: Rhythm, feeds: list[str]) -> Finding:
    return Finding(
        "slow_topic",
        "warning",
        log.topic,
        f"{measured.rate_hz:.1f} messages a second feed {', '.join(feeds)}",
        "a car turns and brakes between the samples, and a model sees a straight line there",
        f"record at {_SLOWEST_HZ:g} Hz or more, or take the quantity from another topic (--topic)",
        measured.rate_hz,
        "Hz",
    )
