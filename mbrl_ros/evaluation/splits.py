"""Held-out driving: by time, by lap or by bag. Never by shuffling overlapping windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.core.layout import VX, YAW, X, Y
from mbrl_ros.core.recording import Drive

Interval = tuple[float, float]
"""Stamps [s] from the first, included, to the second, excluded."""

_NEAR_SHARE = 0.1
"""How far from the start line's point a crossing may be, as a share of the track's extent."""


@dataclass(frozen=True)
class Fold:
    """What to learn from and what to score on; no row is in both.

    Args:
        train: driving to learn from, possibly none.
        drive: the recording that is scored, whole, so that a prediction may look back across the border.
        held_out: the parts of ``drive`` to score on; predictions begin and end inside one of them.
    """

    train: tuple[Drive, ...]
    drive: Drive
    held_out: tuple[Interval, ...]


def folds(drives: Sequence[Drive], rule: str) -> list[Fold]:
    """One fold for each of ``drives``.

    Args:
        drives: the recordings.
        rule: ``time:0.8`` learns from the first 80 % of each recording's time and holds out the rest;
            ``lap:2`` or ``lap:-1`` or ``lap:1,3`` holds out these laps (see `lap_times`); ``bag`` holds out
            each recording in turn and learns from the others; ``all`` holds out everything and learns nothing.

    Raises:
        ConfigError: the rule has another form.
        DataError: a recording has no such lap, or ``bag`` is asked of a single recording.
    """
    name, _, value = rule.partition(":")
    if rule == "all":
        return [Fold((), drive, ((-math.inf, math.inf),)) for drive in drives]
    if rule == "bag":
        if len(drives) < 2:
            raise DataError("the split 'bag' learns from the other bags, so it needs two or more")
        return [
            Fold(tuple(other for other in drives if other is not drive), drive, ((-math.inf, math.inf),))
            for drive in drives
        ]
    try:
        if name == "time" and 0.0 < float(value) < 1.0:
            return [_by_time(drive, float(value)) for drive in drives]
        if name == "lap":
            laps = [int(part) for part in value.split(",")]
            return [_by_lap(drive, laps) for drive in drives]
    except ValueError:
        pass
    raise ConfigError(f"split '{rule}': expected time:0.8, lap:2 (or lap:-1, lap:1,3), bag or all")


def parts_without(drive: Drive, intervals: Sequence[Interval]) -> list[Drive]:
    """The parts of ``drive`` before, between and after ``intervals``; without those that hold no driving."""
    kept = [drive]
    for start_s, end_s in intervals:
        kept = [part for whole in kept for part in (whole.between(-math.inf, start_s), whole.between(end_s, math.inf))]
    return [part for part in kept if part.segments]


def without(drive: Drive, intervals: Sequence[Interval]) -> Drive:
    """The drive with ``intervals`` cut out; nothing is joined across a cut."""
    parts = parts_without(drive, intervals)
    return replace(drive, segments=tuple(segment for part in parts for segment in part.segments))


def lap_times(drive: Drive) -> np.ndarray:
    """[L + 1] stamps [s] at which the laps begin, and the recording's end (excluded).

    The start line runs through the place where the car first drives at a tenth of its top speed, across its
    heading there; a lap begins when the car crosses it that way again, having been far from it. What comes
    before the first line belongs to lap 1, and the last lap may be incomplete.
    """
    state = np.concatenate([segment.state for segment in drive.segments])
    time_s = np.concatenate([segment.time_s for segment in drive.segments])
    first = int(np.argmax(state[:, VX] > 0.1 * np.nanmax(state[:, VX])))
    offset = state[:, [X, Y]] - state[first, [X, Y]]
    cos, sin = np.cos(state[first, YAW]), np.sin(state[first, YAW])
    ahead = cos * offset[:, 0] + sin * offset[:, 1]
    distance = np.hypot(*offset.T)
    same_way = np.abs(wrap_angle(state[:, YAW] - state[first, YAW])) < np.pi / 2
    near = distance < _NEAR_SHARE * distance.max()
    starts = [time_s[0]]
    been_away = False
    for k in range(first + 1, len(state)):
        been_away |= distance[k] > 2 * _NEAR_SHARE * distance.max()
        if been_away and near[k] and same_way[k] and ahead[k - 1] < 0 <= ahead[k]:
            starts.append(time_s[k])
            been_away = False
    return np.array([*starts, np.nextafter(time_s[-1], np.inf)])


def _by_time(drive: Drive, share: float) -> Fold:
    border = drive.start_s + share * (drive.end_s - drive.start_s)
    return Fold((drive.between(-math.inf, border),), drive, ((border, math.inf),))


def _by_lap(drive: Drive, laps: Sequence[int]) -> Fold:
    times = lap_times(drive)
    count = len(times) - 1
    wrong = [lap for lap in laps if not 1 <= abs(lap) <= count]
    if wrong:
        raise DataError(f"{drive.source}: has {count} laps, so there is no lap {wrong[0]}")
    chosen = sorted({lap - 1 if lap > 0 else count + lap for lap in laps})
    held_out = tuple((float(times[lap]), float(times[lap + 1])) for lap in chosen)
    return Fold((without(drive, held_out),), drive, held_out)
