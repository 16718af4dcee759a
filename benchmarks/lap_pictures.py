"""Where a driven lap loses time against the optimum: both lines, their speeds, and the time between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mbrl_ros.core.lap import Lap
from mbrl_ros.core.layout import VX, VY, X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.evaluation.drive_pictures import draw_track
from mbrl_ros.evaluation.picture_style import INK, TITLE, plain

DRIVEN = "#d9480f"


@dataclass(frozen=True)
class DrivenLap:
    """A lap as it was driven: time since its beginning [N] [s], arc length [N] [m], positions [N, 2] [m], speed [N]."""

    time_s: np.ndarray
    s_m: np.ndarray
    line: np.ndarray
    speed_mps: np.ndarray

    @classmethod
    def of(cls, log: DriveLog, lap: Lap) -> DrivenLap:
        """The part of a drive that was this lap, ordered by arc length from the track's beginning on."""
        stamps = np.array([stamp for stamp, _ in log.truth])
        inside = (stamps >= lap.start_s) & (stamps < lap.start_s + lap.time_s)
        states = np.stack([state for _, state in log.truth])[inside]
        s = log.track.project(states[:, [X, Y]]).s
        order = np.argsort(s, kind="stable")
        time_s = (stamps[inside] - lap.start_s)[order]
        # A lap's timing line need not be the track's beginning.
        time_s = np.mod(time_s - time_s[0], lap.time_s)
        return cls(time_s, s[order], states[order][:, [X, Y]], np.hypot(states[:, VX], states[:, VY])[order])


def compared(track: Track, driven: DrivenLap, optimum: dict[str, Any], title: str) -> Figure:
    """A picture of a lap beside what minimum_time.py wrote for its track."""
    figure = Figure(figsize=(12.5, 6.2), dpi=130, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.3, 1))
    across, speeds = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1])
    lost = figure.add_subplot(grid[1, 1], sharex=speeds)
    draw_track(across, track)
    best, states = np.array(optimum["line"]), np.array(optimum["states"])
    across.plot(*np.vstack([best, best[:1]]).T, color=INK, linewidth=1.4, linestyle="--", label="optimum", zorder=3)
    across.plot(*driven.line.T, color=DRIVEN, linewidth=1.8, label="driven", zorder=4)
    across.legend(frameon=False)
    across.set_title(title, **TITLE)
    s, speed = np.array(optimum["s_m"]), np.hypot(states[:, 2], states[:, 3])
    speeds.plot(s, speed, color=INK, linewidth=1.4, linestyle="--")
    speeds.plot(driven.s_m, driven.speed_mps, color=DRIVEN, linewidth=1.8)
    speeds.set(ylabel="speed [m/s]", xlim=(0.0, track.length_m))
    lost.plot(s, time_lost(driven, best, speed, s), color=DRIVEN, linewidth=1.8)
    lost.set(xlabel="distance along the track [m]", ylabel="time lost [s]")
    plain(speeds)
    plain(lost)
    return figure


def time_lost(driven: DrivenLap, best: np.ndarray, speed: np.ndarray, s: np.ndarray) -> np.ndarray:
    """[N] time [s] that the driven lap took from the optimum's first point on, beyond the optimum's.

    Args:
        driven: the lap.
        best: [N, 2] positions of the optimum.
        speed: [N] its speeds.
        s: [N] its arc lengths along the centre line.
    """
    steps = np.linalg.norm(np.diff(best, axis=0), axis=1) * 2 / (speed[1:] + speed[:-1])
    own = np.interp(s, driven.s_m, driven.time_s)
    return own - own[0] - np.concatenate([[0.0], np.cumsum(steps)])
