"""Fitting chosen parameters of a model to windows of driving."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import STATE, VX, YAW_RATE
from mbrl_ros.models.identification.levenberg_marquardt import minimise, robust_cost
from mbrl_ros.models.identification.objective import ERRORS, Objective, PredictionErrors
from mbrl_ros.models.identification.uncertainty import Information, information
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.starting import SETTLE_S
from mbrl_ros.models.windows import Windows

KNEE = 3.0
"""Errors beyond this many times their usual size count less."""

_HARDLY = 0.2  # weight of a window's errors at which they hardly count
_STEPS = 20  # of the horizon at which errors are taken
_SMALLEST_SHARE = 0.02  # an error's scale at an early step is at least this share of its scale at the worst step
_LAGS = ("steering_lag", "steering_rate_limit", "drive_lag", "drive_rate_limit")


@dataclass(frozen=True)
class Knowledge:
    """What is known of the P fitted parameters beforehand, each [P]."""

    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    centre: np.ndarray
    std: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """[P] inverse variances."""
        return self.std**-2.0

    def without(self, left_out: Collection[str]) -> Knowledge:
        """The same for the other parameters."""
        kept = np.array([name not in left_out for name in self.names])
        names = tuple(name for name in self.names if name not in left_out)
        return Knowledge(names, self.low[kept], self.high[kept], self.centre[kept], self.std[kept])


@dataclass(frozen=True)
class Fit:
    """A model fitted to windows.

    Args:
        model: with the fitted values.
        theta: [P] the values.
        cost: robust cost of the prediction errors in units of ``scale``.
        scale: [steps, 6] usual size of each error, infinite for those left out.
        known: what the windows tell about the parameters.
        outlying: share of the windows whose errors hardly count.
        converged: the search ended by itself.
    """

    model: ParametricModel
    theta: np.ndarray
    cost: float
    scale: np.ndarray
    known: Information
    outlying: float
    converged: bool


class Predictions(Protocol):
    """Prediction errors as a function of parameters."""

    def errors(self, theta: np.ndarray) -> np.ndarray:
        """[N, steps, 6] at ``theta`` [P]."""
        ...

    def errors_and_jacobian(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The errors and their [N, steps, 6, P] derivatives."""
        ...


@dataclass(frozen=True)
class Solved:
    """Where `robust_fit` ended; see `Fit`.

    Args:
        weights: [N, R] by which each of a prediction's errors counts.
    """

    theta: np.ndarray
    cost: float
    scale: np.ndarray
    known: Information
    weights: np.ndarray
    converged: bool


def usual_size(errors: np.ndarray, used: np.ndarray) -> np.ndarray:
    """[steps, 6] of errors [N, steps, 6]: root mean square, cut off at three times the median; infinite where not
    ``used`` [6]."""
    size = np.abs(np.nan_to_num(errors, nan=np.inf))
    usual = 1.4826 * np.median(size, axis=0)
    rms = np.sqrt(np.mean(np.minimum(size, KNEE * usual + 1e-12) ** 2, axis=0))
    rms = np.maximum(rms, _SMALLEST_SHARE * rms.max(axis=0)) + 1e-9
    return np.where(used, rms, np.inf)


