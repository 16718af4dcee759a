"""Recorded driving as arrays: what identification and training read, and scores are computed on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import STATE, Layout, ReferencePoint
from mbrl_ros.core.mapped import blocks, let_go

SAMPLED_ROWS = 200_000
"""Rows of driving that are looked at together, for what is a matter of statistics."""

_PIECES = 50


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
        return np.any([~np.isnan(part.state).all(axis=0) for part in self.blocks()], axis=0)

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
    """Pieces of the driving, evenly spread, with at most ``rows`` together; all of it where that is no more."""
    total, length = sum(len(segment) for drive in drives for segment in drive.segments), rows // _PIECES
    if total <= rows:
        return list(drives)
    pieces = [
        (number, segment.rows(slice(first, first + length)))
        for number, drive in enumerate(drives)
        for segment in drive.segments
        for first in range(0, len(segment), length)
    ]
    kept = pieces[:: math.ceil(len(pieces) / _PIECES)]
    parts = (tuple(piece for owner, piece in kept if owner == number) for number in range(len(drives)))
    return [replace(drive, segments=part) for drive, part in zip(drives, parts, strict=True) if part]
