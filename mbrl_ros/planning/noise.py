"""Noise of action sequences: Gaussian, of a given standard deviation, and of some shape along the horizon."""

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
        basis: [H, M], rows of unit length, so that every step's noise has unit variance; or, where the variance
            differs from step to step, of unit length in the mean square.
        integrated: the noise is a rate's integral from the command sent last on. Control cost is one of rates then,
            so it is that of the plan's difference from this command.
    """

    basis: np.ndarray
    integrated: bool = False

    @cached_property
    def precision(self) -> np.ndarray:
        """[H, H] inverse of the covariance ``basis basis^T``, on the sequences that the noise can reach."""
        return np.linalg.pinv(self.basis @ self.basis.T, rcond=1e-9, hermitian=True)


def white_noise(horizon: int) -> NoiseShape:
    """Noise that is independent from step to step, over ``horizon`` steps."""
    return NoiseShape(np.eye(horizon))


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
        return white_noise(horizon)
    if knot_spacing_s > (horizon - 1) * dt:
        raise ConfigError(f"noise knots every {knot_spacing_s:g} s do not fit into a horizon of {horizon * dt:g} s")
    span = (horizon - 1) * dt
    knots = np.linspace(0.0, span, 1 + int(np.ceil(span / knot_spacing_s - 1e-9)))
    basis = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(np.linspace(0.0, span, horizon))
    return NoiseShape(basis / np.linalg.norm(basis, axis=1, keepdims=True))


def coloured_noise(horizon: int, exponent: float) -> NoiseShape:
    """Noise whose power spectrum is ``1/f^exponent``, exactly so at the frequencies of the horizon's Fourier series.

    The method of Timmer and Koenig (1995), as iCEM uses it (Pinneri et al. 2020), written as the matrix that it is: an
    orthogonal basis of harmonics, each as long as the root of its power. The mean has the power of the lowest harmonic.
    Noise of this kind is periodic over the horizon.

    Args:
        horizon: H, number of steps.
        exponent: beta; 0 white, 1 pink, 2 red.
    """
    frequencies = np.fft.rfftfreq(horizon)
    frequencies[0] = frequencies[1]
    size = frequencies ** (-exponent / 2.0)
    phase = 2.0 * np.pi * np.outer(np.arange(horizon), np.arange(len(frequencies))) / horizon
    alone = np.array([k == 0 or 2 * k == horizon for k in range(len(frequencies))])  # their sine is nought
    cosines = np.cos(phase) * np.where(alone, 1.0, np.sqrt(2.0)) * size
    sines = (np.sin(phase) * np.sqrt(2.0) * size)[:, ~alone]
    basis = np.concatenate([cosines, sines], axis=1)
    return NoiseShape(basis / np.linalg.norm(basis, axis=1, keepdims=True))


def derivative_noise(rate: NoiseShape) -> NoiseShape:
    """Noise of shape ``rate`` on the commands' rates, integrated along the horizon (Kim et al. 2022, SMPPI).

    The first command differs little from the one sent last, and what a plan changes from cycle to cycle is a rate, so
    commands are smooth without a filter. Sampling, weighting and averaging rates and integrating the mean is the same
    as sampling, weighting and averaging commands with this noise, because integration is linear; only here it is the
    commands that are held within their bounds. The variance grows along the horizon.
    """
    basis = np.cumsum(rate.basis, axis=0)
    return NoiseShape(basis / np.sqrt(np.square(basis).sum(axis=1).mean()), integrated=True)
