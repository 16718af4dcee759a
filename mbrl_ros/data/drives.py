"""From a recording to a Drive: topics chosen, checked, resampled to one rate, cut at gaps."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mbrl_ros.core import mapped
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS, STATE, DriveCommand, ReferencePoint
from mbrl_ros.core.recording import Drive
from mbrl_ros.data import decoded, resampling
from mbrl_ros.data.bag import open_bag, require_recording, source_hash
from mbrl_ros.data.consistency import contradictions
from mbrl_ros.data.controls import choose_controls
from mbrl_ros.data.segments import DERIVATIVE_S, SegmentWriter
from mbrl_ros.data.signals import OnBad, Signals, checked, read_signals
from mbrl_ros.data.topics import QUANTITIES, TopicMapping, choose

_RUN = 4096
"""Successive messages that are looked at for the usual step between them: they may come in bursts."""

COMMON_RATES_HZ = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)


def read_drive(
    path: str | Path,
    mapping: TopicMapping | None = None,
    *,
    rate_hz: float | None = None,
    max_gap_s: float = 0.25,
    max_hold_s: float = 0.5,
    drive: DriveCommand | None = None,
    low_pass_hz: float | None = None,
    reference_point: ReferencePoint | None = None,
    need_controls: bool = True,
    mean_commands: bool = False,
    on_bad: OnBad = "error",
) -> Drive:
    """What a recording says about a car, at a fixed rate.

    Time is the header stamps'. Measured quantities are interpolated linearly between the two samples around a
    row's time; commands are held from their stamp on. So a row sees at most one sample past its own time, and
    none of the commands. Nothing is smoothed unless ``low_pass_hz`` asks for it. An acceleration that no topic
    gives is the backward difference of vx over 0.1 s. Everything done is told in the drive's ``notes``.

    Actions are the commands where the recording has them (a ``/drive`` topic), otherwise what the actuators
    report (a ``/drive_feedback`` topic: measured road wheel angle and acceleration, taken as known actions).

    Args:
        path: rosbag2 folder or storage file, or ROS 1 ``.bag``.
        mapping: topics by quantity, chosen by ``data.topics.choose`` where it says nothing.
        rate_hz: rows per second; None for the common rate nearest to the slower of the pose and velocity topics.
        max_gap_s: measured samples further apart than this cut the drive.
        max_hold_s: a command older than this no longer counts, which cuts the drive.
        drive: which field of the command is the action; None for acceleration where it is ever set, else speed.
        low_pass_hz: cutoff of a causal first-order low-pass on velocities, yaw rate and acceleration.
        reference_point: the point that pose and velocity describe; None for what the recording says, or "cg"
            where it says nothing.
        need_controls: False to read a recording without controls too; its actions are then NaN.
        mean_commands: a row's action is the mean of the commands until the next row, not the command at its own
            time. So a delay can be identified that is finer than the rows; it looks ahead by less than a row.
        on_bad: "error", or "drop" to leave out and count messages that cannot be true.

    Raises:
        DataError: naming topic and time, see ``data.signals.checked`` and ``data.topics.choose``; or the
            recording has no controls, or the topics never overlap in time.
    """
    how: dict[str, Any] = {
        "mapping": mapping or TopicMapping(),
        "rate_hz": rate_hz,
        "max_gap_s": max_gap_s,
        "max_hold_s": max_hold_s,
        "drive": drive,
        "low_pass_hz": low_pass_hz,
        "reference_point": reference_point,
        "need_controls": need_controls,
        "mean_commands": mean_commands,
        "on_bad": on_bad,
    }
    require_recording(path)
    named = source_hash(path)
    plain = {**how, "mapping": how["mapping"].model_dump()}
    return decoded.kept(str(path), named, plain, lambda: _read(path, named, **how))


def _read(
    path: str | Path,
    named: str,
    mapping: TopicMapping,
    rate_hz: float | None,
    max_gap_s: float,
    max_hold_s: float,
    drive: DriveCommand | None,
    low_pass_hz: float | None,
    reference_point: ReferencePoint | None,
    need_controls: bool,
    mean_commands: bool,
    on_bad: OnBad,
) -> Drive:
    """See `read_drive`; ``named`` is the recording's hash."""
    with open_bag(path) as reader:
        signals = read_signals(reader)
    sources, notes = choose(signals, mapping, str(path))
    used = {s.topic: checked(s, on_bad) for s in sources.values()}
    sources = {quantity: used[s.topic] for quantity, s in sources.items()}
    controls = choose_controls(sources, drive, str(path))
    if controls is None and need_controls:
        raise DataError(
            f"{path}: no controls: no AckermannDriveStamped topic of commands or feedback was recorded, so no model "
            "of the car can be fitted or scored on it; record /drive too"
        )
    notes += [note for s in used.values() for note in s.notes]
    notes.append(controls.note if controls else "actions: none recorded, only states can be used")
    point = _reference_point(reference_point, sources["pose"], notes, str(path))

    rate = rate_hz or _common_rate(min(_mean_rate_hz(sources[q]) for q in ("pose", "velocity") if q in sources))
    start_ns, count = _common_time(used.values(), rate, str(path))
    layout = controls.layout if controls else ACTIONS[drive or "acceleration"]
    silent = _silent(sources, notes)
    derived = "acceleration" not in sources and "velocity" in sources
    writer = SegmentWriter(1 / rate, layout, derived=derived, low_pass_hz=low_pass_hz)
    done = 0
    for rows in _spoken(used.values(), start_ns, count, rate, max(max_gap_s, max_hold_s)):
        if rows.start > done:
            writer.end()
        done = rows.stop
        grid = np.arange(rows.start, rows.stop) / rate
        told, clock = _around(used, start_ns, grid[0], grid[-1] + 1 / rate)
        here = {quantity: told[s.topic] for quantity, s in sources.items()}
        known = np.ones(len(grid), dtype=bool)
        for quantity, s in here.items():
            if quantity == "command":
                known &= resampling.within_hold(clock[s.topic], grid, max_hold_s)
            else:
                known &= resampling.between_samples(clock[s.topic], grid, max_gap_s)
        if controls is None:
            action = np.full((len(grid), 2), np.nan)
        else:
            action = controls.sample(told, clock, grid, 1 / rate if mean_commands else None)
        writer.add(start_ns * 1e-9 + grid, _states(here, clock, grid, silent), action, known)
        for s in used.values():
            s.let_go()
    segments = writer.segments()
    if not segments:
        raise DataError(f"{path}: no two successive rows at {rate:g} Hz have every topic; try a larger max_gap_s")
    if len(segments) > 1:
        notes.append(
            f"cut into {len(segments)} segments where a topic is silent for longer than {max_gap_s} s "
            f"(commands: {max_hold_s} s); {count - sum(map(len, segments))} of {count} rows lost"
        )
    notes += contradictions(segments, 1 / rate)
    commands = "averaged from row to row" if mean_commands else "held"
    notes.append(f"resampled to {rate:g} Hz: measurements interpolated linearly, commands {commands}")
    if derived:
        notes.append(f"acceleration: no topic measures it, backward difference of vx over {DERIVATIVE_S} s")
    if low_pass_hz:
        notes.append(f"velocities, yaw rate and acceleration low-passed causally at {low_pass_hz:g} Hz")
    topics = {quantity: s.topic for quantity, s in sources.items()}
    return Drive(segments, 1 / rate, point, str(path), named, topics, tuple(notes))


