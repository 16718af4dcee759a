"""Predictions with what is uncertain of them: mean, covariance and novelty of a batch of trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch

from mbrl_ros.core.layout import STATE, YAW, X, Y
from mbrl_ros.models.learned.intervals import half_widths, member_rollouts, spread
from mbrl_ros.models.learned.model import LearnedModel
from mbrl_ros.models.model import rollout
from mbrl_ros.models.passport import LoadedModel, Uncertainty

_LEVEL = 0.9  # the interval that a calibrated standard deviation is taken from, where there is a choice


@dataclass(frozen=True)
class Prediction:
    """B trajectories of H steps.

    Args:
        states: [B, H + 1, S] the model's own prediction, by the mean of its members; the start first.
        covariance: [B, H + 1, 8, 8] of the entries of core.layout.STATE, or None where the model knows none.
        novelty: [B] largest along each trajectory, as a share of what the model calls novel; None where it does not.
    """

    states: torch.Tensor
    covariance: torch.Tensor | None
    novelty: torch.Tensor | None


def predict(loaded: LoadedModel, states: torch.Tensor, actions: torch.Tensor) -> Prediction:
    """Predict from ``states`` [B, S] along the applied ``actions`` [B, H, A].

    The covariance of every entry is that of the members' trajectories, each going its own way. That of the position
    is widened to the passport's calibrated intervals where there are any, linearly between their horizons and on
    beyond the longest.
    """
    model, known = loaded.model, loaded.passport.uncertainty
    with torch.no_grad():
        predicted = rollout(model, states, actions)
        members = predicted[None, ..., : len(STATE)]
        novelty, strange = None, predicted.new_zeros(len(states))
        if isinstance(model, LearnedModel):
            members = member_rollouts(model, states, actions)[model.elites]
            if known is not None:
                along = _novelty(model, predicted, actions)
                novelty, strange = along.amax(dim=1) / known.novelty, along[:, 0]
        covariance = None
        if known is not None or len(members) > 1:
            covariance = _covariance(members, predicted, known, strange, model.dt)
    return Prediction(predicted, covariance, novelty)


def _novelty(model: LearnedModel, predicted: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """[B, H] along trajectories [B, H + 1, S] and actions [B, H, A]."""
    car = predicted[:, :-1, : len(STATE)]
    return model.novelty(car.flatten(0, 1), actions.flatten(0, 1)).reshape(actions.shape[:2])


def _covariance(
    members: torch.Tensor, predicted: torch.Tensor, known: Uncertainty | None, novelty: torch.Tensor, dt: float
) -> torch.Tensor:
    """[B, H + 1, 8, 8] from members' trajectories [M, B, H + 1, 8], the passport's intervals, starts' novelty [B]."""
    apart = members - members.mean(dim=0)
    covariance = torch.einsum("mbhi,mbhj->bhij", apart, apart) / len(members)
    if known is not None:
        widening = (_calibrated(spread(members), known, novelty, dt) ** 2 - spread(members) ** 2).clamp_min(0.0)
        yaw = predicted[..., YAW]
        along = torch.stack([torch.cos(yaw), torch.sin(yaw)], dim=-1)
        across = torch.stack([-torch.sin(yaw), torch.cos(yaw)], dim=-1)
        for axis, direction in enumerate((along, across)):
            block = widening[..., axis, None, None] * direction[..., :, None] * direction[..., None, :]
            covariance[..., X : Y + 1, X : Y + 1] += block
    return covariance


def _calibrated(spread_m: torch.Tensor, known: Uncertainty, novelty: torch.Tensor, dt: float) -> torch.Tensor:
    """[B, H + 1, 2] standard deviation [m] along and across whose interval is the passport's, for members' spread."""
    level = min(range(len(known.levels)), key=lambda k: abs(known.levels[k] - _LEVEL))
    quantile = NormalDist().inv_cdf(0.5 + known.levels[level] / 2)
    at_starts = novelty.repeat_interleave(spread_m.shape[1])
    widths = [
        half_widths(interval, spread_m.reshape(-1, 2), at_starts)[:, level].reshape(spread_m.shape) / quantile
        for interval in known.horizons
    ]
    # From nothing at the start through the calibrated horizons; beyond the last as the last piece goes on.
    times = np.array([0.0, *(interval.horizon_s for interval in known.horizons)])
    table = torch.stack([torch.zeros_like(spread_m), *widths])
    at_s = dt * np.arange(spread_m.shape[-2])
    pieces = np.clip(np.searchsorted(times, at_s, side="right") - 1, 0, len(times) - 2)
    share = torch.from_numpy((at_s - times[pieces]) / np.diff(times)[pieces]).to(spread_m.dtype)[:, None]
    low, high = (table[pieces + k, :, np.arange(len(at_s))].movedim(0, 1) for k in (0, 1))
    return low + share * (high - low)
