"""The picture of a car that learns: lap times, model errors and what each model earned, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.drive_pictures import SLOW_TO_FAST, draw_track
from mbrl_ros.evaluation.picture_style import GRID, INK, TITLE, plain

_COLOURS = ("#8a93a3", "#1f6fb4", "#862e9c", "#d9480f")


@dataclass(frozen=True)
class Curve:
    """One arm with one seed, a value per round in each.

    Args:
        name: of the arm, in the legend.
        lap_s: fastest lap [s], nan where none was completed.
        error_m: of the model that was driven with [m].
        limit_mps2: acceleration limit.
        exits: times the track was left.
    """

    name: str
    lap_s: Sequence[float]
    error_m: Sequence[float]
    limit_mps2: Sequence[float]
    exits: Sequence[int]


@dataclass(frozen=True)
class Path:
    """A drive on the map: positions [N, 2] in m and speeds [N] in m/s under a title."""

    title: str
    positions: np.ndarray
    speed: np.ndarray


def improvement(track: Track, curves: Sequence[Curve], grip: Sequence[float], paths: Sequence[Path]) -> Figure:
    """Lap time, model error and limit over the rounds, above maps of drives.

    Args:
        track: of the maps.
        curves: an arm each.
        grip: factor on the friction in each round; rounds with less than 1 are shaded.
        paths: of the maps, on one colour scale of speed.
    """
    figure = Figure(figsize=(15.0, 9.2), dpi=120, layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.15, 1.0))[:, 0]
    _panels(upper, curves, grip)
    maps = lower.subplots(1, len(paths), squeeze=False)[0]
    scale = Normalize(0.0, max(float(path.speed.max()) for path in paths))
    for axes, path in zip(maps, paths, strict=True):
        draw_track(axes, track)
        pieces = np.stack([path.positions[:-1], path.positions[1:]], axis=1)
        lines = LineCollection(list(pieces), cmap=SLOW_TO_FAST, norm=scale, linewidths=2.0, zorder=3)
        lines.set_array(path.speed[:-1])
        axes.add_collection(lines)
        axes.set_title(path.title, **{**TITLE, "fontsize": 10})
    bar = lower.colorbar(lines, ax=list(maps), shrink=0.8, pad=0.01, aspect=30)
    bar.set_label("speed [m/s]", color=INK)
    bar.outline.set_visible(False)
    return figure


def over_seeds(curves: Sequence[Curve], grip: Sequence[float]) -> Figure:
    """Lap time, model error and limit over the rounds with several seeds: thin lines, and the mean of an arm's.

    Args:
        curves: one for each arm and seed; the mean is over those that came so far.
        grip: as for `improvement`.
    """
    figure = Figure(figsize=(15.0, 4.9), dpi=120, layout="constrained")
    _panels(figure, curves, grip)
    return figure


def _panels(figure: FigureBase, curves: Sequence[Curve], grip: Sequence[float]) -> None:
    panels = figure.subplots(1, 3)
    titles = ("fastest lap [s]", "model error after 1 s [m]", "acceleration limit earned [m/s²]")
    for axes, title, values in zip(panels, titles, ("lap_s", "error_m", "limit_mps2"), strict=True):
        _over_rounds(axes, curves, values, grip)
        axes.set_title(title, **TITLE)
    panels[1].set_yscale("log")
    panels[1].yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[1].yaxis.set_minor_formatter(NullFormatter())
    _mark_failures(panels[0], curves)
    panels[0].legend(frameon=False, labelcolor=INK, fontsize=9)


def _coloured(curves: Sequence[Curve]) -> dict[str, str]:
    """A colour for each arm, by name."""
    return dict(zip(dict.fromkeys(curve.name for curve in curves), _COLOURS, strict=False))


def _over_rounds(axes: Axes, curves: Sequence[Curve], values: str, grip: Sequence[float]) -> None:
    plain(axes)
    rounds = np.arange(len(grip))
    slippery = rounds[np.array(grip) < 1.0]
    if len(slippery):
        axes.axvspan(slippery[0] - 0.5, slippery[-1] + 0.5, color=GRID, alpha=0.5, zorder=0)
        share = 100 * (1 - min(grip))
        axes.set_title(f"grip -{share:.0f} %", loc="right", fontsize=10, color=INK)
    for name, colour in _coloured(curves).items():
        seeds = [getattr(curve, values) for curve in curves if curve.name == name]
        if len(seeds) > 1:
            for seed in seeds:
                axes.plot(rounds[: len(seed)], seed, color=colour, linewidth=0.9, alpha=0.6)
        reached = [[seed[k] for seed in seeds if k < len(seed)] for k in rounds]  # some may not be as far as others
        mean = [float(np.mean(there)) for there in reached if there]
        axes.plot(rounds[: len(mean)], mean, color=colour, linewidth=2.2, marker="o", markersize=5, label=name)
    axes.set_xlabel("round")
    axes.set_xticks(rounds)
    axes.set_xlim(-0.5, len(grip) - 0.5)


def _mark_failures(axes: Axes, curves: Sequence[Curve]) -> None:
    """A cross on the laps of drives that left the track, and an arrow at the top for those that completed none."""
    left = np.array([(k, c.lap_s[k]) for c in curves for k in range(len(c.lap_s)) if c.exits[k]]).reshape(-1, 2)
    if len(left):
        axes.scatter(
            left[:, 0], left[:, 1], marker="x", s=110, color="#c92a2a", linewidths=2.4, zorder=5, label="exits"
        )
    for name, colour in _coloured(curves).items():
        none = np.unique([k for c in curves if c.name == name for k in np.flatnonzero(np.isnan(c.lap_s))])
        if len(none):
            at_top, label = axes.get_xaxis_transform(), f"{name}: no lap"
            axes.scatter(none, np.full(len(none), 0.97), marker="^", s=70, color=colour, transform=at_top, label=label)
