"""Pictures of closed-loop drives: where and how fast the car went, how it slipped, and what the planner had in mind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from matplotlib.transforms import Affine2D

from mbrl_ros.core.layout import VX, VY, YAW_RATE, X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.drive_log import DriveLog

_INK, _GRID, _ROAD, _EDGE = "#2e3440", "#d8dce3", "#eef0f4", "#8a93a3"
_DRIVE_COLOURS = ("#1f6fb4", "#d9480f", "#2b8a3e", "#862e9c")
SLOW_TO_FAST = LinearSegmentedColormap.from_list(
    "slow_to_fast", ["#22577a", "#38a3a5", "#8cb369", "#f4a259", "#d1495b"]
)
_CHEAP_TO_DEAR = LinearSegmentedColormap.from_list(
    "cheap_to_dear", ["#0b7285", "#74b816", "#f2b134", "#e8590c", "#c9c2c4"]
)
_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 12, "fontweight": "bold", "color": _INK}
_MOVING_MPS = 1.0
"""Slower, a slip angle says nothing."""

_AROUND_M = 0.8
"""What is shown of the track around candidate trajectories."""


def draw_track(axes: Axes, track: Track) -> None:
    """The drivable band, its edges, the start line and the direction of travel."""
    left, right = track.edges()
    band = np.vstack([left, left[:1], right[:1], right[::-1]])
    axes.add_patch(Polygon(band, facecolor=_ROAD, edgecolor="none", zorder=0))
    for edge in (left, right):
        closed = np.vstack([edge, edge[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color=_EDGE, linewidth=1.1, zorder=1)
    start = track.at(0.0)
    ends = track.to_xy(np.zeros(2), np.array([float(start.width_left), -float(start.width_right)]))
    axes.plot(ends[:, 0], ends[:, 1], color=_INK, linewidth=3.0, solid_capstyle="butt", zorder=4)
    outside = -float(start.width_right) - 0.35
    tail, tip = track.to_xy(np.array([0.2, 1.8]), np.full(2, outside))
    axes.annotate("", tip, tail, arrowprops={"arrowstyle": "-|>", "color": _INK, "linewidth": 1.4})
    axes.set_aspect("equal")
    axes.set_axis_off()


def speed_maps(track: Track, drives: Sequence[tuple[str, DriveLog]]) -> Figure:
    """One map per drive, every lap's path coloured by true speed on a common scale."""
    extent = np.ptp(np.concatenate(track.edges()), axis=0)
    width = 6.6
    height = float(np.clip(width * extent[1] / extent[0], 2.5, 9.0))
    figure = Figure(figsize=(width * len(drives) + 0.9, height + 0.8), dpi=130, layout="constrained")
    panels = figure.subplots(1, len(drives), squeeze=False)[0]
    speeds = [np.array([state[VX] for _, state in log.truth]) for _, log in drives]
    every_speed = np.concatenate(speeds)
    scale = Normalize(float(np.percentile(every_speed, 4)), float(every_speed.max()))  # the start would take half of it
    for axes, (name, log), speed in zip(panels, drives, speeds, strict=True):
        draw_track(axes, track)
        points = np.array([state[[X, Y]] for _, state in log.truth])
        lines = LineCollection(_pieces(points), cmap=SLOW_TO_FAST, norm=scale, linewidths=2.4, zorder=3)
        lines.set_array(speed[:-1])
        axes.add_collection(lines)
        times = ", ".join(f"{lap.time_s:.2f}" for lap in log.laps)
        axes.set_title(f"{name}\nlaps of {times} s" if log.laps else f"{name}\nno lap completed", **_TITLE)
    bar = figure.colorbar(lines, ax=list(panels), shrink=0.8, pad=0.01, aspect=30, extend="min")
    bar.set_label("speed [m/s]", color=_INK)
    bar.outline.set_visible(False)
    return figure


