"""How far to trust a trained model, from driving that it did not learn from."""

from __future__ import annotations

import math

import numpy as np
import torch

from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.learning.examples import Examples
from mbrl_ros.learning.objective import predictions
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.learned.intervals import in_heading, spread
from mbrl_ros.models.passport import HorizonIntervals, Uncertainty

LEVELS = (0.5, 0.9, 0.95)
HORIZONS_S = (0.5, 1.0, 2.0)

_NOVEL = 0.99  # share of held-out driving that is not called novel
_SMALLEST_M = 1e-3
_ROWS = 512


def whiten(model: LearnedModel, examples: Examples) -> None:
    """Set what `LearnedModel.novelty` measures by, from the inputs in ``examples``."""
    inputs = torch.cat([_inputs(model, examples, view) for view in range(examples.views)])
    count = inputs.shape[-1]
    scaled = ((inputs - model.mean[:count]) / model.std[:count]).double()
    # A hundredth of each input's own variance keeps inputs that always move together from counting without end.
    covariance = scaled.T @ scaled / len(scaled) + 0.01 * torch.eye(count, dtype=torch.float64)
    root = torch.linalg.cholesky(torch.linalg.inv(covariance))
    model.whitening.copy_(root)


def calibrated(model: LearnedModel, examples: Examples) -> Uncertainty | None:
    """Intervals about predicted positions, and the novelty beyond which to doubt, for a `whiten`ed model.

    Held-out driving is predicted by the members that did not learn from it. An interval's factor is the quantile of
    errors as shares of ``sqrt(base^2 + spread^2)``, base being their root mean square (split conformal prediction).
    None where predictions are too short for any of the horizons.
    """
    steps = {h: round(h / model.dt) for h in HORIZONS_S if round(h / model.dt) <= examples.driven.shape[2]}
    if not steps:
        return None
    rows = examples.sample
    rows = rows[examples.held_out[:, rows].any(dim=0)]
    with torch.no_grad():
        parts = [_errors_and_spread(model, examples, part) for part in rows.split(_ROWS)]
        errors, widths = (torch.cat(tensors).double().numpy() for tensors in zip(*parts, strict=True))
        novelty = model.novelty(examples.car[0, rows], examples.applied[0, rows, 0]).numpy()
    horizons = []
    for horizon_s, step in steps.items():
        error, width = np.abs(errors[:, step - 1]), widths[:, step - 1]
        base = np.sqrt(np.mean(error**2, axis=0)) + _SMALLEST_M
        shares = error / np.sqrt(base**2 + width**2)
        factors = [[_quantile(shares[:, axis], level) for level in LEVELS] for axis in (0, 1)]
        horizons.append(
            HorizonIntervals(
                horizon_s=horizon_s, base_m=tuple(base.tolist()), along=tuple(factors[0]), across=tuple(factors[1])
            )
        )
    return Uncertainty(levels=LEVELS, horizons=tuple(horizons), novelty=_quantile(novelty, _NOVEL))


def _errors_and_spread(
    model: LearnedModel, examples: Examples, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """[n, H, 2] position errors, along and across, of the members that hold a row out; and the spread of all."""
    trajectories = predictions(model, examples, 0, rows)
    driven = examples.driven[0, rows]
    held_out = examples.held_out[:, rows, None, None].float()
    own = (trajectories * held_out).sum(dim=0) / held_out.sum(dim=0)
    errors = in_heading(own[..., [X, Y]] - driven[..., [X, Y]], driven[..., YAW])
    return torch.stack(errors, dim=-1), spread(trajectories)


def _inputs(model: LearnedModel, examples: Examples, view: int) -> torch.Tensor:
    with torch.no_grad():
        return model.seen(examples.car[view, examples.sample], examples.applied[view, examples.sample, 0])


def _quantile(values: np.ndarray, level: float) -> float:
    """Quantile of a finite sample that holds for the next value, and is at least a little."""
    rank = min(math.ceil(level * (len(values) + 1)), len(values))
    return max(float(np.sort(values)[rank - 1]), 1e-6)
