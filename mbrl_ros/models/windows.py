"""Stretches of recorded driving to predict over, many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACCELERATION, STATE, STEERING_ANGLE, VX, YAW, Layout
from mbrl_ros.core.mapped import APART
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.starting import settled

_NEEDED = ("x", "y", "yaw", "vx")


@dataclass(frozen=True)
class Windows:
    """N stretches of driving around N starts: P steps before, H steps after.

    Args:
        states: [N, P + H + 1, 8] recorded states, start in row P; zero where ``observed`` is False.
        commands: [N, P + H, A] commands as they were sent.
        observed: [N, 8] which entries the recording measures (see `measured_entries`) and are trusted.
        block: [N] number of the time block that the start lies in; errors of different blocks are taken to be
            independent.
        past: P.
        dt: sample time [s].
    """

    states: torch.Tensor
    commands: torch.Tensor
    observed: torch.Tensor
    block: np.ndarray
    past: int
    dt: float

    def __len__(self) -> int:
        return len(self.states)

    @property
    def horizon(self) -> int:
        """H."""
        return self.commands.shape[1] - self.past

    @property
    def driven(self) -> torch.Tensor:
        """[N, H, 8] what happened after each start."""
        return self.states[:, self.past + 1 :]

    def part(self, rows: np.ndarray) -> Windows:
        """The windows at ``rows``."""
        index = torch.from_numpy(np.flatnonzero(rows) if rows.dtype == bool else rows)
        return Windows(
            self.states[index],
            self.commands[index],
            self.observed[index],
            self.block[rows],
            self.past,
            self.dt,
        )


@dataclass(frozen=True)
class WindowStarts:
    """Where N windows begin: what `cut_windows` cuts, when it is needed, from drives that may lie on disk.

    Args:
        segments: the driving.
        segment: [N] which of them each window lies in.
        row: [N] row of the start.
        block: [N] see `Windows`.
        observed: [S, 8] entries that each segment measures and that are trusted.
        past, horizon: P and H.
        dt: sample time [s].
    """

    segments: tuple[Segment, ...]
    segment: np.ndarray
    row: np.ndarray
    block: np.ndarray
    observed: np.ndarray
    past: int
    horizon: int
    dt: float

    def __len__(self) -> int:
        return len(self.row)

    def part(self, rows: np.ndarray) -> WindowStarts:
        """Those at ``rows``."""
        return replace(self, segment=self.segment[rows], row=self.row[rows], block=self.block[rows])

    def thinned(self, limit: int, seed: int = 0) -> WindowStarts:
        """Of more than ``limit`` windows one of each of ``limit`` equal shares, drawn with ``seed``."""
        if len(self) <= limit:
            return self
        rng = np.random.default_rng(seed)
        return self.part(np.array([int(rng.choice(share)) for share in np.array_split(np.arange(len(self)), limit)]))

    def cut(self, dtype: torch.dtype = torch.float64) -> Windows:
        """The windows themselves."""
        length = self.past + self.horizon
        states = np.empty((len(self), length + 1, len(STATE)))
        commands = np.empty((len(self), length, len(self.segments[0].action_layout)))
        for number in np.unique(self.segment):
            here = np.flatnonzero(self.segment == number)
            segment = self.segments[number]
            for some in np.array_split(here, range(APART, len(here), APART)):
                rows = self.row[some, None] + np.arange(-self.past, self.horizon + 1)
                states[some] = segment.state[rows]
                commands[some] = segment.action[rows[:, :-1]]
                segment.let_go()
        seen = self.observed[self.segment]
        states = np.where(seen[:, None], states, 0.0)
        states[..., YAW] = np.unwrap(states[..., YAW], axis=1)
        return Windows(
            torch.from_numpy(states).to(dtype),
            torch.from_numpy(commands).to(dtype),
            torch.from_numpy(seen),
            self.block,
            self.past,
            self.dt,
        )


def cut_windows(
    drives: Sequence[Drive],
    *,
    horizon_s: float,
    past_s: float,
    every_s: float,
    min_speed: float,
    block_s: float,
    limit: int,
    trusted: np.ndarray | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Windows:
    """The windows that `find_windows` finds, at most ``limit`` of them (see `WindowStarts.thinned`), in memory."""
    starts = find_windows(
        drives,
        horizon_s=horizon_s,
        past_s=past_s,
        every_s=every_s,
        min_speed=min_speed,
        block_s=block_s,
        trusted=trusted,
    )
    return starts.thinned(limit, seed).cut(dtype)


def find_windows(
    drives: Sequence[Drive],
    *,
    horizon_s: float,
    past_s: float,
    every_s: float,
    min_speed: float,
    block_s: float,
    trusted: np.ndarray | None = None,
) -> WindowStarts:
    """Windows of all drives, starting every ``every_s`` where the car moves at ``min_speed`` [m/s] or faster.

    Never across a gap. Entries of the state that are not ``trusted`` [8] count as not recorded.

    Raises:
        DataError: the drives differ in rate or actions, lack a needed state, hold non-finite rows, or leave
            no window; the message says what to do.
    """
    require_alike(drives)
    dt = drives[0].dt
    horizon, past = round(horizon_s / dt), math.ceil(past_s / dt - 1e-9)
    stride = max(1, round(every_s / dt))
    segments: list[Segment] = []
    found: list[tuple[np.ndarray, np.ndarray]] = []  # start rows, blocks
    blocks, moving = 0, 0
    for drive in drives:
        for segment in drive.segments:
            _require_finite(segment, drive.source)
            moving += sum(int((part.state[:, VX] >= min_speed).sum()) for part in segment.blocks())
            starts = np.arange(past, len(segment) - horizon, stride)
            starts = starts[segment.state[starts, VX] >= min_speed]
            block = ((segment.time_s[starts] - segment.time_s[0]) // block_s).astype(int)
            found.append((starts, blocks + block))
            blocks += int(block.max()) + 1 if len(block) else 0
            segments.append(segment)
    row = np.concatenate([starts for starts, _ in found])
    if not len(row):
        raise DataError(_no_windows(drives, moving * dt, horizon_s + past_s, min_speed))
    observed = [measured_entries(segment) & (True if trusted is None else trusted) for segment in segments]
    number = np.repeat(np.arange(len(segments)), [len(starts) for starts, _ in found])
    block = np.concatenate([blocks for _, blocks in found])
    return WindowStarts(tuple(segments), number, row, block, np.stack(observed), past, horizon, dt)


def start_states(model: DynamicsModel, windows: Windows, applied: torch.Tensor) -> torch.Tensor:
    """[..., N, 8] states at the starts, what the recording lacks filled in by the model; see `starting.settled`.

    Args:
        model: one step of ``windows.dt``.
        windows: the driving.
        applied: [..., N, B, A] actions that acted during the B steps before the start.
    """
    first = windows.past - applied.shape[-2]
    return settled(model, windows.states[:, first : windows.past + 1], windows.observed, applied)


def measured_entries(segment: Segment) -> np.ndarray:
    """[8] which state entries were recorded and measured: not those that are only a copy of the command."""
    measured = segment.observed
    for column, action in ((STEERING_ANGLE, 0), (ACCELERATION, 1)):
        same_unit = STATE.units[column] == segment.action_layout.units[action]
        if same_unit and all(
            np.allclose(part.state[:, column], part.action[:, action], atol=1e-9) for part in segment.blocks()
        ):
            measured[column] = False
    return measured


def require_alike(drives: Sequence[Drive]) -> Layout:
    """The drives' action layout; DataError unless there is driving, all at one rate and with the same actions."""
    if not drives or not any(drive.segments for drive in drives):
        raise DataError("there is no driving to identify from; give at least one recording with controls")
    first = drives[0]
    for drive in drives[1:]:
        if not math.isclose(drive.dt, first.dt, rel_tol=1e-6):
            raise DataError(
                f"{drive.source} is sampled every {drive.dt:g} s but {first.source} every {first.dt:g} s; "
                "read both with the same rate"
            )
        if drive.reference_point != first.reference_point:
            raise DataError(
                f"{drive.source} describes the {drive.reference_point}, {first.source} the {first.reference_point}; "
                "read both with the same reference point"
            )
    layouts = {segment.action_layout for drive in drives for segment in drive.segments}
    if len(layouts) > 1:
        raise DataError(f"the drives' actions differ: {'; '.join(', '.join(layout.names) for layout in layouts)}")
    return layouts.pop()


