"""What an identification found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.models.parametric import ParametricModel


@dataclass(frozen=True)
class Estimate:
    """One fitted parameter.

    Args:
        value: in ``unit``.
        std: standard deviation; where the driving says little it approaches that of what was known beforehand.
        unit: SI unit, "1" for a ratio.
        identifiable: the driving determines it, inside its bounds.
        low, high: the bounds of the fit.
    """

    value: float
    std: float
    unit: str
    identifiable: bool
    low: float
    high: float


@dataclass(frozen=True)
class Identification:
    """A model fitted to driving, and how far to trust it.

    Args:
        model: with the fitted parameters.
        estimates: the fitted parameters by name.
        correlation: [P, P] of their errors, in the order of ``estimates``.
        errors_before, errors_after: root mean square prediction error at the horizon, by kind
            (`objective.ERRORS`); outliers cut off; of the model given, and of the fitted one.
        windows: number of predictions fitted to.
        horizon_s: their length [s].
        statements: what the data say and what they cannot, in plain sentences.
        converged: the search ended by itself.
    """

    model: ParametricModel
    estimates: dict[str, Estimate]
    correlation: np.ndarray
    errors_before: dict[str, float]
    errors_after: dict[str, float]
    windows: int
    horizon_s: float
    statements: tuple[str, ...]
    converged: bool

    @property
    def delay_s(self) -> dict[str, float]:
        """Transport delays of the model, fitted or not, by actuator [s]."""
        values = self.model.values()
        return {"steering": values["steering_delay"], "drive": values["drive_delay"]}
