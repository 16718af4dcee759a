"""From a recording to a Drive: topics chosen, checked, resampled to one rate, cut at gaps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACCELERATION, ACTIONS, STATE, VX, VY, YAW, YAW_RATE, DriveCommand, ReferencePoint
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.data import decoded, resampling
from mbrl_ros.data.bag import open_bag, require_recording, source_hash
from mbrl_ros.data.consistency import contradictions
from mbrl_ros.data.controls import choose_controls
from mbrl_ros.data.signals import OnBad, Signals, checked, read_signals
from mbrl_ros.data.topics import QUANTITIES, TopicMapping, choose

COMMON_RATES_HZ = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)

_DERIVATIVE_S = 0.1
"""Span over which an acceleration that nobody recorded is taken from the speed [s]."""


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
    start_ns, clock, grid = _common_time(used.values(), rate, str(path))
    state = _states(sources, clock, grid, notes)
    known = np.ones(len(grid), dtype=bool)
    for quantity, s in sources.items():
        if quantity == "command":
            known &= resampling.within_hold(clock[s.topic], grid, max_hold_s)
        else:
            known &= resampling.between_samples(clock[s.topic], grid, max_gap_s)
    if controls is None:
        action, layout = np.full((len(grid), 2), np.nan), ACTIONS[drive or "acceleration"]
    else:
        action, layout = controls.sample(clock, grid, 1 / rate if mean_commands else None), controls.layout

    segments = []
    for run in resampling.runs(known):
        part = _finished(state[run], 1 / rate, "acceleration" in sources, low_pass_hz)
        if len(part) >= 2:
            rows = slice(run.stop - len(part), run.stop)
            segments.append(Segment(start_ns * 1e-9 + grid[rows], part, action[rows], layout))
    if not segments:
        raise DataError(f"{path}: no two successive rows at {rate:g} Hz have every topic; try a larger max_gap_s")
    if len(segments) > 1:
        notes.append(
            f"cut into {len(segments)} segments where a topic is silent for longer than {max_gap_s} s "
            f"(commands: {max_hold_s} s); {len(grid) - sum(map(len, segments))} of {len(grid)} rows lost"
        )
    notes += contradictions(segments, 1 / rate)
    commands = "averaged from row to row" if mean_commands else "held"
    notes.append(f"resampled to {rate:g} Hz: measurements interpolated linearly, commands {commands}")
    if "acceleration" not in sources:
        notes.append(f"acceleration: no topic measures it, backward difference of vx over {_DERIVATIVE_S} s")
    if low_pass_hz:
        notes.append(f"velocities, yaw rate and acceleration low-passed causally at {low_pass_hz:g} Hz")
    topics = {quantity: s.topic for quantity, s in sources.items()}
    return Drive(tuple(segments), 1 / rate, point, str(path), named, topics, tuple(notes))


def _common_time(
    used: Collection[Signals], rate_hz: float, source: str
) -> tuple[int, dict[str, np.ndarray], np.ndarray]:
    """The first stamp [ns] at which every topic has spoken, message times by topic and the grid [s] from there."""
    start_ns = max(int(s.stamp_ns[0]) for s in used)
    end_ns = min(int(s.stamp_ns[-1]) for s in used)
    if end_ns <= start_ns:
        spans = ", ".join(f"{s.topic} {s.stamp_ns[0] * 1e-9:.3f}..{s.stamp_ns[-1] * 1e-9:.3f} s" for s in used)
        raise DataError(f"{source}: the topics never overlap in time: {spans}")
    count = int(((end_ns - start_ns) * 1e-9 + resampling.SAME_TIME_S) * rate_hz) + 1
    clock = {s.topic: (s.stamp_ns - start_ns) * 1e-9 for s in used}
    return start_ns, clock, np.arange(count) / rate_hz


def _mean_rate_hz(signals: Signals) -> float:
    """Messages per second outside of gaps; the mean, since what matters is how much was said, not how regularly."""
    steps = np.diff(signals.stamp_ns) * 1e-9
    return 1.0 / float(steps[steps < 10 * np.median(steps)].mean())


def _common_rate(rate: float) -> float:
    return float(min(COMMON_RATES_HZ, key=lambda common: abs(np.log(common / rate))))


def _states(
    sources: Mapping[str, Signals], clock: Mapping[str, np.ndarray], grid: np.ndarray, notes: list[str]
) -> np.ndarray:
    """[G, 8] states, NaN where nothing is recorded; the yaw is not wrapped."""
    state = np.full((len(grid), len(STATE)), np.nan)
    for quantity, signals in sources.items():
        for name in QUANTITIES[quantity] if quantity != "command" else ():
            column = signals.columns[name]
            if name == "vy" and not signals.filled("vy") and signals.filled("vx"):
                notes.append(f"vy is not recorded: {signals.topic} leaves it at zero")
                continue
            if name == "yaw":
                column = np.unwrap(column)
            state[:, STATE.index(name)] = resampling.interpolate(clock[signals.topic], column[:, None], grid)[:, 0]
    return state


def _finished(state: np.ndarray, dt: float, accelerated: bool, low_pass_hz: float | None) -> np.ndarray:
    """A segment's states [N, 8] with an acceleration, filtered where asked, yaw wrapped; in place.

    Deriving an acceleration takes history, so the first rows go.
    """
    vx = state[:, VX]
    if not accelerated and np.isfinite(vx).all():
        steps = max(1, round(_DERIVATIVE_S / dt))
        state[steps:, ACCELERATION] = (vx[steps:] - vx[:-steps]) / (steps * dt)
        state = state[steps:]
    if low_pass_hz:
        columns = [VX, VY, YAW_RATE, ACCELERATION]
        state[:, columns] = resampling.low_pass(state[:, columns], dt, low_pass_hz)
    state[:, YAW] = wrap_angle(state[:, YAW])
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
