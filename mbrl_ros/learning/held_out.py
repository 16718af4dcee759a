"""How well any model predicts the part of some driving that is held out of learning from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from mbrl_ros.core.layout import X, Y
from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.driving import evenly, find_stretches
from mbrl_ros.learning.examples import held_out_windows
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.passport import Score
from mbrl_ros.models.starting import history_s, start

_MOST = 2000
"""Predictions; the same number for every model, so that models are compared on the same."""

SCORED_S = (1.0, 2.0)
"""Horizons of `held_out_scores` [s]."""


def held_out_errors(
    model: DynamicsModel, drives: Sequence[Drive], settings: TrainingSettings, past_s: float = 0.0
) -> torch.Tensor:
    """[N, H] position errors [m] after each step, in predictions from the held-out part of ``drives``.

    Of more than 2000 predictions so many are made, evenly spread.

    Args:
        model: any.
        drives: the driving.
        settings: of the predictions, and of what is held out.
        past_s: driving that every start has behind it, at least [s]: models that see as much have the same starts.

    Raises:
        DataError: there is too little driving; the message says what to do.
    """
    stretches = find_stretches(drives, model.delay.detach(), max(past_s, history_s(model)), settings)
    held_out = held_out_windows(stretches.starts.block, 1, settings)[0]
    rows = held_out.nonzero()[:, 0].numpy()
    driving = stretches.cut(rows[evenly(len(rows), _MOST)])
    past = driving.past
    with torch.no_grad():
        begin = start(model, driving.states[:, : past + 1], driving.observed, driving.applied[:, :past])
        predicted = rollout(model, begin, driving.applied[:, past:])[:, 1:]
    error = predicted[..., [X, Y]] - driving.states[:, past + 1 :][..., [X, Y]]
    return torch.linalg.vector_norm(error, dim=-1)


def held_out_scores(model: DynamicsModel, drives: Sequence[Drive], settings: TrainingSettings) -> tuple[Score, ...]:
    """The same as scores, at those of `SCORED_S` that predictions reach."""
    errors = held_out_errors(model, drives, settings)
    bag = "+".join(dict.fromkeys(Path(drive.source).resolve().name for drive in drives))
    return tuple(
        Score(
            bag=bag,
            horizon_s=horizon_s,
            ade_m=float(errors[:, :steps].mean()),
            fde_m=float(errors[:, steps - 1].mean()),
            starts=len(errors),
        )
        for horizon_s in SCORED_S
        if (steps := round(horizon_s / model.dt)) <= errors.shape[1]
    )