def _require_finite(segment: Segment, source: str) -> None:
    observed = segment.observed
    if missing := [name for name in _NEEDED if not observed[STATE.index(name)]]:
        raise DataError(
            f"{source}: the recording holds no {', '.join(missing)}; identification needs pose and speed "
            "(Odometry with a filled twist)"
        )
    bad = {"state": 0, "action": 0}
    first: dict[str, float] = {}
    for part in segment.blocks():
        for what, values in (("state", part.state[:, observed]), ("action", part.action)):
            wrong = ~np.isfinite(values).all(axis=1)
            if wrong.any():
                bad[what] += int(wrong.sum())
                first.setdefault(what, float(part.time_s[int(wrong.argmax())]))
    for what, count in bad.items():
        if count:
            raise DataError(
                f"{source}: {count} rows have a non-finite {what}, the first at {first[what]:.3f} s; "
                "cut or repair them before identifying"
            )


def _no_windows(drives: Sequence[Drive], moving_s: float, needed_s: float, min_speed: float) -> str:
    sources = ", ".join(drive.source for drive in drives)
    if moving_s == 0.0:
        return (
            f"{sources}: the car never reaches {min_speed:g} m/s, and a standing car tells nothing; record driving "
            "with turns, or lower min_speed"
        )
    longest = max(len(segment) * drive.dt for drive in drives for segment in drive.segments)
    return (
        f"{sources}: no stretch without a gap is long enough: {needed_s:.1f} s are needed, the longest has "
        f"{longest:.1f} s ({moving_s:.1f} s of driving in all); shorten the horizon or record longer"
    )
