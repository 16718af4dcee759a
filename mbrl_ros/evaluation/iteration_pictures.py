"""A picture of an optimisation: the path of every iteration, and what each cost, promised and needed."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.drive_pictures import draw_track
from mbrl_ros.evaluation.picture_style import INK, TITLE, plain
from mbrl_ros.planning.ddp.solution import Iteration, Solution

EARLY_TO_LATE = LinearSegmentedColormap.from_list("early_to_late", ["#a5d8e6", "#0b7285", "#f2b134", "#d9480f"])
_REFUSED = "#c92a2a"
_LEAST = 1e-12  # where a logarithmic axis ends


def draw_iterations(solution: Solution, title: str, track: Track | None = None, problem: int = 0) -> Figure:
    """The paths of one problem's iterations, early ones pale; beside them cost, promised decrease and regularisation.

    Args:
        solution: optimised with its states kept; their first two entries are positions.
        title: heading.
        track: drawn below the paths, where there is one.
        problem: row of the batch.

    Raises:
        DataError: the states of the iterations were not kept.
    """
    log = [entry for entry in solution.log if bool(entry.running[problem])]
    kept = [entry.states[problem].numpy()[:, [X, Y]] for entry in log if entry.states is not None]
    if not log or len(kept) < len(log):
        raise DataError("the optimisation did not keep the states of its iterations: solve with keep_states=True")
    figure = Figure(figsize=(12.5, 6.2), dpi=130, layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(1.35, 1.0))
    ways = figure.add_subplot(grid[:, 0])
    _draw_paths(ways, kept, track)
    ways.set_title(title, **TITLE)
    panels = [figure.add_subplot(grid[row, 1]) for row in range(3)]
    _draw_course(panels, log, problem)
    reason = solution.reasons[problem]
    panels[0].set_title(f"{reason} after {int(solution.iterations[problem])} iterations", **TITLE)
    return figure


def _draw_paths(axes: Axes, paths: list[np.ndarray], track: Track | None) -> None:
    if track is not None:
        draw_track(axes, track)
    for path, colour in zip(paths, EARLY_TO_LATE(np.linspace(0.0, 1.0, len(paths))), strict=True):
        axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=1.2, zorder=3)
    axes.plot(paths[-1][:, 0], paths[-1][:, 1], color=EARLY_TO_LATE(1.0), linewidth=2.6, zorder=4, label="found")
    axes.scatter(paths[-1][0, 0], paths[-1][0, 1], s=28, color=INK, zorder=5, label="start")
    seen = np.concatenate(paths)
    low, high = seen.min(axis=0), seen.max(axis=0)
    middle, half = (low + high) / 2, 0.6 * max(float((high - low).max()), 0.1)
    plain(axes)
    axes.set_axis_on()
    axes.set_aspect("equal")
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    axes.set(xlabel="x [m]", ylabel="y [m]")
    axes.legend(loc="best", frameon=False, labelcolor=INK)


def _draw_course(panels: list[Axes], log: list[Iteration], problem: int) -> None:
    passes = np.arange(len(log))
    cost, promised, size, mu = (
        np.array([float(getattr(entry, name)[problem]) for entry in log])
        for name in ("cost", "expected", "step_size", "mu")
    )
    mu[mu == 0] = np.nan  # none, which a logarithm does not show
    indefinite = np.array([not bool(entry.positive[problem]) for entry in log])
    refused = (size == 0) & (promised < 0)
    panels[0].plot(passes, cost, color=INK, linewidth=1.4)
    panels[0].scatter(passes, cost, s=16, c=EARLY_TO_LATE(np.linspace(0.0, 1.0, len(log))), zorder=3)
    panels[0].set_ylabel("cost")
    tried = promised < 0
    panels[1].semilogy(passes[tried], np.maximum(-promised[tried], _LEAST), "o-", color=INK, markersize=3)
    _mark(panels[1], passes[refused], np.maximum(-promised[refused], _LEAST), "no step was good enough")
    panels[1].set_ylabel("promised decrease")
    panels[2].semilogy(passes, mu, "o-", color=INK, markersize=3)
    _mark(panels[2], passes[indefinite], mu[indefinite], "$Q_{uu}$ indefinite")
    panels[2].set(ylabel="regularisation", xlabel="pass")
    for axes in panels:
        plain(axes)
        axes.set_xlim(-0.5, len(log) - 0.5)


def _mark(axes: Axes, places: np.ndarray, values: np.ndarray, name: str) -> None:
    if len(places):
        axes.scatter(places, values, marker="x", color=_REFUSED, zorder=4, label=name)
        axes.legend(loc="best", frameon=False, labelcolor=INK)
