"""By how much one signal trails another, and how the two are related once that is taken out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from mbrl_ros.models.identification.delays import vertex

_Fit = tuple[np.ndarray, np.ndarray]  # [D] residual sums of squares and [D, F] coefficients

BLOCKS = 16
"""Parts of the driving, left out one at a time for the jackknife."""

_RIDGE = 1e-10  # of a column's own size: regressors may be zero or alike
_COARSE = 5  # lags at a time
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

    Every ``_COARSE``-th lag is tried, then every one around the best of those.

    Args:
        response: [K], NaN where unknown.
        regressors: lag [s] -> [K, F] the causes that much earlier, NaN where unknown.
        lags_s: [D] to try, evenly spaced; one for no search.
        least_rows: fewer usable rows than this say nothing.

    Returns:
        None where there are too few rows, or nothing that varies.
    """
    coarse = np.arange(0, len(lags_s), _COARSE)
    causes = {int(i): regressors(float(lags_s[i])) for i in (*coarse, len(lags_s) - 1)}
    known = np.isfinite(response)
    for cause in causes.values():
        known &= np.isfinite(cause).all(axis=1)
    if not _varies(response, causes.values(), known, least_rows):
        return None
    best = _best(response, causes, known)
    left = response - causes[best] @ _solve_one(response, causes[best], known)
    middle = np.median(left[known])
    typical = 1.4826 * np.median(np.abs(left[known] - middle))
    known &= ~(np.abs(left - middle) > _OUTLIER * typical + 1e-12)
    if not _varies(response, causes.values(), known, least_rows):
        return None
    best = _best(response, causes, known)
    near = np.arange(max(0, best - 2 * _COARSE), min(len(lags_s), best + 2 * _COARSE + 1))
    for i in near.tolist():
        if i not in causes:
            causes[i] = regressors(float(lags_s[i]))
            known &= np.isfinite(causes[i]).all(axis=1)
    fine = _residues(response[known], np.stack([causes[int(i)][known] for i in near]))
    tried = sorted(causes)
    everywhere, _ = _residues(response[known], np.stack([causes[i][known] for i in tried]), blocks=0)[:2]
    return _result(response[known], fine, lags_s[near], everywhere, lags_s[tried])


def _result(
    y: np.ndarray,
    fine: tuple[np.ndarray, np.ndarray, list[_Fit]],
    near_s: np.ndarray,
    everywhere: np.ndarray,
    lags_s: np.ndarray,
) -> LagFit:
    residue, coefficients, without = fine
    best = int(residue.argmin())
    lag, lag_std = _lag(residue, without, near_s)
    variance = max(float(((y - y.mean()) ** 2).sum()), 1e-300)
    return LagFit(
        lag,
        lag_std,
        coefficients[best],
        np.sqrt((len(without) - 1) * np.var([b[1][best] for b in without], axis=0)),
        1 - float(residue[best]) / variance,
        1 - everywhere / variance,
        lags_s,
        len(y),
        float(np.sqrt(residue[best] / len(y))),
    )


def _varies(response: np.ndarray, causes: Iterable[np.ndarray], known: np.ndarray, least_rows: int) -> bool:
    enough = known.sum() >= least_rows and np.ptp(response[known]) > 0
    return bool(enough and any(np.any(cause[known]) for cause in causes))


def _best(response: np.ndarray, causes: dict[int, np.ndarray], known: np.ndarray) -> int:
    """Place of the lag that leaves least."""
    tried = sorted(causes)
    residue = _residues(response[known], np.stack([causes[i][known] for i in tried]), blocks=0)[0]
    return tried[int(residue.argmin())]


def _solve_one(response: np.ndarray, cause: np.ndarray, known: np.ndarray) -> np.ndarray:
    return _residues(response[known], cause[None, known], blocks=0)[1][0]


def _residues(y: np.ndarray, x: np.ndarray, blocks: int = BLOCKS) -> tuple[np.ndarray, np.ndarray, list[_Fit]]:
    """The fit to ``y`` [K] by ``x`` [D, K, F], and the same without each of the blocks of rows."""
    parts = np.array_split(np.arange(len(y)), max(blocks, 1))
    gram = np.stack([np.einsum("dkf,dkg->dfg", x[:, b], x[:, b]) for b in parts])
    moment = np.stack([np.einsum("dkf,k->df", x[:, b], y[b]) for b in parts])
    energy = np.array([y[b] @ y[b] for b in parts])
    whole = _solve(gram.sum(0), moment.sum(0), energy.sum())
    without = [
        _solve(gram.sum(0) - gram[b], moment.sum(0) - moment[b], energy.sum() - energy[b]) for b in range(blocks)
    ]
    return *whole, without


def _solve(gram: np.ndarray, moment: np.ndarray, energy: float) -> _Fit:
    size = np.sqrt(np.einsum("dff->df", gram)) + 1e-12
    scaled = gram / size[:, :, None] / size[:, None, :] + _RIDGE * np.eye(gram.shape[1])
    coefficients = np.linalg.solve(scaled, (moment / size)[:, :, None])[:, :, 0] / size
    return np.maximum(energy - np.einsum("df,df->d", coefficients, moment), 0.0), coefficients


def _lag(residue: np.ndarray, without: list[_Fit], lags_s: np.ndarray) -> tuple[float, float]:
    if len(lags_s) == 1:
        return float(lags_s[0]), 0.0
    step = float(lags_s[1] - lags_s[0])
    vertices = np.array([vertex(r) for r, _ in without])
    spread = np.sqrt((len(vertices) - 1) * np.var(vertices))
    return float(lags_s[0]) + vertex(residue) * step, float(spread) * step
