"""From a recording to a Drive: topics chosen, checked, resampled to one rate, cut at gaps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS, STATE, DriveCommand, Layout, ReferencePoint
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.data import resampling
from mbrl_ros.data.bag import open_bag, source_hash
from mbrl_ros.data.consistency import contradictions
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
    states_only: bool = False,
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
        states_only: read a recording without controls too; its actions are then NaN.
        on_bad: "error", or "drop" to leave out and count messages that cannot be true.

    Raises:
        DataError: naming topic and time, see ``data.signals.checked`` and ``data.topics.choose``; or the
            recording has no controls, or the topics never overlap in time.
    """
    with open_bag(path) as reader:
        signals = read_signals(reader)
    sources, notes = choose(signals, mapping or TopicMapping(), str(path))
    used = {s.topic: checked(s, on_bad) for s in sources.values()}
    sources = {quantity: used[s.topic] for quantity, s in sources.items()}
    notes += [note for s in used.values() for note in s.notes]

    start_ns = max(int(s.stamp_ns[0]) for s in used.values())
    end_ns = min(int(s.stamp_ns[-1]) for s in used.values())
    if end_ns <= start_ns:
        spans = ", ".join(f"{s.topic} {s.stamp_ns[0] * 1e-9:.3f}..{s.stamp_ns[-1] * 1e-9:.3f} s" for s in used.values())
        raise DataError(f"{path}: the topics never overlap in time: {spans}")
    rate = rate_hz or _common_rate(min(_mean_rate_hz(sources[q]) for q in ("pose", "velocity") if q in sources))
    dt = 1.0 / rate
    grid = np.arange(int((end_ns - start_ns) * 1e-9 * rate + 1e-6) + 1) * dt
    clock = {topic: (s.stamp_ns - start_ns) * 1e-9 for topic, s in used.items()}

    state, known = _states(sources, clock, grid, max_gap_s, notes)
    action, layout, acting = _actions(sources, clock, grid, drive, max_gap_s, max_hold_s, notes, str(path), states_only)
    segments = []
    for run in resampling.runs(known & acting):
        part, rows = _finish(state[run], dt, sources, low_pass_hz)
        if len(part) >= 2:
            segments.append(Segment(start_ns * 1e-9 + grid[run][rows], part, action[run][rows], layout))
    if not segments:
        raise DataError(f"{path}: no two successive rows at {rate:g} Hz have every topic; try a larger max_gap_s")
    if len(segments) > 1:
        notes.append(
            f"cut into {len(segments)} segments where a topic is silent for longer than {max_gap_s} s "
            f"(commands: {max_hold_s} s); {len(grid) - sum(map(len, segments))} of {len(grid)} rows lost"
        )
    notes += contradictions(segments, dt)
    notes.append(f"resampled to {rate:g} Hz: measurements interpolated linearly, commands held")
    if "acceleration" not in sources:
        notes.append(f"acceleration: no topic measures it, backward difference of vx over {_DERIVATIVE_S} s")
    if low_pass_hz:
        notes.append(f"velocities, yaw rate and acceleration low-passed causally at {low_pass_hz:g} Hz")
    return Drive(
        tuple(segments),
        dt,
        _reference_point(reference_point, sources, notes, str(path)),
        str(path),
        source_hash(path),
        {quantity: s.topic for quantity, s in sources.items()},
        tuple(notes),
    )


def _mean_rate_hz(signals: Signals) -> float:
    """Messages per second outside of gaps; the mean, since what matters is how much was said, not how regularly."""
    steps = np.diff(signals.stamp_ns) * 1e-9
    return 1.0 / float(steps[steps < 10 * np.median(steps)].mean())


def _common_rate(rate: float) -> float:
    return float(min(COMMON_RATES_HZ, key=lambda common: abs(np.log(common / rate))))


