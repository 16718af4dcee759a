"""How far to trust a trained model, from driving that it did not learn from."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import nnls

from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.learning.examples import Examples
from mbrl_ros.learning.unrolling import predictions
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.learned.intervals import in_heading, spread, width_parts
from mbrl_ros.models.passport import HorizonIntervals, Uncertainty

LEVELS = (0.5, 0.9, 0.95)
HORIZONS_S = (0.5, 1.0, 2.0)

_NOVEL = 0.99  # share of held-out driving that is not called novel
_SMALLEST_M = 1e-3
_LEAST_BASE = 0.1  # weight of the usual error: members that agree by chance are not certain
_ROWS = 512


def whiten(model: LearnedModel, examples: Examples) -> None:
    """Set what `LearnedModel.novelty` measures by, from the inputs in ``examples``: half of them are beyond 1."""
    inputs = torch.cat([_inputs(model, examples, view) for view in range(examples.views)])
    count = inputs.shape[-1]
    scaled = ((inputs - model.mean[:count]) / model.std[:count]).double()
    # A hundredth of each input's own variance keeps inputs that always move together from counting without end.
    covariance = scaled.T @ scaled / len(scaled) + 0.01 * torch.eye(count, dtype=torch.float64)
    root = torch.linalg.cholesky(torch.linalg.inv(covariance))
    usual = torch.linalg.vector_norm(scaled @ root, dim=-1).median() / count**0.5
    model.whitening.copy_(root / usual)


def calibrated(model: LearnedModel, examples: Examples) -> Uncertainty | None:
    """Intervals about predicted positions, and the novelty beyond which to doubt, for a `whiten`ed model.

    Held-out driving is predicted by the members that did not learn from it. The size of their error is explained by
    what is always wrong, by how far members disagree, and by how novel the start is, none of which may narrow an
    interval; its factor is the quantile of errors as shares of that (normalised split conformal prediction,
    Papadopoulos et al. 2011). None where predictions are too short for any of the horizons.
    """
    steps = {h: round(h / model.dt) for h in HORIZONS_S if round(h / model.dt) <= examples.driven.shape[2]}
    if not steps:
        return None
    rows = examples.sample
    rows = rows[examples.held_out[:, rows].any(dim=0)]
    with torch.no_grad():
        parts = [_errors_and_spread(model, examples, part) for part in rows.split(_ROWS)]
        errors, widths = (torch.cat(tensors).double() for tensors in zip(*parts, strict=True))
        novelty = model.novelty(examples.car[0, rows], examples.applied[0, rows, 0]).double()
    horizons = tuple(
        intervals_for(horizon_s, errors[:, step - 1].abs(), widths[:, step - 1], novelty)
        for horizon_s, step in steps.items()
    )
    return Uncertainty(levels=LEVELS, horizons=horizons, novelty=_quantile(novelty.numpy(), _NOVEL))


def intervals_for(
    horizon_s: float, error: torch.Tensor, spread_m: torch.Tensor, novelty: torch.Tensor
) -> HorizonIntervals:
    """From the sizes of errors [n, 2], members' spread [n, 2] and novelty [n]."""
    base = error.square().mean(dim=0).sqrt() + _SMALLEST_M
    parts = width_parts(base, spread_m, novelty).numpy()
    weights = [nnls(parts[:, axis], error[:, axis].numpy())[0] for axis in (0, 1)]
    for weight in weights:
        weight[0] = max(weight[0], _LEAST_BASE)
    shares = [error[:, axis].numpy() / (parts[:, axis] @ weights[axis]) for axis in (0, 1)]
    along, across = (tuple(_quantile(share, level) for level in LEVELS) for share in shares)
    return HorizonIntervals(
        horizon_s=horizon_s,
        base_m=(float(base[0]), float(base[1])),
        along=along,
        across=across,
        along_weights=tuple(weights[0].tolist()),
        across_weights=tuple(weights[1].tolist()),
    )


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
