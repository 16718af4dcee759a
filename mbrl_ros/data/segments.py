"""Rows of a recording that come block by block, joined to segments."""

from __future__ import annotations

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.layout import ACCELERATION, STATE, VX, VY, YAW, YAW_RATE, Layout
from mbrl_ros.core.recording import Segment
from mbrl_ros.data import resampling
from mbrl_ros.data.spool import Spool

DERIVATIVE_S = 0.1
"""Span over which an acceleration that nobody recorded is taken from the speed [s]."""

_FILTERED = [VX, VY, YAW_RATE, ACCELERATION]


class SegmentWriter:
    """Writes segments to files without a name, finished: with an acceleration, filtered where asked, yaw wrapped.

    Args:
        dt: time from row to row [s].
        layout: of the actions.
        derived: whether the acceleration is the backward difference of vx. That takes history, so that the first rows
            of a segment go.
        low_pass_hz: cutoff on velocities, yaw rate and acceleration; None leaves them as they are.
    """

    def __init__(self, dt: float, layout: Layout, *, derived: bool, low_pass_hz: float | None) -> None:
        self._dt, self._layout, self._low_pass_hz = dt, layout, low_pass_hz
        self._steps = max(1, round(DERIVATIVE_S / dt)) if derived else 0
        self._time, self._state, self._action = (Spool(width, np.float64) for width in (1, len(STATE), len(layout)))
        self._ends: list[tuple[int, int]] = []
        self._begin()

    def add(self, time_s: np.ndarray, state: np.ndarray, action: np.ndarray, known: np.ndarray) -> None:
        """Add the next G rows of the recording.

        Args:
            time_s: [G].
            state: [G, 8], its yaw not wrapped.
            action: [G, A].
            known: [G] bool; where False, a segment ends.
        """
        for run in resampling.runs(known):
            if run.start > 0:
                self.end()
            self._extend(time_s[run], state[run], action[run])
            if run.stop < len(known):
                self.end()
        if not known.any():
            self.end()

    def end(self) -> None:
        """What comes next does not follow what came last."""
        if len(self._time) - self._first >= 2:
            self._ends.append((self._first, len(self._time)))
        self._begin()

    def segments(self) -> tuple[Segment, ...]:
        """Those of two rows or more; nothing more can be added."""
        self.end()
        time_s, state, action = (spool.array() for spool in (self._time, self._state, self._action))
        return tuple(
            Segment(time_s[first:end, 0], state[first:end], action[first:end], self._layout)
            for first, end in self._ends
        )

    def _begin(self) -> None:
        self._first = len(self._time)
        self._before = np.empty((0, len(STATE)))  # the last rows of the segment as they came
        self._filtered = np.empty((0, len(_FILTERED)))  # its last row as it was written

    def _extend(self, time_s: np.ndarray, state: np.ndarray, action: np.ndarray) -> None:
        steps, whole = self._steps, np.concatenate([self._before, state])
        if steps:
            vx = whole[:, VX]
            whole[steps:, ACCELERATION] = (vx[steps:] - vx[:-steps]) / (steps * self._dt)
        new = whole[max(len(self._before), steps) :].copy()
        self._before = whole[len(whole) - min(steps, len(whole)) :]
        if self._low_pass_hz and len(new):
            since = len(self._filtered)
            columns = np.concatenate([self._filtered, new[:, _FILTERED]])
            new[:, _FILTERED] = resampling.low_pass(columns, self._dt, self._low_pass_hz)[since:]
            self._filtered = new[-1:, _FILTERED]
        new[:, YAW] = wrap_angle(new[:, YAW])
        rows = slice(len(time_s) - len(new), None)
        self._time.extend(time_s[rows, None])
        self._state.extend(new)
        self._action.extend(action[rows])
