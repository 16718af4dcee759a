"""By how much one signal trails another, and how the two are related once that is taken out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BLOCKS = 16
"""Parts of the driving, left out one at a time for the jackknife."""

_OUTLIER = 6.0  # robust standard deviations beyond which a row does not count: poses jump


@dataclass(frozen=True)
class LagFit:
    """Least squares at the lag that leaves the least residual.

    Args:
        lag_s: by which the response trails its cause, between the lags tried by a parabola.
        lag_std_s: its standard deviation, by a jackknife over blocks of driving.
        coefficients: [F] of the regressors there.
        std: [F] their standard deviations, by the same jackknife.
        explained: share of the response's variance explained there (R squared).
        explained_at: [D] the same by lag.
        lags_s: [D].
        rows: samples that counted.
        rms: root mean square of what is left, in the response's unit.
    """

    lag_s: float
    lag_std_s: float
    coefficients: np.ndarray
    std: np.ndarray
    explained: float
    explained_at: np.ndarray
    lags_s: np.ndarray
    rows: int
    rms: float

    def clear(self, matters_s: float) -> bool:
        """Whether the lag is beyond ``matters_s`` for certain, and inside of what was tried."""
        inner = self.lags_s[0] < self.lag_s < self.lags_s[-1]
        return inner and abs(self.lag_s) - 3 * self.lag_std_s > matters_s


def fit_lag(
    response: np.ndarray, regressors: Callable[[float], np.ndarray], lags_s: np.ndarray, least_rows: int = 40
) -> LagFit | None:
    """Fit ``response(t) = regressors(t - lag) @ coefficients``.

    Args:
        response: [K], NaN where unknown.
        regressors: lag [s] -> [K, F] the causes that much earlier, NaN where unknown.
        lags_s: [D] to try, evenly spaced; one for no search.
        least_rows: fewer usable rows than this say nothing.

    Returns:
        None where there are too few rows, or nothing that varies.
    """
    causes = np.stack([regressors(float(lag)) for lag in lags_s])
    known = np.flatnonzero(np.isfinite(response) & np.isfinite(causes).all(axis=(0, 2)))
    for attempt in range(2):
        if len(known) < least_rows or not np.any(causes[:, known]) or np.ptp(response[known]) == 0:
            return None
        y, x = response[known], causes[:, known]
        residue, coefficients, spread = _residues(y, x)
        if attempt == 0:
            best = int(residue.argmin())
            left = y - x[best] @ coefficients[best]
            typical = 1.4826 * np.median(np.abs(left - np.median(left)))
            known = known[np.abs(left - np.median(left)) <= _OUTLIER * typical + 1e-12]
    best = int(residue.argmin())
    lag, lag_std = _lag(residue, spread, lags_s)
    variance = max(float(((y - y.mean()) ** 2).sum()), 1e-300)
    jackknife = np.sqrt((len(spread) - 1) * np.var([b[1][best] for b in spread], axis=0))
    return LagFit(
        lag,
        lag_std,
        coefficients[best],
        jackknife,
        1 - float(residue[best]) / variance,
        1 - residue / variance,
        lags_s,
        len(y),
        float(np.sqrt(residue[best] / len(y))),
    )


_Fit = tuple[np.ndarray, np.ndarray]


def _residues(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[_Fit]]:
    """[D] residual sums of squares and [D, F] coefficients, and the same without each block of rows."""
    blocks = np.array_split(np.arange(len(y)), BLOCKS)
    gram = np.stack([np.einsum("dkf,dkg->dfg", x[:, b], x[:, b]) for b in blocks])
    moment = np.stack([np.einsum("dkf,k->df", x[:, b], y[b]) for b in blocks])
    energy = np.array([y[b] @ y[b] for b in blocks])
    whole = _solve(gram.sum(0), moment.sum(0), energy.sum())
    without = [
        _solve(gram.sum(0) - gram[b], moment.sum(0) - moment[b], energy.sum() - energy[b]) for b in range(BLOCKS)
    ]
    return *whole, without


def _solve(gram: np.ndarray, moment: np.ndarray, energy: float) -> _Fit:
    size = np.sqrt(np.einsum("dff->df", gram)) + 1e-12
    inverse = np.linalg.pinv(gram / size[:, :, None] / size[:, None, :], rcond=1e-10, hermitian=True)
    coefficients = np.einsum("dfg,dg->df", inverse, moment / size) / size
    return np.maximum(energy - np.einsum("df,df->d", coefficients, moment), 0.0), coefficients


def _lag(residue: np.ndarray, without: list[_Fit], lags_s: np.ndarray) -> tuple[float, float]:
    if len(lags_s) == 1:
        return float(lags_s[0]), 0.0
    step = float(lags_s[1] - lags_s[0])
    vertices = np.array([_vertex(r) for r, _ in without])
    spread = np.sqrt((len(vertices) - 1) * np.var(vertices))
    return float(lags_s[0]) + _vertex(residue) * step, float(spread) * step


def _vertex(values: np.ndarray) -> float:
    """Place of the least of ``values`` [D], between its neighbours by the parabola through them."""
    i = int(values.argmin())
    if i in (0, len(values) - 1):
        return float(i)
    before, here, after = values[i - 1 : i + 2]
    curvature = before - 2 * here + after
    return i + (0.5 * (before - after) / curvature if curvature > 0 else 0.0)
