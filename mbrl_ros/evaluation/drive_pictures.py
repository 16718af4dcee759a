"""Pictures of closed-loop drives: where and how fast the car went, and what the planner had in mind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mbrl_ros.core.layout import VX, X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.drive_log import DriveLog

SPEED_COLOURS = "viridis"


def draw_track(axes: Axes, track: Track) -> None:
    """The drivable band, its edges and the start line."""
    left, right = track.edges()
    for edge in (left, right):
        closed = np.vstack([edge, edge[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color="0.35", linewidth=1.0)
    start = track.at(0.0)
    ends = track.to_xy(np.zeros(2), np.array([float(start.width_left), -float(start.width_right)]))
    axes.plot(ends[:, 0], ends[:, 1], color="black", linewidth=2.5)
    axes.set_aspect("equal")
    axes.set_xlabel("x [m]")
    axes.set_ylabel("y [m]")


def speed_maps(track: Track, drives: Sequence[tuple[str, DriveLog]]) -> Figure:
    """One map per drive, the path coloured by true speed on a common scale."""
    figure = Figure(figsize=(6.2 * len(drives), 5.6), layout="constrained")
    panels = figure.subplots(1, len(drives), squeeze=False)[0]
    speeds = [np.array([state[VX] for _, state in log.truth]) for _, log in drives]
    scale = Normalize(0.0, max(float(speed.max()) for speed in speeds))
    lines = None
    for axes, (name, log), speed in zip(panels, drives, speeds, strict=True):
        draw_track(axes, track)
        points = np.array([state[[X, Y]] for _, state in log.truth])
        segments = np.stack([points[:-1], points[1:]], axis=1)
        lines = LineCollection(list(segments), cmap=SPEED_COLOURS, norm=scale, linewidths=2.0)
        lines.set_array(speed[:-1])
        axes.add_collection(lines)
        times = ", ".join(f"{lap.time_s:.2f} s" for lap in log.laps)
        axes.set_title(f"{name}\n{times}")
    if lines is not None:
        figure.colorbar(lines, ax=list(panels), label="speed [m/s]", shrink=0.85)
    return figure


def fan(track: Track, positions: np.ndarray, costs: np.ndarray, plan: np.ndarray, title: str) -> Figure:
    """One planning cycle: candidate trajectories coloured by cost, the dearest below, and the plan on top.

    Args:
        track: drawn around the candidates.
        positions: [K, N, 2] candidates [m].
        costs: [K].
        plan: [N, 2] the chosen trajectory [m].
        title: shown above.
    """
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    axes = figure.subplots()
    draw_track(axes, track)
    order = np.argsort(-costs)
    # Costs have a long tail, of those that leave the track: ranks show the order of all of them.
    ranks = np.empty(len(costs))
    ranks[order] = np.linspace(1.0, 0.0, len(costs))
    lines = LineCollection(list(positions[order]), cmap="RdYlGn_r", norm=Normalize(0.0, 1.0), linewidths=0.7, alpha=0.6)
    lines.set_array(ranks[order])
    axes.add_collection(lines)
    axes.plot(plan[:, 0], plan[:, 1], color="black", linewidth=2.2, label="plan")
    axes.plot(*plan[0], "o", color="black", markersize=6)
    low, high = positions.reshape(-1, 2).min(axis=0), positions.reshape(-1, 2).max(axis=0)
    margin = 0.15 * float((high - low).max())
    axes.set_xlim(low[0] - margin, high[0] + margin)
    axes.set_ylim(low[1] - margin, high[1] + margin)
    figure.colorbar(lines, ax=axes, label="rank by cost (0: cheapest)", shrink=0.85)
    axes.set_title(title)
    axes.legend(loc="best")
    return figure