def laps_by_distance(track: Track, drives: Sequence[tuple[str, DriveLog]]) -> Figure:
    """Speed, lateral acceleration and slip angle of the body along the last lap of each drive."""
    figure = Figure(figsize=(12.5, 7.4), dpi=130, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(1.2, 1, 1))
    for (name, log), colour in zip(drives, _DRIVE_COLOURS, strict=False):
        states = _last_lap(log)
        along = track.project(states[:, [X, Y]]).s
        order = np.argsort(along)
        moving = states[:, VX] > _MOVING_MPS
        slip = np.degrees(np.arctan2(states[:, VY], np.where(moving, states[:, VX], np.inf)))
        for axes, values in zip(panels, (states[:, VX], states[:, VX] * states[:, YAW_RATE], slip), strict=True):
            axes.plot(along[order], values[order], color=colour, linewidth=1.9, label=name)
    labels = ("speed [m/s]", "lateral acceleration [m/s²]", "slip angle of the body [°]")
    for axes, label in zip(panels, labels, strict=True):
        _plain(axes)
        axes.set_ylabel(label)
        axes.set_xlim(0.0, track.length_m)
    for axes in panels[1:]:
        axes.axhline(0.0, color=_EDGE, linewidth=0.8, zorder=0)
    panels[-1].set_xlabel("distance along the track [m]")
    panels[0].set_title("The last lap of each drive, as it really was", **_TITLE)
    panels[0].legend(loc="lower right", frameon=False, labelcolor=_INK, ncols=len(drives))
    return figure


def fan(
    track: Track, vehicle: Vehicle, positions: np.ndarray, costs: np.ndarray, plan: np.ndarray, title: str
) -> Figure:
    """One planning cycle: candidate trajectories coloured by cost, the dearest below, and the plan on top.

    Args:
        track: drawn around the candidates.
        vehicle: drawn at the plan's beginning.
        positions: [K, N, 2] candidates [m].
        costs: [K].
        plan: [N, 3] x, y and yaw of the chosen trajectory [m, m, rad].
        title: shown above.
    """
    shown = np.vstack([positions.reshape(-1, 2), plan[:, :2]])
    extent = np.ptp(shown, axis=0) + 2 * _AROUND_M
    figure = Figure(figsize=(10.0, float(np.clip(8.6 * extent[1] / extent[0], 4.0, 9.0)) + 0.4), dpi=130)
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    draw_track(axes, track)
    order = np.argsort(-costs)
    # Costs have a long tail, of those that leave the track: ranks show the order of all of them.
    ranks = np.linspace(100.0, 0.0, len(costs))
    lines = LineCollection(list(positions[order]), cmap=_CHEAP_TO_DEAR, norm=Normalize(0.0, 100.0), linewidths=0.9)
    lines.set_array(ranks)
    lines.set_alpha(0.75)
    lines.set_zorder(2)
    axes.add_collection(lines)
    axes.plot(plan[:, 0], plan[:, 1], color="white", linewidth=5.0, zorder=5)
    axes.plot(plan[:, 0], plan[:, 1], color=_INK, linewidth=2.6, zorder=6, label="the plan")
    _draw_car(axes, vehicle, plan[0])
    low, high = shown.min(axis=0) - _AROUND_M, shown.max(axis=0) + _AROUND_M
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    bar = figure.colorbar(lines, ax=axes, shrink=0.7, pad=0.01, aspect=30)
    bar.set_label("rank by cost, in per cent (0: cheapest)", color=_INK)
    bar.outline.set_visible(False)
    axes.set_title(title, **_TITLE)
    axes.legend(loc="best", frameon=False, labelcolor=_INK)
    return figure


def _pieces(points: np.ndarray) -> list[np.ndarray]:
    return list(np.stack([points[:-1], points[1:]], axis=1))


def _last_lap(log: DriveLog) -> np.ndarray:
    """[N, 8] true states of the last completed lap, or of everything where none is."""
    stamps, states = np.array([stamp for stamp, _ in log.truth]), np.stack([state for _, state in log.truth])
    if not log.laps:
        return states
    lap = log.laps[-1]
    return states[(stamps >= lap.start_s) & (stamps < lap.start_s + lap.time_s)]


def _draw_car(axes: Axes, vehicle: Vehicle, pose: np.ndarray) -> None:
    length, width = vehicle.length_m, vehicle.width_m
    body = np.array([[-length, -width], [length, -width], [length, width], [-length, width]]) / 2
    placed = Affine2D().rotate(float(pose[2])).translate(float(pose[0]), float(pose[1])).transform(body)
    axes.add_patch(Polygon(placed, facecolor=_INK, edgecolor="white", linewidth=1.2, zorder=7))


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK)
