"""Figures of a planner in a recording's shadow: agreement by speed, paths, costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbrl_ros.core.layout import ACTIONS, VX
from mbrl_ros.evaluation.agreement import Agreement, agreement, offsets
from mbrl_ros.evaluation.regimes import SPEEDS
from mbrl_ros.evaluation.shadow import PATH_S, Shadowed

HORIZONS_S = (0.5, 1.0, 2.0)
"""How long after a plan's state its path is compared with the driven one."""

QUANTITIES = ACTIONS["acceleration"].names
"""What agreement is of, in this order."""


@dataclass(frozen=True)
class PathDifference:
    """Planned against driven position after one horizon; nan where nothing could be compared.

    Args:
        horizon_s: after the plan's state [s].
        count: plans compared.
        rms_m: root mean square distance [m].
        ahead_m: mean distance by which plans are ahead of the driver, along the car's heading at the start [m].
        left_m: mean distance by which plans are to the left [m].
    """

    horizon_s: float
    count: int
    rms_m: float
    ahead_m: float
    left_m: float


@dataclass(frozen=True)
class Band:
    """Cycles of one range of speeds.

    Args:
        name: ``all``, or one of `evaluation.regimes.SPEEDS`: thirds of the cycles.
        speed_mps: the range's ends [m/s].
        cycles: with a plan.
        instant: agreement of commands at the instant at which a plan comes into force.
        ahead: of commands over the half second after that.
        paths: by `HORIZONS_S`.
        costs: mean by term.
    """

    name: str
    speed_mps: tuple[float, float]
    cycles: int
    instant: Agreement
    ahead: Agreement
    paths: tuple[PathDifference, ...]
    costs: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "speed": self.name,
            "speed_mps": list(self.speed_mps),
            "cycles": self.cycles,
            "instant": _agreement_json(self.instant),
            "next_half_second": _agreement_json(self.ahead),
            "path": [vars(path) for path in self.paths],
            "costs": self.costs,
        }


def score(shadowed: Shadowed) -> tuple[Band, ...]:
    """All cycles, and the slow, medium and fast third of them."""
    speed = shadowed.state[:, VX]
    everything = np.ones(len(speed), dtype=bool)
    edges = [-math.inf, *np.quantile(speed, [1 / 3, 2 / 3]), math.inf]
    thirds = [(speed >= edges[k]) & (speed < edges[k + 1]) for k in range(len(SPEEDS))]
    named = [("all", everything), *zip(SPEEDS, thirds, strict=True)]
    return tuple(_band(name, shadowed, rows) for name, rows in named if rows.any())


def distances(shadowed: Shadowed, horizon_s: float) -> np.ndarray:
    """[N] distance between planned and driven position ``horizon_s`` after the plan's state [m]; may be nan."""
    at = _place(horizon_s)
    return np.asarray(np.linalg.norm(shadowed.planned_xy[:, at] - shadowed.driven_xy[:, at], axis=-1))


def _band(name: str, shadowed: Shadowed, rows: np.ndarray) -> Band:
    planned, driven = shadowed.planned[rows], shadowed.driven[rows]
    speed = shadowed.state[rows, VX]
    return Band(
        name,
        (float(speed.min()), float(speed.max())),
        int(rows.sum()),
        agreement(planned[:, 0], driven[:, 0]),
        agreement(planned, driven),
        tuple(_path_difference(shadowed, rows, horizon_s) for horizon_s in HORIZONS_S),
        {term: float(values[rows].mean()) for term, values in shadowed.costs.items()},
    )


def _path_difference(shadowed: Shadowed, rows: np.ndarray, horizon_s: float) -> PathDifference:
    at = _place(horizon_s)
    apart = offsets(shadowed.state[rows], shadowed.planned_xy[rows, at], shadowed.driven_xy[rows, at])
    apart = apart[np.isfinite(apart).all(axis=1)]
    if not len(apart):
        return PathDifference(horizon_s, 0, math.nan, math.nan, math.nan)
    ahead_m, left_m = apart.mean(axis=0)
    return PathDifference(
        horizon_s, len(apart), float(np.sqrt((apart**2).sum(axis=1).mean())), float(ahead_m), float(left_m)
    )


def _place(horizon_s: float) -> int:
    return int(np.argmin(np.abs(PATH_S - horizon_s)))


def _agreement_json(found: Agreement) -> dict[str, Any]:
    figures = {"rms": found.rms, "bias": found.bias, "correlation": found.correlation}
    rows = {
        quantity: {figure: float(values[k]) for figure, values in figures.items()}
        for k, quantity in enumerate(QUANTITIES)
    }
    return {"compared": found.count, **rows}
