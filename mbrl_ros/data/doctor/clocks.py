"""Whether the clocks behind the stamps agree: with the recorder's, and with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.data.doctor.findings import Finding
from mbrl_ros.data.doctor.recording import Recording, TopicLog
from mbrl_ros.data.doctor.repairs import Shift
from mbrl_ros.data.doctor.turning import turn_lags

_AT_RECEIPT_S = 2e-6
_AHEAD_S = 0.005
_APART_S, _CERTAIN_S = 0.05, 0.25
_DRIFT_S = 0.02


@dataclass(frozen=True)
class Latency:
    """From a topic's stamp to its receipt.

    Args:
        median_s: the median.
        spread_s: robust standard deviation.
        drift_s: by how much it grows from the first to the last tenth of the recording.
        drift_std_s: standard deviation of that.
    """

    median_s: float
    spread_s: float
    drift_s: float
    drift_std_s: float


def latency(log: TopicLog) -> Latency | None:
    """None where the messages have no usable stamps."""
    if not len(log.stamp_ns) or log.usable.sum() < 20:
        return None
    late = (log.received_ns - log.stamp_ns)[log.usable] * 1e-9
    part = max(len(late) // 10, 5)
    first, last = late[:part], late[-part:]
    spread = _spread(late)
    error = 1.25 * np.hypot(_spread(first), _spread(last)) / np.sqrt(part)
    return Latency(float(np.median(late)), spread, float(np.median(last) - np.median(first)), float(error))


def _spread(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def check_clocks(recording: Recording) -> list[Finding]:
    """Stamps ahead of their receipt, topics on clocks of their own, clocks that drift."""
    late = {topic: own for topic, log in recording.topics.items() if (own := latency(log))}
    if not late:
        return []
    if all(abs(own.median_s) < _AT_RECEIPT_S and own.spread_s < _AT_RECEIPT_S for own in late.values()):
        return [_at_receipt()]
    lags = turn_lags(recording)
    found = []
    for topic, own in late.items():
        others = [other.median_s for name, other in late.items() if name != topic]
        usual = float(np.median(others)) if others else 0.0
        apart = own.median_s - usual
        if own.median_s < -max(_AHEAD_S, 3 * own.spread_s):
            found.append(_ahead(topic, own, max(usual, 0.0)))
        elif abs(apart) > max(_APART_S, 3 * own.spread_s) and len(others) > 1 and _confirmed(lags.get(topic), apart):
            found.append(_offset(topic, own, apart, lags.get(topic)))
        if abs(own.drift_s) > _DRIFT_S + 3 * own.drift_std_s:
            found.append(_drift(topic, own))
    return found


def _confirmed(lag: tuple[float, float] | None, apart: float) -> bool:
    """Whether the motion says that the stamps are early by ``apart`` [s], or is silent about a large difference."""
    if lag is None:
        return abs(apart) > _CERTAIN_S
    seconds, std = lag
    return abs(-seconds - apart) < 3 * std + 0.5 * abs(apart)


def _at_receipt() -> Finding:
    return Finding(
        "stamped_at_receipt",
        "info",
        "",
        "every header stamp equals the time at which the recorder got the message, to 2 microseconds",
        "latencies and offsets between clocks cannot be read off this recording; delays found include transport",
        "nothing, where the recording was converted on purpose; otherwise record stamps of the sensors",
        0.0,
        "s",
    )


def _ahead(topic: str, own: Latency, usual_s: float) -> Finding:
    by = own.median_s - usual_s
    return Finding(
        "future_stamps",
        "error",
        topic,
        f"messages were received {-own.median_s:.3f} s (median) before the time of their own stamps",
        "the topic runs on a clock ahead of the recorder's: it is brought together with what came later, and "
        "delays come out wrong by as much",
        "synchronise the clocks (chrony, PTP); --repair moves the stamps so that they trail by as much as the others'",
        own.median_s,
        "s",
        own.spread_s,
        Shift(topic, round(by * 1e9)),
    )


def _offset(topic: str, own: Latency, apart: float, lag: tuple[float, float] | None) -> Finding:
    seen = f", and its yaw rate leads the heading by {-lag[0]:.3f} ± {lag[1]:.3f} s" if lag else ""
    return Finding(
        "clock_offset",
        "error",
        topic,
        f"its stamps are {apart:.3f} s further from their receipt than those of the other topics{seen}",
        "the topic runs on another clock: rows mix this topic with what the others said at another time",
        "synchronise the clocks (chrony, PTP); --repair moves the stamps by the difference",
        apart,
        "s",
        own.spread_s,
        Shift(topic, round(apart * 1e9)),
    )


def _drift(topic: str, own: Latency) -> Finding:
    return Finding(
        "clock_drift",
        "warning",
        topic,
        f"stamps and receipt move apart by {own.drift_s:+.3f} ± {own.drift_std_s:.3f} s over the recording",
        "what is brought together at the beginning is out of step at the end",
        "synchronise the clocks while recording, or cut the recording into shorter ones",
        own.drift_s,
        "s",
        own.drift_std_s,
    )
