"""Header stamps that cannot be true, and messages that cannot be read."""

from __future__ import annotations

import numpy as np

from mbrl_ros.data.doctor.findings import Finding, Severity
from mbrl_ros.data.doctor.recording import Recording, TopicLog
from mbrl_ros.data.doctor.repairs import Drop, StampByReceipt

SAID_AGAIN = ("mbrl_ros/msg/ModelTrust",)
"""Types that are repeated as they stand, with the stamp of what they are about, none before there is anything."""

_READER = "reading for training stops at the first of them unless told to drop them"


def check_stamps(recording: Recording) -> list[Finding]:
    """Zero, repeated, backward and leaping stamps, topic by topic."""
    found = []
    for log in recording.topics.values():
        if not len(log.stamp_ns) or log.msgtype in SAID_AGAIN:
            continue
        severity: Severity = "error" if recording.used(log.topic) or (log.columns and not log.stamped) else "warning"
        if not log.stamped:
            found.append(_unstamped(log, severity))
            continue
        for check, rows, why, consequence in _kinds(log):
            if rows.any():
                found.append(_finding(log, check, severity, np.flatnonzero(rows), why, consequence))
    return found


def check_damage(recording: Recording) -> list[Finding]:
    """Storage that ends early or lacks messages, empty topics, and messages that cannot be decoded."""
    found = []
    total, listed = sum(len(log) for log in recording.topics.values()), sum(recording.listed.values())
    if not recording.damage and total < listed:
        found.append(
            Finding(
                "messages_missing",
                "error",
                "",
                f"the recording lists {listed} messages, {total} can be read",
                "parts of the storage are damaged or gone; what is judged here is the rest",
                "copy the recording again from where it was made (compare checksums), or use the rest as it is",
                float(listed - total),
                "messages",
            )
        )
    empty = sorted(topic for topic in recording.listed if topic not in recording.topics)
    if empty:
        found.append(
            Finding(
                "topics_empty",
                "info",
                "",
                f"{len(empty)} topics were recorded without a single message: {', '.join(empty)}",
                "none, unless one of them was to give the commands or the poses",
                "check that their publishers ran, and that their quality of service was compatible",
                float(len(empty)),
                "topics",
            )
        )
    if recording.damage:
        found.append(
            Finding(
                "storage_damaged",
                "error",
                "",
                f"reading ended early, after {total} of {listed} messages: {recording.damage}",
                "everything after the damage is lost; what was read before it is judged here",
                "recover the file (mcap recover, sqlite3 .recover) or use only what --repair can write",
                float(total),
                "messages",
            )
        )
    for log in recording.topics.values():
        if log.undecodable.any():
            rows = np.flatnonzero(log.undecodable)
            found.append(
                Finding(
                    "undecodable",
                    "error",
                    log.topic,
                    f"{len(rows)} of {len(log)} messages cannot be decoded as {log.msgtype}, first message {rows[0]}",
                    "reading for training stops at the first of them",
                    "leave them out (--repair), and find out which software wrote them",
                    float(len(rows)),
                    "messages",
                    repair=Drop(log.topic, rows, "they cannot be decoded"),
                )
            )
    return found


def _kinds(log: TopicLog) -> list[tuple[str, np.ndarray, str, str]]:
    """Each kind of fault with its [N] bool rows."""
    zero = (log.stamp_ns == 0) & ~log.undecodable
    fine = ~zero & ~log.undecodable
    for rows in log.bad_values.values():
        fine &= ~rows
    wrong = fine & ~log.usable
    repeated = wrong & np.isin(log.stamp_ns, log.stamp_ns[log.usable])
    newest = np.maximum.accumulate(np.where(log.usable, log.stamp_ns, 0))
    backward = wrong & ~repeated & (log.stamp_ns < newest)
    leaping = wrong & ~repeated & ~backward
    return [
        ("zero_stamps", zero, "the stamp is zero", f"no one knows when they were true; {_READER}"),
        (
            "repeated_stamps",
            repeated,
            "the stamp repeats an earlier one",
            f"a rate between them is infinite; {_READER}",
        ),
        ("backward_stamps", backward, "the stamp goes backwards", f"rates between them change their sign; {_READER}"),
        ("leaping_stamps", leaping, "the stamp leaps ahead of those after it", f"all after it look late; {_READER}"),
    ]


def _finding(log: TopicLog, check: str, severity: Severity, rows: np.ndarray, why: str, consequence: str) -> Finding:
    first = int(rows[0])
    after_s = (log.received_ns[first] - log.received_ns[0]) * 1e-9
    return Finding(
        check,
        severity,
        log.topic,
        f"in {len(rows)} of {len(log)} messages {why}; the first is message {first}, received {after_s:.2f} s after "
        "the beginning",
        consequence,
        "leave them out (--repair, or --on-bad drop where the recording is read), and look at the driver",
        float(len(rows)),
        "messages",
        repair=Drop(log.topic, rows, why),
    )


def _unstamped(log: TopicLog, severity: Severity) -> Finding:
    return Finding(
        "unstamped",
        severity,
        log.topic,
        f"all {len(log)} header stamps are zero",
        "nothing can be brought together in time with these messages; reading for training stops",
        "let the driver fill header.stamp; --repair takes the time of receipt, which is late by the transport",
        float(len(log)),
        "messages",
        repair=StampByReceipt(log.topic),
    )
