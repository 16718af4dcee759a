"""The picture of a track: its band, and curvature, widths and speed along it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mbrl_ros.core.speed_profile import SpeedProfile
from mbrl_ros.core.track import Track

_ROAD, _EDGE, _INK, _GRID = "#e4e6ea", "#3b4252", "#2e3440", "#d8dce3"


def draw(track: Track, profile: SpeedProfile | None, path: Path) -> None:
    """Write a PNG of ``track`` to ``path``: a map coloured by speed, or by radius without a profile, and strips."""
    figure = Figure(figsize=(13, 6.5), dpi=130, layout="constrained")
    rows = 2 if profile is None else 3
    columns = figure.add_gridspec(rows, 2, width_ratios=(1.25, 1))
    _draw_map(figure.add_subplot(columns[:, 0]), track, profile)
    strips = [figure.add_subplot(columns[row, 1]) for row in range(rows)]
    _draw_strips(strips, track, profile)
    figure.savefig(path)


def _draw_map(axes: Axes, track: Track, profile: SpeedProfile | None) -> None:
    left, right = (_closed(edge) if track.closed else edge for edge in track.edges())
    axes.fill(*np.concatenate([left, right[::-1]]).T, color=_ROAD, linewidth=0)
    for edge in (left, right):
        axes.plot(*edge.T, color=_EDGE, linewidth=1.1)
    section = track.at(track.samples)
    if profile is None:
        values, label = np.abs(section.curvature), "curvature [1/m]"
    else:
        values, label = profile.at(track.samples), "speed profile [m/s]"
    line = _closed(section.position) if track.closed else section.position
    pieces = LineCollection(list(np.stack([line[:-1], line[1:]], axis=1)), cmap="viridis", linewidth=2.4)
    pieces.set_array(values[: len(line) - 1])
    axes.add_collection(pieces)
    bar = axes.figure.colorbar(pieces, ax=axes, fraction=0.03, pad=0.01, aspect=40)
    bar.set_label(label, color=_INK)
    bar.outline.set_visible(False)
    _draw_start(axes, track)
    _draw_marks(axes, track)
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.margins(0.04)
    axes.set_title(f"{track.name}: {track.length_m:.1f} m", loc="left", color=_INK, fontsize=13, fontweight="bold")
    axes.set_xlabel("x [m]", color=_INK)
    axes.set_ylabel("y [m]", color=_INK)
    _plain(axes)


def _draw_start(axes: Axes, track: Track) -> None:
    start = track.at(0.0)
    across = track.to_xy(np.zeros(2), np.array([-start.width_right, start.width_left]))
    axes.plot(*across.T, color="#bf3b3b", linewidth=3, solid_capstyle="butt", zorder=4)
    length = 0.03 * track.length_m
    tip = start.position + length * np.array([np.cos(start.heading), np.sin(start.heading)])
    arrow = {"arrowstyle": "-|>", "color": "#bf3b3b", "linewidth": 2, "mutation_scale": 16}
    axes.annotate("", xy=(float(tip[0]), float(tip[1])), xytext=tuple(start.position), arrowprops=arrow, zorder=5)


def _draw_marks(axes: Axes, track: Track) -> None:
    """A number at every tenth of the length, outside of the right edge."""
    step = _round_step(track.length_m / 10)
    for s in np.arange(step, track.length_m - step / 2, step):
        section = track.at(s)
        edge = track.to_xy(s, -section.width_right)
        axes.plot(*np.stack([section.position, edge]).T, color=_EDGE, linewidth=0.6, alpha=0.6)
        outward = 12 * np.array([np.sin(section.heading), -np.cos(section.heading)])
        mark = axes.annotate(f"{s:g}", tuple(edge), tuple(outward), textcoords="offset points", color=_INK, fontsize=8)
        mark.set(ha="center", va="center")


def _draw_strips(strips: list[Axes], track: Track, profile: SpeedProfile | None) -> None:
    s = track.samples
    section = track.at(s)
    strips[0].fill_between(s, 0, section.curvature, color="#5e81ac", alpha=0.35, linewidth=0)
    strips[0].plot(s, section.curvature, color="#3b5f8f", linewidth=1.2)
    strips[0].set_ylabel("curvature [1/m]\n(left positive)", color=_INK)
    strips[1].fill_between(s, -section.width_right, section.width_left, color=_ROAD, linewidth=0)
    strips[1].plot(s, section.width_left, color=_EDGE, linewidth=1.2)
    strips[1].plot(s, -section.width_right, color=_EDGE, linewidth=1.2)
    strips[1].axhline(0, color=_EDGE, linewidth=0.6, linestyle="--")
    strips[1].set_ylabel("edges [m]\n(left positive)", color=_INK)
    if profile is not None:
        strips[2].plot(profile.s, profile.speed, color="#2a788e", linewidth=1.4)
        strips[2].set_ylim(bottom=0)
        strips[2].set_ylabel("speed profile [m/s]", color=_INK)
        strips[2].set_title(f"lap in {profile.time_s:.2f} s on the centre line", loc="right", fontsize=9, color=_INK)
    for axes in strips:
        axes.set_xlim(0, track.length_m)
        _plain(axes)
    strips[-1].set_xlabel("s [m]", color=_INK)


def _plain(axes: Axes) -> None:
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=_INK, length=0)


def _closed(line: np.ndarray) -> np.ndarray:
    return np.concatenate([line, line[:1]])


def _round_step(step: float) -> float:
    """The nearest of 1, 2, 5 times a power of ten at or above ``step``."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999 * step))
