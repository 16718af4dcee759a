"""Pictures of a diagnosed recording: when topics spoke, what was driven, and what the findings are read off."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from mbrl_ros.data.doctor import Coverage, Diagnosis, Evidence
from mbrl_ros.evaluation.picture_style import GRID, INK, ROAD, TITLE, plain

_SPEED = "viridis"
_COLOURS = ("#1f6fb4", "#d9480f", "#2b8a3e", "#862e9c", "#c2255c", "#0b7285", "#e8a200")
_SPOKEN, _SILENT = "#8fb8de", "#c0392b"
_DENSITY = LinearSegmentedColormap.from_list("density", ["#e3edf7", "#8fb8de", "#1f6fb4", "#123f6b"])
_FAINT = "#8a93a3"
_EXCERPT_S = 15.0
_BINS = 400


def draw_topics(diagnosis: Diagnosis) -> Figure:
    """Each topic's messages over time: pale where fewer came than usual, red where it was silent; speed on top."""
    logs = [log for _, log in sorted(diagnosis.recording.topics.items()) if len(log) > 1]
    covered = diagnosis.coverage
    height = 1.2 + 0.42 * len(logs) + (1.7 if covered is not None else 0)
    figure = Figure(figsize=(12.5, height), dpi=130, layout="constrained")
    ratios = [1.7, 0.42 * len(logs) + 0.4] if covered is not None else [1.0]
    panels = figure.subplots(len(ratios), 1, height_ratios=ratios, sharex=True, squeeze=False)[:, 0]
    origin = diagnosis.recording.origin_ns
    if covered is not None:
        panels[0].fill_between(covered.time_s, covered.speed, color=_SPOKEN, linewidth=0, alpha=0.6)
        panels[0].plot(covered.time_s, covered.speed, color=_COLOURS[0], linewidth=1.3)
        panels[0].set_ylabel("speed [m/s]")
        panels[0].set_title("What was driven, and which topics spoke when (red: silent)", **TITLE)
        plain(panels[0])
    rows = panels[-1]
    ends = []
    for place, log in enumerate(reversed(logs)):
        stamps = log.stamp_ns[log.usable] if log.usable.sum() > 1 else log.received_ns
        time_s = (stamps - (origin or stamps[0])) * 1e-9
        ends.append((float(time_s[0]), float(time_s[-1])))
        facts = next(f for f in diagnosis.topics if f.topic == log.topic)
        _draw_row(rows, place, time_s, log.topic in (f.topic for f in diagnosis.topics if f.feeds))
        if facts.rhythm is not None:
            base = float(time_s[0])
            for start, length in zip(facts.rhythm.starts_s, facts.rhythm.silences_s, strict=True):
                rows.barh(place, length, left=base + start, height=0.62, color=_SILENT, zorder=3)
    names = [f"{log.topic}  ({len(log)})" for log in reversed(logs)]
    rows.set_yticks(range(len(logs)), names, fontsize=9.5)
    rows.set_ylim(-0.6, len(logs) - 0.4)
    if ends:
        # A topic on another clock lies far off; the picture is of the others.
        middle = np.median(np.array(ends), axis=0)
        rows.set_xlim(middle[0], max(middle[1], middle[0] + 1e-3))
    rows.set_xlabel("from the first stamp [s]")
    plain(rows)
    rows.grid(visible=False)
    return figure


