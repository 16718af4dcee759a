"""Pictures of a planner in a recording's shadow: its paths on the map, its commands over time, and how far off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from mbrl_ros.core.layout import DRIVE_COMMAND, STEERING_COMMAND, VX, X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.drive_pictures import draw_track
from mbrl_ros.evaluation.picture_style import GRID, INK, ROAD, TITLE, plain
from mbrl_ros.evaluation.shadow import PATH_S, Shadowed
from mbrl_ros.evaluation.shadow_score import HORIZONS_S, distances

DRIVER, PLANNER = "#2e3440", "#d9480f"
AGREE_TO_DIFFER = LinearSegmentedColormap.from_list(
    "agree_to_differ", ["#0b7285", "#74b816", "#f2b134", "#e8590c", "#c92a2a"]
).with_extremes(bad=ROAD)
SHOWN_EVERY_S = 1.0
"""Plans on the map are so far apart [s]."""

_COLOUR_S = 1.0  # after the state, where plans are coloured by their distance to the driven path
_MOMENTS = 4
_APART_S = 3.0  # moments shown are at least so far apart
_LABELS = {STEERING_COMMAND: "steering angle [rad]", DRIVE_COMMAND: "acceleration [m/s²]"}


def draw_map(track: Track, shadowed: Shadowed, planner: str) -> Figure:
    """The driven path, and a plan for every second, coloured by how far it is from the driver after one; grey where the
    recording, or the plan, ends before that."""
    low, high = _view(track, shadowed)
    extent, width = high - low, 11.0
    figure = Figure(
        figsize=(width + 1.2, float(np.clip(width * extent[1] / extent[0], 3.5, 12.0)) + 0.6),
        dpi=130,
        layout="constrained",
    )
    axes = figure.subplots()
    draw_track(axes, track)
    driven = shadowed.recorded.state[:, [X, Y]]
    axes.plot(driven[:, 0], driven[:, 1], color=DRIVER, linewidth=1.3, zorder=3, label="driven")
    shown = _every(shadowed.stamp_s, SHOWN_EVERY_S)
    apart = distances(shadowed, _COLOUR_S)
    paths = [path[np.isfinite(path).all(axis=1)] for path in shadowed.planned_xy[shown]]
    worst = float(np.nanmax(apart)) if np.isfinite(apart).any() else 1.0
    lines = LineCollection(paths, cmap=AGREE_TO_DIFFER, norm=Normalize(0.0, max(worst, 1e-3)), linewidths=2.4)
    lines.set_array(np.ma.masked_invalid(apart[shown]))
    lines.set_zorder(4)
    lines.set_capstyle("round")
    axes.add_collection(lines)
    axes.scatter(shadowed.state[shown, X], shadowed.state[shown, Y], s=9, color=INK, zorder=5)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    bar = figure.colorbar(lines, ax=axes, shrink=0.7, pad=0.01, aspect=30)
    bar.set_label("from the driven path after 1 s [m]", color=INK)
    bar.outline.set_visible(False)
    axes.set_title(f"What {planner} would have done: a plan of 2 s at most for every second driven", **TITLE)
    axes.legend(loc="best", frameon=False, labelcolor=INK)
    return figure


def draw_commands(shadowed: Shadowed) -> Figure:
    """Speed, and both commands of driver and planner over time."""
    figure = Figure(figsize=(12.5, 7.2), dpi=130, layout="constrained")
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(0.7, 1.2, 1.2))
    since_s = shadowed.stamp_s - shadowed.recorded.state_s[0]
    panels[0].plot(since_s, shadowed.state[:, VX], color=DRIVER, linewidth=1.4)
    panels[0].set_ylabel("speed [m/s]")
    for axes, (column, label) in zip(panels[1:], _LABELS.items(), strict=True):
        planned, driven = shadowed.planned[:, 0, column], shadowed.driven[:, 0, column]
        axes.fill_between(since_s, planned, driven, color=PLANNER, alpha=0.15, linewidth=0)
        axes.plot(since_s, driven, color=DRIVER, linewidth=1.5, label="driver")
        axes.plot(since_s, planned, color=PLANNER, linewidth=1.1, label="planner")
        axes.set_ylabel(label)
    for axes in panels:
        plain(axes)
        axes.set_xlim(since_s[0], since_s[-1])
    panels[-1].set_xlabel("time of the recording [s]")
    panels[0].set_title("Commands at the same instant", **TITLE)
    panels[1].legend(loc="upper right", frameon=False, labelcolor=INK, ncols=2)
    return figure


def draw_histograms(shadowed: Shadowed) -> Figure:
    """How often commands and paths differ by how much."""
    figure = Figure(figsize=(12.5, 3.8), dpi=130, layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, (column, label) in zip(panels, _LABELS.items(), strict=False):
        difference = shadowed.planned[:, 0, column] - shadowed.driven[:, 0, column]
        axes.hist(difference[np.isfinite(difference)], bins=60, color=PLANNER, alpha=0.85)
        axes.axvline(0.0, color=INK, linewidth=1.0)
        axes.locator_params(axis="x", nbins=6)
        axes.set_xlabel(f"planner minus driver: {label}")
    colours = AGREE_TO_DIFFER(np.linspace(0.05, 0.95, len(HORIZONS_S)))
    for horizon_s, colour in zip(HORIZONS_S, colours, strict=True):
        apart = distances(shadowed, horizon_s)
        apart = np.sort(apart[np.isfinite(apart)])
        panels[-1].plot(apart, np.linspace(0, 100, len(apart)), color=colour, linewidth=2.0, label=f"{horizon_s:g} s")
    panels[-1].set(xlabel="planned from driven position [m]", ylabel="plans that are closer [%]", ylim=(0, 100))
    panels[-1].legend(loc="lower right", frameon=False, labelcolor=INK, title="after")
    for axes in panels:
        plain(axes)
    for axes in panels[:2]:
        axes.set_ylabel("cycles")
    panels[0].set_title("How often they differ by how much", **TITLE)
    return figure


def draw_moments(track: Track, shadowed: Shadowed) -> Figure:
    """The moments at which the plan ends up furthest from what was driven a second later."""
    rows = worst_moments(shadowed)
    figure = Figure(figsize=(3.3 * max(len(rows), 2), 4.2), dpi=130, layout="constrained")
    panels = figure.subplots(1, max(len(rows), 1), squeeze=False)[0]
    apart = distances(shadowed, _COLOUR_S)
    for axes, row in zip(panels, rows, strict=False):
        draw_track(axes, track)
        for positions, colour, name in (
            (shadowed.driven_xy[row], DRIVER, "driven"),
            (shadowed.planned_xy[row], PLANNER, "planned"),
        ):
            axes.plot(positions[:, 0], positions[:, 1], color=colour, linewidth=2.4, zorder=5, label=name)
            at = _at_seconds(positions)
            axes.scatter(at[:, 0], at[:, 1], s=22, color=colour, zorder=6)
        _frame(axes, np.vstack([shadowed.driven_xy[row], shadowed.planned_xy[row]]))
        since_s = shadowed.stamp_s[row] - shadowed.recorded.state_s[0]
        axes.set_title(
            f"at {since_s:.1f} s, {shadowed.state[row, VX]:.1f} m/s:\n{apart[row]:.2f} m apart after 1 s",
            loc="left",
            fontsize=10,
            color=INK,
        )
    for axes in panels[len(rows) :]:
        axes.set_axis_off()
    if rows:
        panels[0].legend(loc="best", frameon=False, labelcolor=INK)
    return figure


def worst_moments(shadowed: Shadowed) -> list[int]:
    """Rows of the plans that are furthest from what was driven, none close to another."""
    apart = distances(shadowed, _COLOUR_S)
    rows: list[int] = []
    for row in np.argsort(-np.nan_to_num(apart, nan=-1.0), kind="stable"):
        if len(rows) == _MOMENTS or not np.isfinite(apart[row]):
            break
        if all(abs(shadowed.stamp_s[row] - shadowed.stamp_s[other]) >= _APART_S for other in rows):
            rows.append(int(row))
    return rows


def _every(stamp_s: np.ndarray, spacing_s: float) -> np.ndarray:
    """Rows that are the first of each ``spacing_s``."""
    slots = np.floor((stamp_s - stamp_s[0]) / spacing_s + 1e-6)
    return np.flatnonzero(np.diff(slots, prepend=-1.0) > 0)


def _view(track: Track, shadowed: Shadowed) -> tuple[np.ndarray, np.ndarray]:
    """Lower left and upper right corner of the map: the stretch that was planned for, and the track beside it."""
    widest = float(max(track.widths_left.max(), track.widths_right.max()))
    shown = np.concatenate([shadowed.state[:, [X, Y]], shadowed.planned_xy.reshape(-1, 2)])
    shown = shown[np.isfinite(shown).all(axis=1)]
    return shown.min(axis=0) - 2 * widest, shown.max(axis=0) + 2 * widest


def _at_seconds(positions: np.ndarray) -> np.ndarray:
    """[n, 2] of ``positions`` [P, 2]: those at half, one and two seconds."""
    return positions[[int(np.argmin(np.abs(PATH_S - horizon_s))) for horizon_s in HORIZONS_S]]


def _frame(axes: Axes, positions: np.ndarray) -> None:
    """A square view of ``positions`` [n, 2], some of which may be nan."""
    seen = positions[np.isfinite(positions).all(axis=1)]
    middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
    half = 0.62 * max(float(np.ptp(seen, axis=0).max()), 1.0)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color(GRID)


def pictures(track: Track, shadowed: Shadowed, planner: str) -> Sequence[tuple[str, Figure]]:
    """File name and picture, in the order of a report."""
    return (
        ("map", draw_map(track, shadowed, planner)),
        ("commands", draw_commands(shadowed)),
        ("moments", draw_moments(track, shadowed)),
        ("histograms", draw_histograms(shadowed)),
    )