def robust_fit(
    objective: Predictions,
    start: np.ndarray,
    knowledge: Knowledge,
    used: np.ndarray,
    block: np.ndarray,
    *,
    rounds: int,
    iterations: int,
    scale: np.ndarray | None = None,
    progress: Callable[[], None] | None = None,
) -> Solved:
    """The least squares of `Fitting`, of any predictions.

    Args:
        objective: see there.
        start: [P] where to begin.
        knowledge: what to fit, inside which bounds, and what is known beforehand.
        used: [6] bool, which errors count.
        block: [N] see `Windows`.
        rounds: scales are estimated anew in each.
        iterations: Jacobians per round at most.
        scale: given, it stays.
        progress: told of each Jacobian.

    Raises:
        DataError: the predictions that the fit begins with are not finite.
    """
    theta = np.clip(start, knowledge.low, knowledge.high)
    dilution = 0.0
    for _ in range(rounds):
        errors = objective.errors(theta)
        dilution = dilution or float(errors.shape[1])
        rows = np.repeat(block, errors.shape[1] * int(used.sum()))
        if not np.isfinite(errors).all():
            raise DataError("predictions from the model that the fit begins with diverge; begin with other values")
        unit = usual_size(errors, used) if scale is None else scale
        weight = np.sqrt(dilution) / knowledge.std

        def residuals_of(point: np.ndarray, errors: np.ndarray) -> np.ndarray:
            scaled = (errors / unit)[..., used].reshape(-1)  # noqa: B023
            return np.concatenate([scaled, weight * (point - knowledge.centre)])  # noqa: B023

        def with_jacobian(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            errors, slopes = objective.errors_and_jacobian(point)
            scaled = (slopes / unit[..., None])[:, :, used].reshape(-1, len(theta))  # noqa: B023
            return residuals_of(point, errors), np.concatenate([scaled, np.diag(weight)])  # noqa: B023

        solution = minimise(
            with_jacobian,
            lambda point: residuals_of(point, objective.errors(point)),
            theta,
            knowledge.low,
            knowledge.high,
            knee=np.concatenate([np.full(len(rows), KNEE), np.full(len(theta), np.inf)]),
            max_iterations=iterations,
            progress=progress,
        )
        theta = solution.theta
        data = slice(0, len(rows))
        known = information(solution.residuals[data], solution.jacobian[data], solution.weights[data], rows)
        dilution = known.dilution
    weights = solution.weights[data].reshape(len(errors), -1)
    return Solved(theta, solution.cost, unit, known, weights, solution.converged)


class Fitting:
    """Robust multi-step least squares over windows.

    Prediction errors are divided by their own usual size (by kind and by horizon, estimated anew in every round:
    maximum likelihood with unknown variances), bent by the Cauchy loss beyond ``KNEE`` of it, and weighed against
    ``knowledge``. Overlapping and correlated errors are diluted to what they tell (see `uncertainty`), so that a
    prior weighs what it should.

    Args:
        windows: the driving.
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        observed = dict(zip(STATE.names, windows.observed.any(0).tolist(), strict=True))
        self._used = np.array([observed.get(name, True) for name in ERRORS])
        horizon = windows.horizon
        self.steps = sorted({max(1, round(horizon * (k + 1) / _STEPS)) for k in range(_STEPS)})

    def errors(self, model: ParametricModel) -> np.ndarray:
        """[N, steps, 6] prediction errors of a model as it is."""
        nothing = np.zeros(0)
        return Objective(self._prediction(model), {}, nothing, self.windows).errors(nothing)

    def scale(self, errors: np.ndarray) -> np.ndarray:
        """See `usual_size`."""
        return usual_size(errors, self._used)

    def cost(self, model: ParametricModel, scale: np.ndarray) -> float:
        """Robust cost of a model as it is."""
        scaled = (self.errors(model) / scale)[..., self._used].reshape(-1)
        return robust_cost(scaled, np.full(scaled.shape, KNEE))

    def run(
        self,
        model: ParametricModel,
        knowledge: Knowledge,
        *,
        rounds: int = 2,
        iterations: int = 8,
        scale: np.ndarray | None = None,
        progress: Callable[[], None] | None = None,
    ) -> Fit:
        """Fit the parameters of ``knowledge``, beginning with the model's own values.

        Args:
            model: where to begin.
            knowledge: what to fit, inside which bounds, and what is known beforehand.
            rounds: scales are estimated anew in each.
            iterations: Jacobians per round at most.
            scale: given, it stays.
            progress: told of each Jacobian.

        Raises:
            DataError: the predictions that the fit begins with are not finite.
        """
        names = knowledge.names
        objective = Objective(
            self._prediction(model),
            dict(zip(names, knowledge.high - knowledge.low, strict=True)),
            knowledge.high,
            self.windows,
        )
        values = model.values()
        solved = robust_fit(
            objective,
            np.array([values[name] for name in names]),
            knowledge,
            self._used,
            self.windows.block,
            rounds=rounds,
            iterations=iterations,
            scale=scale,
            progress=progress,
        )
        fitted = model.with_parameters(dict(zip(names, solved.theta.tolist(), strict=True)))
        outlying = float(np.mean(np.median(solved.weights, axis=1) < _HARDLY))
        return Fit(fitted, solved.theta, solved.cost, solved.scale, solved.known, outlying, solved.converged)

    def _prediction(self, model: ParametricModel) -> PredictionErrors:
        motion_known = bool(self.windows.observed[:, VX : YAW_RATE + 1].all())
        lagging = any(name in model.values() for name in _LAGS)
        settle = 0 if motion_known and not lagging else round(SETTLE_S / self.windows.dt)
        return PredictionErrors(model, min(settle, self.windows.past), self.steps)
