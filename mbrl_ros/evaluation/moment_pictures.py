"""Pictures of the worst moments: what was predicted, what happened, and what had been commanded."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbrl_ros.core.layout import STEERING_ANGLE, VX, YAW, YAW_RATE, X, Y
from mbrl_ros.evaluation.comparison import BagComparison
from mbrl_ros.evaluation.picture_style import INK, ROAD, TITLE, plain
from mbrl_ros.evaluation.report_pictures import Moment, lead, longest_horizon, look, worst_moments

_COMMAND = "#b08900"
_DRIVEN = {"color": INK, "linewidth": 3.2, "alpha": 0.55}


def draw_moments(comparison: BagComparison) -> Figure:
    """The worst moments, each a column: map with the road around it, speed, yaw rate, steering and drive command."""
    moments = worst_moments(comparison)
    figure = Figure(figsize=(max(2.7 * len(moments), 6.0), 11.4), dpi=130, layout="constrained")
    grid = figure.subplots(5, len(moments), squeeze=False, height_ratios=(2.0, 1, 1, 1, 1))
    shown = [*comparison.models, "ctrv", *([] if comparison.models else [lead(comparison)])]
    for column, moment in enumerate(moments):
        _draw_moment(grid[:, column], comparison, moment, list(dict.fromkeys(shown)), column + 1)
    for row in grid[2:]:  # speeds are compared within a moment, not between them
        _share_height(list(row))
    layout = comparison.windows.action_layout
    drive = f"{layout.names[1].replace('_', ' ')} [{layout.units[1]}]"
    labels = ("ahead [m]", "speed [m/s]", "yaw rate [rad/s]", "steering [rad]", drive)
    for axes, label in zip(grid[:, 0], labels, strict=True):
        axes.set_ylabel(label)
    entries = dict(zip(*reversed(grid[0, 0].get_legend_handles_labels()), strict=True))
    entries |= dict(zip(*reversed(grid[3, 0].get_legend_handles_labels()), strict=True))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=7, frameon=False, labelcolor=INK
    )
    figure.suptitle(
        f"Where {lead(comparison)} ends furthest off after {longest_horizon(comparison):g} s; "
        "maps are turned so that the car heads up at the start",
        x=0.01,
        ha="left",
        **{key: value for key, value in TITLE.items() if key != "loc"},
    )
    return figure


def _draw_moment(column: np.ndarray, comparison: BagComparison, moment: Moment, shown: list[str], number: int) -> None:
    windows, row = comparison.windows, moment.row
    driven = windows.driven[row].numpy()
    time_s = windows.dt * np.arange(len(driven))
    path, speed, yaw_rate, steering, drive = column
    paths = {"driven": driven} | {name: comparison.predicted[name][row].numpy() for name in shown}
    for name, states in paths.items():
        colour, style = (INK, "-") if name == "driven" else look(name, comparison)
        kind = _DRIVEN if name == "driven" else {"color": colour, "linestyle": style, "linewidth": 1.9}
        left, ahead = _from_start(driven[0], states[:, [X, Y]])
        path.plot(left, ahead, label=name, zorder=3, **kind)
        path.plot(left[-1], ahead[-1], marker="o", markersize=5, color=colour, zorder=4)
        speed.plot(time_s, states[:, VX], **kind)
        yaw_rate.plot(time_s, states[:, YAW_RATE], **kind)
    _frame(path)
    _draw_road(path, comparison, driven[0])
    commands = windows.commands[row, windows.past :].numpy()
    steering.plot(time_s, driven[:, STEERING_ANGLE], **_DRIVEN)
    for axes, command in zip((steering, drive), commands.T, strict=True):
        axes.step(time_s[:-1], command, where="post", color=_COMMAND, linewidth=1.6, label="commanded")
    since = windows.time_s[row] - comparison.drive.start_s
    lateral = abs(driven[0, VX] * driven[0, YAW_RATE])
    path.set_title(
        f"{number}   at {since:.1f} s: {moment.error_m:.2f} m off\n{driven[0, VX]:.1f} m/s, {lateral:.1f} m/s² lateral",
        loc="left",
        color=INK,
        fontsize=9.5,
    )
    drive.set_xlabel("after the start [s]")
    for axes in column:
        plain(axes)


def _from_start(start: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n] left and [n] ahead [m] of the car at ``start`` [8], of ``positions`` [n, 2]."""
    cos, sin = np.cos(start[YAW]), np.sin(start[YAW])
    offset = positions - start[[X, Y]]
    return -sin * offset[:, 0] + cos * offset[:, 1], cos * offset[:, 0] + sin * offset[:, 1]


def _frame(path: Axes) -> None:
    """A square view of the paths, as far to the sides as ahead, so that distances are what they look like."""
    (right, left), (near, far) = path.get_xlim(), path.get_ylim()
    half = 0.55 * max(far - near, left - right, 1.0)
    across, along = (left + right) / 2, (near + far) / 2
    path.set(xlim=(across + half, across - half), ylim=(along - half, along + half), xlabel="left [m]")
    path.set_aspect("equal")


def _draw_road(path: Axes, comparison: BagComparison, start: np.ndarray) -> None:
    """The recording's whole path within the view: how the road comes and goes on."""
    view = path.get_xlim(), path.get_ylim()
    for segment in comparison.drive.segments:
        path.plot(*_from_start(start, segment.state[:, [X, Y]]), color=ROAD, linewidth=7, zorder=1, label="road")
    path.set(xlim=view[0], ylim=view[1])


def _share_height(row: list[Axes]) -> None:
    """One scale for the moments of a row."""
    low, high = min(axes.get_ylim()[0] for axes in row), max(axes.get_ylim()[1] for axes in row)
    for axes in row:
        axes.set_ylim(low, high)