def _common_time(used: Collection[Signals], rate_hz: float, source: str) -> tuple[int, int]:
    """The first stamp [ns] at which every topic has spoken, and how many rows there are from then on."""
    start_ns = max(int(s.stamp_ns[0]) for s in used)
    end_ns = min(int(s.stamp_ns[-1]) for s in used)
    if end_ns <= start_ns:
        spans = ", ".join(f"{s.topic} {s.stamp_ns[0] * 1e-9:.3f}..{s.stamp_ns[-1] * 1e-9:.3f} s" for s in used)
        raise DataError(f"{source}: the topics never overlap in time: {spans}")
    return start_ns, int(((end_ns - start_ns) * 1e-9 + resampling.SAME_TIME_S) * rate_hz) + 1


def _spoken(used: Collection[Signals], start_ns: int, count: int, rate_hz: float, longest_s: float) -> Iterator[slice]:
    """Of ``count`` rows a block after another, without long silences: a clock that was set makes years of them."""
    first = 0
    while first < count:
        now_ns = start_ns + int(first / rate_hz * 1e9)
        for s in used:
            following = int(np.searchsorted(s.stamp_ns, now_ns))
            if 0 < following < len(s) and now_ns - int(s.stamp_ns[following - 1]) > (longest_s + 1.0) * 1e9:
                first = max(first, int((int(s.stamp_ns[following]) - start_ns) * 1e-9 * rate_hz) - 1)
        if first < count:  # else one is silent until after the end of another
            yield slice(first, min(first + mapped.BLOCK, count))
        first += mapped.BLOCK


