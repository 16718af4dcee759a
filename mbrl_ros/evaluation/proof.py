"""Proof before a swap: a new model must predict the last seconds actually driven no worse than the one in force."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings
from mbrl_ros.core.layout import STATE
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.live import errors_of
from mbrl_ros.models.model import rollout
from mbrl_ros.models.passport import LoadedModel

_EVERY_S = 0.2


class ProofSettings(Settings):
    """What a new model has to show before it comes into force, and when it is taken back."""

    window_s: PositiveFloat = Field(default=20.0, le=300.0, description="last driving that models are compared on")
    least_s: PositiveFloat = Field(default=5.0, le=300.0, description="driving below which nothing is proven")
    horizon_s: PositiveFloat = Field(default=1.0, le=5.0, description="length of the predictions compared")
    tolerance: float = Field(
        default=1.1, ge=1.0, le=10.0, description="a newcomer's position error may be so many times the present one's"
    )
    allow_unproven: bool = Field(
        default=False,
        description="let a model in unproven while driving is too short; if not, only before the car has driven at all",
    )
    rollback_residual: PositiveFloat = Field(
        default=4.0, description="live error, as a multiple of the held-out error, that a model is taken back for"
    )
    rollback_share: PositiveFloat = Field(
        default=0.7, le=1.0, description="share of it below which the time below begins anew"
    )
    rollback_dwell_s: PositiveFloat = Field(default=1.0, le=60.0, description="how long the error lasts until then")

    @model_validator(mode="after")
    def _provable(self) -> ProofSettings:
        if self.least_s > self.window_s:
            raise ValueError(f"least_s is {self.least_s:g}, longer than window_s, {self.window_s:g}")
        return self


@dataclass(frozen=True)
class Comparison:
    """Two models on the same predictions.

    Args:
        newcomer_m: root mean square position error at the horizon [m].
        present_m: that of the model in force [m].
        starts: number of predictions.
        words: both figures in a sentence.
    """

    newcomer_m: float
    present_m: float
    starts: int
    words: str

    def holds(self, tolerance: float) -> bool:
        """See `holds`."""
        return holds(self.newcomer_m, self.present_m, tolerance)


def holds(newcomer_m: float, present_m: float, tolerance: float) -> bool:
    """Whether a newcomer's error is at most ``tolerance`` times the present one's; never where it is not finite."""
    return math.isfinite(newcomer_m) and newcomer_m <= tolerance * present_m


def common_starts(newcomer: LoadedModel, present: LoadedModel, driven: Driven, settings: ProofSettings) -> np.ndarray:
    """[n] stamps [s] from which both models can predict; none where too little was driven to prove anything."""
    if driven.driven_s < settings.least_s:
        return np.empty(0)
    pair = (newcomer.model, present.model)
    own, other = (driven.starts(model, settings.horizon_s, settings.window_s, _EVERY_S) for model in pair)
    return np.intersect1d(own, other)


def compare(newcomer: LoadedModel, present: LoadedModel, driven: Driven, settings: ProofSettings) -> Comparison | None:
    """Both models on the last ``settings.window_s`` driven, None where that is too little to prove anything."""
    common_s = common_starts(newcomer, present, driven, settings)
    if not len(common_s):
        return None
    pair = (newcomer, present)
    newcomer_m, present_m = (_error_m(loaded, driven, common_s, settings.horizon_s) for loaded in pair)
    words = (
        f"over the last {min(driven.driven_s, settings.window_s):.0f} s driven, {newcomer.id} misses the position "
        f"after {settings.horizon_s:g} s by {newcomer_m:.3f} m, {present.id} by {present_m:.3f} m "
        f"({len(common_s)} predictions)"
    )
    return Comparison(newcomer_m, present_m, len(common_s), words)


def _error_m(loaded: LoadedModel, driven: Driven, starts_s: np.ndarray, horizon_s: float) -> float:
    window = driven.window(loaded.model, starts_s, horizon_s)
    with torch.no_grad():
        predicted = rollout(loaded.model, window.begin, window.applied)[..., : len(STATE)]
    return float(errors_of(driven, starts_s, predicted.double().numpy(), loaded.model.dt, (horizon_s,)).position_m[0])
