"""Predicted beside driven paths of the last seconds, for people to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mbrl_ros.core.layout import X, Y
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.models.model import DynamicsModel, rollout


@dataclass(frozen=True)
class DrivenPaths:
    """N predictions, and what was driven from the same starts.

    Args:
        stamp_s: stamp of the newest state that is known [s].
        predicted: [N, H + 1, 2] positions [m].
        driven: [N, H + 1, 2] positions at the same times [m].
    """

    stamp_s: float
    predicted: np.ndarray
    driven: np.ndarray

    @property
    def error_m(self) -> np.ndarray:
        """[N] distance between the ends [m]."""
        return np.linalg.norm(self.predicted[:, -1] - self.driven[:, -1], axis=-1)


def driven_paths(
    driven: Driven, model: DynamicsModel, horizon_s: float, last_s: float, every_s: float
) -> DrivenPaths | None:
    """Predictions of ``model`` over ``horizon_s`` that ended within ``last_s``; None where there is none.

    Args:
        driven: states and commands.
        model: predicts.
        horizon_s: length of the paths [s].
        last_s: how far back [s].
        every_s: spacing of the starts [s].
    """
    starts_s = driven.starts(model, horizon_s, last_s, every_s)
    if not len(starts_s):
        return None
    window = driven.window(model, starts_s, horizon_s)
    with torch.no_grad():
        predicted = rollout(model, window.begin, window.applied)[..., [X, Y]].double().numpy()
    times_s = starts_s[:, None] + model.dt * np.arange(predicted.shape[1])
    happened = driven.at(times_s.ravel())[:, [X, Y]].reshape(predicted.shape)
    return DrivenPaths(driven.stamp_s, predicted, happened)
