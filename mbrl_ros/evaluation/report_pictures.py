"""Pictures of an open-loop comparison: how errors grow, in which states, and where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from mbrl_ros.core.layout import STATE, VX, YAW, X, Y
from mbrl_ros.evaluation.comparison import BagComparison
from mbrl_ros.evaluation.open_loop import position_errors, state_errors
from mbrl_ros.evaluation.picture_style import INK, ROAD, TITLE, plain

_MODEL_COLOURS = ("#1f6fb4", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#0b7285")
_BASELINE_LOOKS = {
    "persistence": ("#b8bfcc", (0, (1, 1.5))),
    "ctrv": ("#8a93a3", (0, (5, 2))),
    "linear": ("#6b7280", (0, (5, 1.5, 1, 1.5))),
    "floor": ("#4c566a", (0, (1.2, 1.2))),
}


_GOOD_TO_BAD = LinearSegmentedColormap.from_list("good_to_bad", ["#2a9d8f", "#e9c46a", "#e76f51", "#9b2226"])


@dataclass(frozen=True)
class Moment:
    """One start whose prediction went wrong.

    Args:
        row: of the comparison's windows.
        error_m: position error at the end of the longest horizon.
    """

    row: int
    error_m: float


def lead(comparison: BagComparison) -> str:
    """The predictor that the pictures are about: the first model, or a baseline where there is none."""
    if comparison.models:
        return comparison.models[0]
    return "linear" if "linear" in comparison.predicted else "ctrv"


def worst_moments(comparison: BagComparison, count: int = 5) -> list[Moment]:
    """The starts at which the lead predictor ends furthest off, no two within one horizon of each other."""
    windows = comparison.windows
    errors = position_errors(comparison.predicted[lead(comparison)], windows)[:, -1]
    horizon_s = (windows.driven.shape[1] - 1) * windows.dt
    moments: list[Moment] = []
    for row in np.argsort(-np.nan_to_num(errors, nan=-1.0, posinf=1e300)):
        apart = all(abs(windows.time_s[row] - windows.time_s[m.row]) > horizon_s for m in moments)
        if len(moments) < count and apart and not np.isnan(errors[row]):
            moments.append(Moment(int(row), float(errors[row])))
    return moments


def draw_errors(comparison: BagComparison) -> Figure:
    """Position error along the horizon for every predictor, and its mean with interval at the longest horizon."""
    figure = Figure(figsize=(12.5, 4.8), dpi=130, layout="constrained")
    growth, bars = figure.subplots(1, 2, width_ratios=(1.5, 1))
    windows = comparison.windows
    time_s = windows.dt * np.arange(windows.driven.shape[1])
    shown = [name for name in comparison.predicted if name != "persistence"]
    top, ends = 0.0, dict[str, float]()
    for name in shown:
        errors = position_errors(comparison.predicted[name], windows)
        errors = errors[~np.isnan(errors).any(axis=1)]
        mean = errors.mean(axis=0)
        colour, style = look(name, comparison)
        top = max(top, float(np.nan_to_num(mean, posinf=0.0).max()))
        ends[name] = float(mean[-1])
        growth.plot(time_s, mean, color=colour, linestyle=style, linewidth=2.4 if style == "-" else 1.6)
        if name == lead(comparison):
            low, high = np.percentile(errors, [25, 75], axis=0, method="nearest")  # also between infinities
            growth.fill_between(time_s, low, high, color=colour, alpha=0.12, linewidth=0)
    _label_ends(growth, comparison, ends)
    growth.set(xlim=(0, time_s[-1]), ylim=(0, 1.08 * top), xlabel="predicted for [s]", ylabel="position error [m]")
    growth.set_title(f"How far off, by horizon (band: middle half of {lead(comparison)})", **TITLE)
    _draw_bars(bars, comparison, shown)
    plain(growth)
    plain(bars)
    return figure


def draw_map(comparison: BagComparison) -> Figure:
    """The driven path, coloured where it was scored by how far off the lead predictor ends; worst moments numbered."""
    extent = np.ptp(np.concatenate([s.state[:, [X, Y]] for s in comparison.drive.segments]), axis=0)
    ratio = max(extent[0], 1e-3) / max(extent[1], 1e-3)
    height = float(np.clip(10.0 / ratio + 0.9, 3.5, 8.5))
    figure = Figure(figsize=(float(np.clip((height - 0.9) * ratio + 2.2, 6.0, 12.5)), height), dpi=130)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    windows, name = comparison.windows, lead(comparison)
    for segment in comparison.drive.segments:
        axes.plot(*segment.state[:, [X, Y]].T, color=ROAD, linewidth=1.2, zorder=1)
    errors = position_errors(comparison.predicted[name], windows)[:, -1]
    driven = windows.driven[..., [X, Y]].numpy()
    steps = max(1, round(float(np.median(np.diff(windows.time_s))) / windows.dt)) if len(windows) > 1 else 1
    whole = np.isfinite(errors)
    pieces = LineCollection(
        list(driven[whole, : steps + 1]), cmap=_GOOD_TO_BAD, linewidth=5.0, capstyle="round", zorder=2
    )
    pieces.set_array(errors[whole])
    pieces.set_clim(0.0, float(np.percentile(errors[whole], 98)) if whole.any() else 1.0)
    axes.add_collection(pieces)
    bar = figure.colorbar(pieces, ax=axes, fraction=0.03, pad=0.01, aspect=40, extend="max")
    bar.set_label(f"{name}: position error after {longest_horizon(comparison):g} s [m]", color=INK)
    bar.outline.set_visible(False)
    for number, moment in enumerate(worst_moments(comparison), start=1):
        axes.annotate(
            str(number),
            driven[moment.row, 0],
            xytext=(16, 16),
            textcoords="offset points",
            fontsize=11,
            fontweight="bold",
            color="white",
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": INK, "edgecolor": "white"},
            arrowprops={"arrowstyle": "-", "color": INK},
            zorder=5,
        )
    axes.set_aspect("equal")
    axes.margins(0.05)
    axes.set(xlabel="x [m]", ylabel="y [m]")
    axes.set_title("Where the errors are (grey: driven, not scored)", **TITLE)
    plain(axes)
    return figure


def draw_states(comparison: BagComparison) -> Figure:
    """Root mean square error of every recorded state entry along the horizon, for every predictor."""
    windows = comparison.windows
    time_s = windows.dt * np.arange(windows.driven.shape[1])
    shown = [name for name in comparison.predicted if name != "persistence"]
    errors = {name: state_errors(comparison.predicted[name], windows) for name in shown}
    said = [i for i in range(VX, len(STATE)) if not all(np.isnan(e[1:, i]).all() for e in errors.values())]
    entries = [YAW, *said]
    rows = -(-len(entries) // 3)
    figure = Figure(figsize=(12.5, 2.9 * rows + 0.5), dpi=130, layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False, sharex=True)
    for axes in grid.flat[len(entries) :]:
        axes.set_visible(False)
    for axes, entry in zip(grid.flat, entries, strict=False):
        for name in shown:
            colour, style = look(name, comparison)
            values = np.where(np.isfinite(errors[name][:, entry]), errors[name][:, entry], np.nan)
            axes.plot(time_s, values, color=colour, linestyle=style, linewidth=2 if style == "-" else 1.4, label=name)
        axes.set_title(f"{STATE.names[entry]} [{STATE.units[entry]}]", **TITLE)
        axes.set(xlim=(0, time_s[-1]))
        axes.set_ylim(bottom=0)
        plain(axes)
    for axes in grid[-1]:
        axes.set_xlabel("predicted for [s]")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, labelcolor=INK)
    return figure


def _draw_bars(axes: Axes, comparison: BagComparison, shown: list[str]) -> None:
    horizon_s = longest_horizon(comparison)
    for place, name in enumerate(reversed(shown)):
        score = next(s for s in comparison.scores if s.model == name and s.horizon_s == horizon_s)
        colour, style = look(name, comparison)
        if np.isfinite(score.ade_m):
            low, high = score.ade_interval_m
            fill = colour if style == "-" else to_rgb(colour) + 0.55 * (1 - np.array(to_rgb(colour)))
            axes.barh(place, score.ade_m, color=fill, height=0.5)
            axes.plot([low, high], [place, place], color=INK, linewidth=1.4)
            axes.annotate(
                f"{score.ade_m:.3f}", (high, place), xytext=(6, 0), textcoords="offset points", va="center", color=INK
            )
        else:
            axes.text(0, place, f" {score.diverged} of {score.starts} diverged", va="center", color="#bf3b3b")
    axes.set_yticks(range(len(shown)), list(reversed(shown)))
    axes.margins(x=0.18)
    axes.set_xlim(left=0)
    axes.set_xlabel("ADE [m]; line: 95 % interval")
    axes.set_title(f"Mean error over {horizon_s:g} s", **TITLE)


def _label_ends(axes: Axes, comparison: BagComparison, ends: dict[str, float]) -> None:
    """Names at the ends of the lines, pushed apart where they would meet."""
    finite = sorted((end, name) for name, end in ends.items() if np.isfinite(end))
    apart = 0.055 * max((end for end, _ in finite), default=1.0)
    height = -np.inf
    for end, name in finite:
        height = max(end, height + apart)
        colour, style = look(name, comparison)
        axes.annotate(
            name,
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold" if style == "-" else "normal",
            annotation_clip=False,
        )


def look(name: str, comparison: BagComparison) -> tuple[str, Any]:
    """Colour and line style: models in colours and solid, baselines grey and broken."""
    if name in comparison.models:
        return _MODEL_COLOURS[comparison.models.index(name) % len(_MODEL_COLOURS)], "-"
    if name == lead(comparison):
        return _MODEL_COLOURS[0], "-"
    return _BASELINE_LOOKS[name]


def longest_horizon(comparison: BagComparison) -> float:
    """The longest horizon that was scored [s]."""
    return max(score.horizon_s for score in comparison.scores)