def _draw_row(axes: Axes, place: int, time_s: np.ndarray, used: bool) -> None:
    """Messages per time bin, as shades; topics that feed nothing in grey."""
    low, high = float(time_s.min()), float(max(time_s.max(), time_s.min() + 1e-3))
    count, _ = np.histogram(time_s, bins=min(_BINS, max(len(time_s) // 4, 1)), range=(low, high))
    share = np.minimum(count / max(np.median(count), 1.0), 1.0)
    axes.imshow(
        share[None, :],
        extent=(low, high, place - 0.31, place + 0.31),
        aspect="auto",
        cmap=_DENSITY if used else "Greys",
        vmin=0.0,
        vmax=1.6 if used else 3.0,
        interpolation="nearest",
        zorder=2,
    )


def draw_coverage(coverage: Coverage) -> Figure:
    """Where, how fast and how hard it was driven: what a model has seen, and by the white space what it has not."""
    figure = Figure(figsize=(12.5, 8.6), dpi=130, layout="constrained")
    panels = figure.subplot_mosaic([["map", "forces"], ["steering", "slip"]], width_ratios=(1.15, 1))
    moving = np.abs(coverage.speed) > 0.1
    top = float(np.nanpercentile(np.abs(coverage.speed), 99.5)) if np.isfinite(coverage.speed).any() else 1.0
    _draw_path(figure, panels["map"], coverage, top)
    _scatter(panels["forces"], coverage.lateral, coverage.longitudinal, coverage.speed, moving, top)
    reach = _reach(coverage.lateral[moving], coverage.longitudinal[moving])
    for radius in _rings(reach):
        turn = np.linspace(0, 2 * np.pi, 200)
        panels["forces"].plot(radius * np.cos(turn), radius * np.sin(turn), color=GRID, linewidth=0.9, zorder=1)
        panels["forces"].annotate(
            f"{radius:g}", (0, radius), color=_FAINT, fontsize=8, ha="center", va="bottom", zorder=1
        )
    panels["forces"].set(
        xlim=(reach, -reach), ylim=(-reach, reach), xlabel="to the left [m/s²]", ylabel="forward [m/s²]"
    )
    panels["forces"].set_aspect("equal")
    panels["forces"].set_title("Acceleration (colour: speed)", **TITLE)
    _density(panels["steering"], coverage.speed, np.degrees(coverage.steering), moving)
    panels["steering"].set(xlabel="speed [m/s]", ylabel="road wheel angle [deg]")
    panels["steering"].set_title("Steering by speed (darker: more often)", **TITLE)
    _scatter(panels["slip"], coverage.lateral, coverage.slip_deg, coverage.speed, moving, top)
    limit = _reach(coverage.slip_deg[moving & (np.abs(coverage.slip_deg) < 45)])
    panels["slip"].set(xlim=(reach, -reach), ylim=(-limit, limit), xlabel="lateral [m/s²]", ylabel="slip angle [deg]")
    panels["slip"].set_title("Slip angle of the poses' point", **TITLE)
    for axes in panels.values():
        plain(axes)
    return figure


def _draw_path(figure: Figure, axes: Axes, coverage: Coverage, top: float) -> None:
    points = np.stack([coverage.x, coverage.y], axis=1)
    axes.plot(coverage.x, coverage.y, color=ROAD, linewidth=1.0, zorder=1)
    pieces = np.stack([points[:-1], points[1:]], axis=1)
    known = np.isfinite(pieces).all(axis=(1, 2)) & np.isfinite(coverage.speed[:-1])
    lines = LineCollection(list(pieces[known]), cmap=_SPEED, linewidth=2.6, capstyle="round", zorder=2)
    lines.set_array(np.abs(coverage.speed[:-1][known]))
    lines.set_clim(0.0, top)
    axes.add_collection(lines)
    bar = figure.colorbar(lines, ax=axes, fraction=0.035, pad=0.01, aspect=36)
    bar.set_label("speed [m/s]", color=INK)
    bar.outline.set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.05)
    axes.set(xlabel="x [m]", ylabel="y [m]")
    standing = f", {100 * coverage.standing:.0f} % of the time standing" if coverage.standing > 0.01 else ""
    axes.set_title(f"{coverage.moving_s:.0f} s of driving{standing}", **TITLE)


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, speed: np.ndarray, moving: np.ndarray, top: float) -> None:
    known = moving & np.isfinite(x) & np.isfinite(y)
    axes.scatter(
        x[known],
        y[known],
        c=np.abs(speed[known]),
        cmap=_SPEED,
        vmin=0.0,
        vmax=top,
        s=9,
        alpha=0.55,
        linewidth=0,
        zorder=2,
    )
    axes.axhline(0, color=GRID, linewidth=1.0, zorder=1)
    axes.axvline(0, color=GRID, linewidth=1.0, zorder=1)


def _density(axes: Axes, x: np.ndarray, y: np.ndarray, moving: np.ndarray) -> None:
    known = moving & np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2:
        axes.text(0.5, 0.5, "no steering recorded", transform=axes.transAxes, ha="center", color=_FAINT)
        return
    limit = _reach(y[known])
    right = float(np.percentile(x[known], 99.9)) * 1.05
    count, *edges = np.histogram2d(x[known], y[known], bins=(44, 41), range=((0, right), (-limit, limit)))
    shown = np.ma.masked_equal(count.T, 0)
    axes.pcolormesh(edges[0], edges[1], np.log1p(shown), cmap=_DENSITY, zorder=2)
    axes.axhline(0, color=INK, linewidth=0.6, alpha=0.4, zorder=3)


def _reach(*values: np.ndarray) -> float:
    """Half the width of a symmetric picture that holds nearly everything."""
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    return 1.12 * float(np.percentile(np.abs(known), 99.7)) + 1e-3 if len(known) else 1.0


def _rings(reach: float) -> list[float]:
    step = next(s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if reach / s <= 5)
    return [step * i for i in range(1, int(reach / step) + 1)]


def draw_evidence(evidence: Evidence) -> Figure:
    """The busiest seconds by every source, and how well causes explain their responses by lag."""
    figure = Figure(figsize=(12.5, 7.4), dpi=130, layout="constrained")
    panels = figure.subplot_mosaic(
        [["turning", "lags"], ["accelerating", "names"]], width_ratios=(1.5, 1), height_ratios=(1.15, 1)
    )
    _draw_excerpt(panels["turning"], evidence.time_s, evidence.turning)
    panels["turning"].set_ylabel("turn rate [rad/s]")
    panels["turning"].set_title("Turning, the same seconds by every source", pad=30, **TITLE)
    _draw_excerpt(panels["accelerating"], evidence.time_s, evidence.accelerating)
    panels["accelerating"].set(ylabel="acceleration [m/s²]", xlabel="from the first stamp [s]")
    panels["accelerating"].set_title("Accelerating", pad=30, **TITLE)
    _draw_lags(panels["lags"], panels["names"], evidence)
    return figure


def _draw_lags(axes: Axes, names: Axes, evidence: Evidence) -> None:
    """What is left unexplained by lag, and the lags themselves in words."""
    names.set_axis_off()
    axes.set_title("By how much one trails the other", **TITLE)
    for number, ((response, cause), fit) in enumerate(evidence.lags.items()):
        late, early = (response, cause) if fit.lag_s >= 0 else (cause, response)
        colour = _COLOURS[number % len(_COLOURS)]
        left = np.maximum(1 - fit.explained_at, 1e-6)
        axes.plot(fit.lags_s, 100 * left, color=colour, linewidth=1.9)
        axes.plot(fit.lag_s, 100 * max(1 - fit.explained, 1e-6), "o", color=colour, markersize=6)
        names.text(
            0.0,
            0.97 - 0.19 * number,
            f"{late} trails {early}\nby {abs(fit.lag_s):.3f} ± {fit.lag_std_s:.3f} s",
            color=colour,
            fontsize=10,
            va="top",
            transform=names.transAxes,
        )
    if not evidence.lags:
        axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center", color=_FAINT)
        return
    axes.axvline(0, color=INK, linewidth=0.8, alpha=0.5)
    axes.set_yscale("log")
    axes.set(xlabel="lag of the response behind its cause [s]", ylabel="left unexplained [%]")
    plain(axes)


def _draw_excerpt(axes: Axes, time_s: np.ndarray, sources: dict[str, np.ndarray]) -> None:
    """The seconds in which the first source varies most."""
    plain(axes)
    if not sources:
        return
    first = next(iter(sources.values()))
    width = min(len(time_s), max(2, round(_EXCERPT_S / float(time_s[1] - time_s[0]))))
    energy = np.convolve(np.nan_to_num(np.abs(np.gradient(first))), np.ones(width), mode="valid")
    start = int(energy.argmax())
    rows = slice(start, start + width)
    for number, (name, values) in enumerate(sources.items()):
        if number == 0:
            axes.plot(time_s[rows], values[rows], label=name, color=INK, linewidth=3.4, alpha=0.45)
        else:
            axes.plot(
                time_s[rows], values[rows], label=name, color=_COLOURS[(number - 1) % len(_COLOURS)], linewidth=1.6
            )
    axes.set_xlim(time_s[rows][0], time_s[rows][-1])
    axes.legend(
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        ncols=3,
        loc="lower left",
        bbox_to_anchor=(-0.01, 0.98),
        borderpad=0,
    )
