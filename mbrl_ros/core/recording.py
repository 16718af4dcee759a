"""Recorded driving as arrays: what identification and training read, and scores are computed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import STATE, Layout, ReferencePoint
from mbrl_ros.core.mapped import blocks, let_go

SAMPLED_ROWS = 200_000
"""Rows of driving that are looked at together, for what is a matter of statistics."""

_STRETCHES = 20  # long ones, as predictions need driving before and after them


@dataclass(frozen=True)
class Segment:
    """Driving without a gap, at a fixed rate.

    Row k: at ``time_s[k]`` the state was ``state[k]``, and ``action[k]`` was commanded from then until row k + 1.
    A state entry that the recording does not hold is NaN throughout, never guessed.

    Args:
        time_s: [N] message stamps' clock [s], uniformly spaced.
        state: [N, 8] in core.layout.STATE.
        action: [N, A].
        action_layout: names and units of the A entries.

    Raises:
        LayoutError: shapes do not fit.
    """

    time_s: np.ndarray
    state: np.ndarray
    action: np.ndarray
    action_layout: Layout

    def __post_init__(self) -> None:
        count = len(self.time_s)
        if self.state.shape != (count, len(STATE)) or self.action.shape != (count, len(self.action_layout)):
            raise LayoutError(
                f"{count} stamps, states {self.state.shape}, actions {self.action.shape}; expected "
                f"[{count}, {len(STATE)}] and [{count}, {len(self.action_layout)}]"
            )

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def observed(self) -> np.ndarray:
        """[8] bool: which state entries the recording holds."""
        seen = np.zeros(len(STATE), dtype=bool)
        for part in self.blocks():
            seen |= ~np.isnan(part.state).all(axis=0)
        return seen

    def between(self, start_s: float, end_s: float) -> Segment:
        """The part with ``start_s <= time < end_s``."""
        return self.rows(slice(*np.searchsorted(self.time_s, (start_s, end_s))))

    def rows(self, rows: slice) -> Segment:
        """Those rows alone; a view, as the driving may lie on disk."""
        return replace(self, time_s=self.time_s[rows], state=self.state[rows], action=self.action[rows])

    def blocks(self) -> Iterator[Segment]:
        """All of it, a block of rows after another, none of which stays in memory where they lie on disk."""
        for rows in blocks(len(self)):
            yield self.rows(rows)
            self.let_go()

    def let_go(self) -> None:
        """Of what lies on disk keep nothing in memory."""
        let_go(self.time_s, self.state, self.action)


@dataclass(frozen=True)
class Drive:
    """One recording: segments at one rate, and where they came from.

    Args:
        segments: in time order, never joined across a gap.
        dt: sample time [s].
        reference_point: the point of the car that the pose and velocity describe.
        source: path of the bag.
        source_hash: SHA-256 of the bag's storage files.
        topics: which topic fed which quantity.
        notes: what was done to the data on the way in, each a sentence a person can read.
    """

    segments: tuple[Segment, ...]
    dt: float
    reference_point: ReferencePoint
    source: str
    source_hash: str = ""
    topics: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def start_s(self) -> float:
        """First stamp [s]."""
        return float(self.segments[0].time_s[0])

    @property
    def end_s(self) -> float:
        """Last stamp [s]."""
        return float(self.segments[-1].time_s[-1])

    def between(self, start_s: float, end_s: float) -> Drive:
        """The part with ``start_s <= time < end_s``; segments left with fewer than two rows are dropped."""
        parts = (segment.between(start_s, end_s) for segment in self.segments)
        return replace(self, segments=tuple(part for part in parts if len(part) >= 2))


def thinned(drives: Sequence[Drive], rows: int = SAMPLED_ROWS) -> list[Drive]:
    """Stretches of the driving, evenly spread, of ``rows`` together; all of it where that is no more."""
    borders = np.cumsum([0, *(len(segment) for drive in drives for segment in drive.segments)])
    if borders[-1] <= rows:
        return list(drives)
    length = rows // _STRETCHES
    firsts = np.linspace(0, borders[-1] - length, _STRETCHES).astype(int)
    found, number = [], 0
    for drive in drives:
        parts = []
        for segment in drive.segments:
            inside = np.clip(np.stack([firsts, firsts + length], axis=1) - borders[number], 0, len(segment))
            parts += [segment.rows(slice(*map(int, part))) for part in inside if part[1] - part[0] >= 2]
            number += 1
        found += [replace(drive, segments=tuple(parts))] if parts else []
    return found
