"""How sure a mean over starts is, although neighbouring predictions overlap and err together."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri, stdtrit

LEAST_BLOCK_S = 3.0
"""Driving whose predictions are taken to err together however short the horizon: about a corner [s]."""

_RESAMPLES = 1000
_HORIZONS = 3.0  # per block: with one, what blocks share is lost and 95 % intervals hold some 88 % (Kuensch 1989)


def block_of(horizon_s: float, start_every_s: float) -> int:
    """Successive starts in a block of the bootstrap, for predictions over ``horizon_s``."""
    return max(1, round(max(_HORIZONS * horizon_s, LEAST_BLOCK_S) / start_every_s))


def mean_interval(values: np.ndarray, block: int, seed: int, among: np.ndarray | None = None) -> tuple[float, float]:
    """95 % interval of the mean of ``values`` [N], by the moving-block bootstrap (Kuensch 1989).

    Args:
        values: in the order of their starts.
        block: so many successive values are drawn together, see `block_of`.
        seed: of the draws.
        among: [N] bool, the values that the mean is of; blocks are drawn from all, so that those of a regime that
            comes and goes stay as far apart as they were driven. By default all.

    Returns:
        Low and high; NaN where a value is not finite, or all lie within one block, which says nothing of others.
    """
    among = np.ones(len(values), dtype=bool) if among is None else among
    rows = np.flatnonzero(among)
    if not np.isfinite(values[among]).all() or len(rows) == 0 or (len(values) > 1 and np.ptp(rows) < block):
        return math.nan, math.nan
    # A circle of starts: each is in as many blocks as any other, those at the ends, too (Politis and Romano 1992).
    around = np.arange(len(values) + block - 1) % len(values)
    sums = np.convolve(np.where(among, values, 0.0)[around], np.ones(block), mode="valid")
    counts = np.convolve(among.astype(float)[around], np.ones(block), mode="valid")
    draws = math.ceil(len(values) / block)
    starts = np.random.default_rng(seed).integers(len(sums), size=(_RESAMPLES, draws))
    total = counts[starts].sum(axis=1)
    means = sums[starts].sum(axis=1)[total > 0] / total[total > 0]
    mean = float(values[among].mean())
    low, high = mean + _widening(len(values) / block) * (np.percentile(means, [2.5, 97.5]) - mean)
    return float(low), float(high)


def _widening(blocks: float) -> float:
    """By how much few independent blocks understate what a mean of them may be off: Student's factor."""
    freedom = max(blocks - 1.0, 1.0)
    return float(stdtrit(freedom, 0.975) / ndtri(0.975) * math.sqrt(blocks / freedom))
