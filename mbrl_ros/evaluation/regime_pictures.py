"""Pictures of when a model may be trusted: its error by regime, and whether its intervals hold what they say."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbrl_ros.evaluation.comparison import BagComparison
from mbrl_ros.evaluation.coverage import EVERYWHERE, Coverage
from mbrl_ros.evaluation.picture_style import INK, TITLE, plain
from mbrl_ros.evaluation.regimes import REGIMES, SPEEDS, TURNING, in_words
from mbrl_ros.evaluation.report_pictures import longest_horizon

_SHADES = colormaps["YlOrRd"]
_BEST_SHADE, _WORST_SHADE = 0.05, 0.75


def draw_regimes(comparison: BagComparison) -> Figure:
    """ADE at the longest horizon by speed and lateral acceleration: a table of colours for every predictor."""
    shown = [name for name in comparison.predicted if name != "persistence"]
    horizon_s = longest_horizon(comparison)
    scores = {(s.model, s.regime): s for s in comparison.regime_scores if s.horizon_s == horizon_s}
    errors = [s.ade_m for s in scores.values() if s.model in shown and 0 < s.ade_m < np.inf]
    low, high = (float(np.log(value)) for value in (min(errors, default=1.0), max(errors, default=1.0)))
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(4.15 * columns, 2.9 * rows + 0.4), dpi=130, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    for axes, name in zip(grid.flat, shown, strict=False):
        for place, regime in enumerate(REGIMES):
            score = scores.get((name, regime))
            across, up = divmod(place, len(TURNING))
            if score is None:
                axes.text(across, up, "–", ha="center", va="center", color=INK)
                continue
            share = (np.log(np.clip(score.ade_m, 1e-9, 1e9)) - low) / max(high - low, 1e-9)
            shade = _BEST_SHADE + (_WORST_SHADE - _BEST_SHADE) * float(np.clip(share, 0.0, 1.0))
            axes.fill_between((across - 0.48, across + 0.48), up - 0.47, up + 0.47, color=_SHADES(shade), linewidth=0)
            axes.text(across, up + 0.1, f"{score.ade_m:.3f}", ha="center", va="center", color=INK, fontweight="bold")
            axes.text(across, up - 0.28, f"{score.starts} starts", ha="center", va="center", color=INK, fontsize=7.5)
        _label(axes, comparison)
        axes.set_title(name, **TITLE)
    return figure


def draw_calibration(comparison: BagComparison) -> Figure:
    """Of every model that states intervals: the share of the driving that they hold against the share that they say."""
    models = list(dict.fromkeys(c.model for c in comparison.coverage))
    figure = Figure(figsize=(max(4.6 * len(models), 6.0), 4.9), dpi=130, layout="constrained")
    for axes, model in zip(figure.subplots(1, len(models), squeeze=False)[0], models, strict=True):
        everywhere = [c for c in comparison.coverage if (c.model, c.regime) == (model, EVERYWHERE)]
        for place, held in enumerate(everywhere):
            colour = colormaps["viridis"](0.85 * place / max(len(everywhere) - 1, 1))
            _draw_curve(axes, held, colour)
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.text(0.3, 0.34, "as it should be", rotation=45, rotation_mode="anchor", color=INK, fontsize=8.5)
        axes.text(0.97, 0.05, "below the line: too sure", ha="right", color="#bf3b3b", fontsize=8.5)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="share that intervals say", ylabel="share that they hold")
        axes.set_aspect("equal")
        axes.set_title(f"{model}: is it as sure as it may be?", **TITLE)
        axes.legend(frameon=False, labelcolor=INK, loc="upper left")
        plain(axes)
    return figure


def _draw_curve(axes: Axes, held: Coverage, colour: tuple[float, float, float, float]) -> None:
    levels = [0.0, *held.share, 1.0]
    shares = [0.0, *held.share.values(), 1.0]
    axes.plot(levels, shares, color=colour, linewidth=2)
    axes.plot(levels[1:-1], shares[1:-1], "o", color=colour, markersize=6, label=f"after {held.horizon_s:g} s")


def _label(axes: Axes, comparison: BagComparison) -> None:
    regimes = comparison.regimes
    across, up = REGIMES[:: len(TURNING)], REGIMES[: len(TURNING)]
    speeds = [f"{name}\n{in_words(regimes.speed(r))} m/s" for name, r in zip(SPEEDS, across, strict=True)]
    turning = [f"{name}\n{in_words(regimes.lateral(r))} m/s²" for name, r in zip(TURNING, up, strict=True)]
    axes.set(xlim=(-0.55, len(SPEEDS) - 0.45), ylim=(-0.55, len(TURNING) - 0.45))
    axes.set_xticks(range(len(SPEEDS)), speeds, color=INK, fontsize=8)
    axes.set_yticks(range(len(TURNING)), turning, color=INK, fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