def _around(
    used: Mapping[str, Signals], start_ns: int, first_s: float, last_s: float
) -> tuple[dict[str, Signals], dict[str, np.ndarray]]:
    """What every topic said about then, and when [s]; all times from ``start_ns`` on."""
    topics = {name: s.around(*(start_ns + int(t * 1e9) for t in (first_s, last_s))) for name, s in used.items()}
    return topics, {name: (s.stamp_ns - start_ns) * 1e-9 for name, s in topics.items()}


def _mean_rate_hz(signals: Signals) -> float:
    """Messages per second outside of gaps; the mean, since what matters is how much was said, not how regularly."""
    stamps = signals.stamp_ns
    runs = np.linspace(0, max(0, len(stamps) - _RUN), 1 + len(stamps) // mapped.BLOCK).astype(int)
    usual = float(np.median(np.concatenate([np.diff(stamps[first : first + _RUN]) for first in runs]))) * 1e-9
    time_s, steps = 0.0, 0
    for rows in mapped.blocks(len(stamps) - 1):
        part = np.diff(stamps[rows.start : rows.stop + 1]) * 1e-9
        part = part[part < 10 * usual]
        time_s, steps = time_s + float(part.sum()), steps + len(part)
        signals.let_go()
    return steps / time_s


def _common_rate(rate: float) -> float:
    return float(min(COMMON_RATES_HZ, key=lambda common: abs(np.log(common / rate))))


def _silent(sources: Mapping[str, Signals], notes: list[str]) -> list[str]:
    """State entries that topics have a field for and leave at zero, and a note of each."""
    velocity = sources.get("velocity")
    if velocity is None or velocity.filled("vy") or not velocity.filled("vx"):
        return []
    notes.append(f"vy is not recorded: {velocity.topic} leaves it at zero")
    return ["vy"]


def _states(
    sources: Mapping[str, Signals], clock: Mapping[str, np.ndarray], grid: np.ndarray, silent: list[str]
) -> np.ndarray:
    """[G, 8] states, NaN where nothing is recorded; the yaw is not wrapped."""
    state = np.full((len(grid), len(STATE)), np.nan)
    for quantity, signals in sources.items():
        for name in QUANTITIES[quantity] if quantity != "command" else ():
            if name not in silent:
                column = np.unwrap(signals.columns[name]) if name == "yaw" else signals.columns[name]
                state[:, STATE.index(name)] = resampling.interpolate(clock[signals.topic], column[:, None], grid)[:, 0]
    return state


def _reference_point(asked: ReferencePoint | None, pose: Signals, notes: list[str], source: str) -> ReferencePoint:
    known: tuple[ReferencePoint, ...] = get_args(ReferencePoint)
    if pose.reference_point in known:
        if asked not in (None, pose.reference_point):
            raise DataError(f"{source}: describes the {pose.reference_point}, not the {asked}")
        return known[known.index(pose.reference_point)]
    if asked is None:
        notes.append("reference point: not recorded, taken to be the centre of gravity")
    return asked or "cg"
