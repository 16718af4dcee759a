"""Whether a model is as uncertain as it should be: what its intervals hold of the driving, by horizon and regime."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.evaluation.baselines import beginning
from mbrl_ros.evaluation.open_loop import Windows
from mbrl_ros.evaluation.regimes import REGIMES, Regimes
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.learned.intervals import half_widths, in_heading, member_rollouts, spread
from mbrl_ros.models.passport import LoadedModel

EVERYWHERE = "all"
"""The regime of every start."""


@dataclass(frozen=True)
class Coverage:
    """What a model's intervals hold of what was driven.

    Args:
        model: its name.
        horizon_s: [s].
        regime: one of `regimes.REGIMES`, or `EVERYWHERE`.
        starts: predictions in it.
        share: by level, the mean of along and across the heading.
        novel: share of the starts that the model calls novel.
    """

    model: str
    horizon_s: float
    regime: str
    starts: int
    share: dict[float, float]
    novel: float


def coverage(
    name: str, loaded: LoadedModel, windows: Windows, predicted: torch.Tensor, regimes: Regimes
) -> list[Coverage]:
    """By horizon and regime, empty for a model that says nothing of its uncertainty.

    Args:
        name: of the model.
        loaded: the model.
        windows: the driving.
        predicted: [N, H + 1, 8] what it predicted.
        regimes: of the driving.
    """
    stated, model = loaded.passport.uncertainty, loaded.model
    if stated is None or not isinstance(model, LearnedModel):
        return []
    _, begin, applied = beginning(name, model, windows)
    with torch.no_grad():
        apart = spread(member_rollouts(model, begin, applied))
        novelty = model.novelty(begin[:, :8], applied[:, 0])
        novel = (novelty > stated.novelty).numpy()
    found = []
    for intervals in stated.horizons:
        step = round(intervals.horizon_s / windows.dt)
        if step >= predicted.shape[1]:
            continue
        error = torch.stack(
            in_heading((windows.driven - predicted)[:, step, [X, Y]], predicted[:, step, YAW]), dim=-1
        ).abs()
        inside = (error[:, None] <= half_widths(intervals, apart[:, step], novelty)).double().mean(dim=-1).numpy()
        whole = torch.isfinite(error).all(dim=-1).numpy()
        for regime in (EVERYWHERE, *REGIMES):
            rows = whole if regime == EVERYWHERE else whole & regimes.rows(regime)
            if rows.any():
                share = dict(zip(stated.levels, inside[rows].mean(axis=0).tolist(), strict=True))
                found.append(
                    Coverage(name, intervals.horizon_s, regime, int(rows.sum()), share, float(novel[rows].mean()))
                )
    return found
