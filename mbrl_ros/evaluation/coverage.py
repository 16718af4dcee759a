"""Whether a model is as uncertain as it should be: what its intervals hold of the driving, by horizon and regime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mbrl_ros.core.layout import VX, YAW, YAW_RATE, X, Y
from mbrl_ros.evaluation.baselines import beginning
from mbrl_ros.evaluation.open_loop import Windows
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.learned.intervals import half_widths, in_heading, member_rollouts, spread
from mbrl_ros.models.passport import LoadedModel

REGIMES = ("all", "straight", "cornering", "accelerating", "braking")

_SHARE = 0.3  # of the strongest that was driven, beyond which a start counts as cornering, accelerating or braking


@dataclass(frozen=True)
class Coverage:
    """What a model's intervals hold of what was driven.

    Args:
        model: its name.
        horizon_s: [s].
        regime: one of `REGIMES`.
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


def coverage(name: str, loaded: LoadedModel, windows: Windows, predicted: torch.Tensor) -> list[Coverage]:
    """By horizon and regime, empty for a model that says nothing of its uncertainty.

    Args:
        name: of the model.
        loaded: the model.
        windows: the driving.
        predicted: [N, H + 1, 8] what it predicted.
    """
    stated, model = loaded.passport.uncertainty, loaded.model
    if stated is None or not isinstance(model, LearnedModel):
        return []
    _, begin, applied = beginning(name, model, windows)
    with torch.no_grad():
        apart = spread(member_rollouts(model, begin, applied))
        novel = (model.novelty(begin[:, :8], applied[:, 0]) > stated.novelty).numpy()
    found = []
    for intervals in stated.horizons:
        step = round(intervals.horizon_s / windows.dt)
        if step >= predicted.shape[1]:
            continue
        error = torch.stack(
            in_heading((windows.driven - predicted)[:, step, [X, Y]], predicted[:, step, YAW]), dim=-1
        ).abs()
        inside = (error[:, None] <= half_widths(intervals, apart[:, step])).double().mean(dim=-1).numpy()
        whole = torch.isfinite(error).all(dim=-1).numpy()
        for regime, rows in _regimes(windows.driven[:, : step + 1].numpy(), windows.dt).items():
            rows = rows & whole
            if rows.any():
                share = dict(zip(stated.levels, inside[rows].mean(axis=0).tolist(), strict=True))
                found.append(
                    Coverage(name, intervals.horizon_s, regime, int(rows.sum()), share, float(novel[rows].mean()))
                )
    return found


def _regimes(driven: np.ndarray, dt: float) -> dict[str, np.ndarray]:
    """[N] bool by regime, for driving [N, H + 1, 8] (NaN where it ends before)."""
    lateral = np.abs(driven[..., VX] * driven[..., YAW_RATE]).mean(axis=1)
    rate = (driven[:, -1, VX] - driven[:, 0, VX]) / ((driven.shape[1] - 1) * dt)
    strong = _SHARE * np.nanmax(np.abs(rate), initial=0.0)
    cornering = lateral > _SHARE * np.nanmax(lateral, initial=0.0)
    return {
        "all": np.ones(len(driven), dtype=bool),
        "straight": ~cornering,
        "cornering": cornering,
        "accelerating": rate > strong,
        "braking": rate < -strong,
    }
