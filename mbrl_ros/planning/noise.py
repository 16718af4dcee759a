"""Noise of action sequences: Gaussian, of a given standard deviation at every step, smooth along the horizon."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import CubicSpline

from mbrl_ros.core.errors import ConfigError


@dataclass(frozen=True)
class NoiseShape:
    """Correlation of noise along the horizon: ``noise = basis @ white``.

    Any Gaussian noise that is independent between actions has this form; white noise is the identity.

    Args:
        basis: [H, M], rows of unit length, so that every step's noise has unit variance.
    """

    basis: np.ndarray

    @cached_property
    def precision(self) -> np.ndarray:
        """[H, H] inverse of the covariance ``basis basis^T``, on the sequences that the noise can reach."""
        return np.linalg.pinv(self.basis @ self.basis.T, rcond=1e-9, hermitian=True)


def spline_noise(horizon: int, dt: float, knot_spacing_s: float) -> NoiseShape:
    """Noise that is drawn at knots and interpolated by a natural cubic spline between them.

    An actuator with a lag answers to what lasts, not to what alternates from step to step; noise with as few
    degrees of freedom as matter explores more with the same number of rollouts, and costs fewer random numbers.

    Args:
        horizon: H, number of steps.
        dt: duration of a step [s].
        knot_spacing_s: distance of the knots [s]; up to ``dt``, noise is white.

    Raises:
        ConfigError: fewer than two knots fit into the horizon.
    """
    if knot_spacing_s <= dt:
        return NoiseShape(np.eye(horizon))
    if knot_spacing_s > (horizon - 1) * dt:
        raise ConfigError(f"noise knots every {knot_spacing_s:g} s do not fit into a horizon of {horizon * dt:g} s")
    span = (horizon - 1) * dt
    knots = np.linspace(0.0, span, 1 + int(np.ceil(span / knot_spacing_s - 1e-9)))
    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(np.linspace(0.0, span, horizon))
    return NoiseShape(basis / np.linalg.norm(basis, axis=1, keepdims=True))
