"""Evidence for and against the model in force, from the last seconds driven; cheap enough to be taken often."""

from __future__ import annotations

import math

import numpy as np
import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.layout import STATE, VX, VY
from mbrl_ros.core.trust import Evidence
from mbrl_ros.evaluation.driven import Driven, Window
from mbrl_ros.evaluation.live import errors_of
from mbrl_ros.models.learned.intervals import member_rollouts, spread
from mbrl_ros.models.learned.model import LearnedModel
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.passport import LoadedModel, Passport

RECENT_S = 1.5
"""Driving that evidence is taken from [s]."""

SMALLEST_ERROR_M = 0.05
"""Held-out errors below this count as this [m]: live ones contain the estimator's own noise."""

SMALLEST_SHARE = 0.05
"""Errors below this share of the way driven count as none: planners see the car again long before its end."""

_EVERY_S = 0.1  # spacing of the starts
_SLIDE_S = 1.0  # predictions that slides are seen beside: shorter ones begin in the midst of them
_LATENCY_S = 0.05  # and no longer ago they end
_SLIPS_FROM_MPS = 3.0  # slower, a slip angle means little
_SHORTEST_S = 0.2  # held-out errors over shorter horizons say more of the sensors than of the model


def held_out_error(passport: Passport) -> tuple[float, float] | None:
    """Shortest horizon [s] that a position error is known for, and that error [m]; None where none is known.

    Of scores it is the mean over recordings, of calibrated intervals their usual error.
    """
    known: dict[float, list[float]] = {}
    for score in passport.scores:
        known.setdefault(score.horizon_s, []).append(score.fde_m)
    for interval in passport.uncertainty.horizons if passport.uncertainty else ():
        known.setdefault(interval.horizon_s, [math.hypot(*interval.base_m)])
    horizons_s = [horizon_s for horizon_s in known if horizon_s >= _SHORTEST_S]
    if not horizons_s:
        return None
    errors = known[min(horizons_s)]
    return min(horizons_s), sum(errors) / len(errors)


def evidence(loaded: LoadedModel, driven: Driven, since_s: float = -math.inf, slides: bool = False) -> Evidence:
    """What the last `RECENT_S` of driving, since ``since_s``, say about ``loaded``; physics has a residual alone.

    A figure of predictions that are not finite is infinite. For ``slides`` predictions of their own are made.
    """
    held_out = held_out_error(loaded.passport)
    if held_out is None:
        return Evidence()
    horizon_s, held_out_m = held_out
    starts_s = driven.starts(loaded.model, horizon_s, RECENT_S, _EVERY_S)
    starts_s = starts_s[starts_s >= since_s]
    if not len(starts_s):
        return Evidence()
    model = loaded.model
    window = driven.window(model, starts_s, horizon_s)
    way_m = horizon_s * float(np.abs(driven.at(starts_s)[:, VX]).mean())
    error_m = max(held_out_m, SMALLEST_ERROR_M, SMALLEST_SHARE * way_m)
    novelty = disagreement = 0.0
    with torch.no_grad():
        if isinstance(model, LearnedModel):
            members = member_rollouts(model, window.begin, window.applied)[model.elites]
            predicted = members.mean(dim=0)
            disagreement = float(spread(members)[:, -1].amax()) / error_m
            novelty = _novelty(model, loaded.passport, driven, window)
        else:
            predicted = rollout(model, window.begin, window.applied)[..., : len(STATE)]
    live = errors_of(driven, starts_s, predicted.double().numpy(), model.dt, (horizon_s,))
    slip_rad = _slip_missed(model, driven, since_s) if slides else 0.0
    figures = novelty, disagreement, float(live.position_m[0]) / error_m, slip_rad
    return Evidence(*(math.inf if math.isnan(figure) else figure for figure in figures))


def _slip_missed(model: DynamicsModel, driven: Driven, since_s: float) -> float:
    """How much the body slips now beside what was predicted `_SLIDE_S` ago [rad]; 0 where that is not known."""
    starts_s = driven.starts(model, _SLIDE_S, RECENT_S, _LATENCY_S)[-1:]
    if not len(starts_s) or starts_s[0] < since_s:
        return 0.0
    window = driven.window(model, starts_s, _SLIDE_S)
    with torch.no_grad():
        expected = rollout(model, window.begin, window.applied)[0, -1].double().numpy()
    happened = driven.at(starts_s + model.dt * window.applied.shape[1])[0]
    if min(happened[VX], expected[VX]) < _SLIPS_FROM_MPS:
        return 0.0
    angle, predicted = (math.atan2(state[VY], state[VX]) for state in (happened, expected))
    return abs(wrap_angle(angle - predicted))


def _novelty(model: LearnedModel, passport: Passport, driven: Driven, window: Window) -> float:
    """Mean along the newest predictions, as a share of the passport's threshold; 0 where it has none.

    The mean of a second, not the largest: of held-out driving, too, one moment in a hundred lies beyond the threshold.
    """
    if passport.uncertainty is None:
        return 0.0
    steps = window.applied.shape[1]
    newest = window.starts_s[-1] + model.dt * np.arange(steps)
    car = torch.from_numpy(driven.at(newest)).to(window.applied.dtype)
    return float(model.novelty(car, window.applied[-1]).mean()) / passport.uncertainty.novelty