def _states(
    sources: Mapping[str, Signals], clock: dict[str, np.ndarray], grid: np.ndarray, max_gap_s: float, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """[G, 8] states with NaN where nothing is recorded, and the [G] rows that every state topic covers."""
    state = np.full((len(grid), len(STATE)), np.nan)
    known = np.ones(len(grid), dtype=bool)
    for quantity, signals in sources.items():
        if quantity == "command":
            continue
        time_s = clock[signals.topic]
        known &= resampling.between_samples(time_s, grid, max_gap_s)
        for name in QUANTITIES[quantity]:
            column = signals.columns[name]
            if name == "vy" and not signals.filled("vy") and signals.filled("vx"):
                notes.append(f"vy is not recorded: {signals.topic} leaves it at {column[0]:g}")
                continue
            if name == "yaw":
                state[:, STATE.index(name)] = resampling.interpolate_angle(time_s, column, grid)
            else:
                state[:, STATE.index(name)] = resampling.interpolate(time_s, column[:, None], grid)[:, 0]
    return state, known


def _actions(
    sources: Mapping[str, Signals],
    clock: dict[str, np.ndarray],
    grid: np.ndarray,
    drive: DriveCommand | None,
    max_gap_s: float,
    max_hold_s: float,
    notes: list[str],
    source: str,
    states_only: bool,
) -> tuple[np.ndarray, Layout, np.ndarray]:
    """[G, 2] actions, their layout, and the [G] rows for which they are known."""
    command = sources.get("command")
    if command is not None:
        field = drive or ("acceleration" if command.filled("acceleration") else "speed")
        if field not in ("acceleration", "speed"):
            raise DataError(f"{source}: topic '{command.topic}' ({command.msgtype}) commands no {field}")
        values = np.stack([command.columns["steering_angle"], command.columns[field]], axis=1)
        time_s = clock[command.topic]
        notes.append(f"actions: steering angle and {field} commanded on {command.topic}")
        return (
            resampling.hold(time_s, values, grid),
            ACTIONS[field],
            resampling.within_hold(time_s, grid, max_hold_s),
        )
    steering, longitudinal = sources.get("steering"), sources.get("acceleration")
    if steering is not None and longitudinal is not None and not states_only:
        field = drive or "acceleration"
        source_of_drive = longitudinal if field == "acceleration" else steering
        if not source_of_drive.has(field):
            raise DataError(f"{source}: topic '{source_of_drive.topic}' measures no {field}")
        measured = [
            resampling.interpolate(clock[s.topic], s.columns[name][:, None], grid)
            for s, name in ((steering, "steering_angle"), (source_of_drive, field))
        ]
        notes.append(f"actions: no commands recorded; measured steering angle and {field} of {steering.topic} stand in")
        return np.concatenate(measured, axis=1), ACTIONS[field], np.ones(len(grid), dtype=bool)
    if states_only:
        notes.append("actions: none recorded (read for its states only)")
        return np.full((len(grid), 2), np.nan), ACTIONS[drive or "acceleration"], np.ones(len(grid), dtype=bool)
    raise DataError(
        f"{source}: no controls: no AckermannDriveStamped topic of commands or feedback was recorded, so no model of "
        "the car can be fitted or scored on it; record /drive too, or read it with states_only=True"
    )


def _finish(
    state: np.ndarray, dt: float, sources: Mapping[str, Signals], low_pass_hz: float | None
) -> tuple[np.ndarray, slice]:
    """A segment's states, wrapped, filtered where asked, with an acceleration; and the rows of it that are left."""
    state = state.copy()
    start = 0
    vx = state[:, STATE.index("vx")]
    if "acceleration" not in sources and np.isfinite(vx).all():
        start = max(1, round(_DERIVATIVE_S / dt))
        if len(state) > start:
            state[:, STATE.index("acceleration")] = resampling.backward_derivative(vx, dt, start)
    state = state[start:]
    if low_pass_hz and len(state):
        columns = STATE.indices(["vx", "vy", "yaw_rate", "acceleration"])
        state[:, columns] = resampling.low_pass(state[:, columns], dt, low_pass_hz)
    yaw = STATE.index("yaw")
    state[:, yaw] = wrap_angle(state[:, yaw])
    return state, slice(start, None)


def _reference_point(
    asked: ReferencePoint | None, sources: Mapping[str, Signals], notes: list[str], source: str
) -> ReferencePoint:
    recorded = sources["pose"].reference_point
    known: tuple[ReferencePoint, ...] = get_args(ReferencePoint)
    if recorded in known:
        if asked not in (None, recorded):
            raise DataError(f"{source}: describes the {recorded}, not the {asked}")
        return known[known.index(recorded)]
    if asked:
        return asked
    notes.append("reference point: not recorded, taken to be the centre of gravity (reference_point= says otherwise)")
    return "cg"
