"""The extended Kalman filter's two steps and its gate, as pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincinv

from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.sensing import ProcessNoise
from mbrl_ros.estimation.measurement import ESTIMATE, GYRO_BIAS


@dataclass(frozen=True)
class Gaussian:
    """A belief: mean [n] and covariance [n, n]."""

    mean: np.ndarray
    covariance: np.ndarray

    def is_valid(self) -> bool:
        """Whether every entry is finite and no variance is negative."""
        return bool(
            np.isfinite(self.mean).all()
            and np.isfinite(self.covariance).all()
            and self.covariance.diagonal().min() >= 0
        )


def propagated(prior: Gaussian, mean: np.ndarray, jacobian: np.ndarray, noise: np.ndarray) -> Gaussian:
    """Belief after a step: ``mean`` as predicted, covariance ``F (P + Q / 2) F^T + Q / 2``.

    What disturbs a rate during a step disturbs its integral too. Adding half of the noise before the transition
    tells the filter so (the trapezoidal rule for van Loan's integral): it then corrects the heading for a yaw rate
    that it had predicted wrongly. With all of the noise after the transition the heading keeps half of that error,
    step after step.
    """
    half = 0.5 * noise
    return Gaussian(mean, _symmetric(jacobian @ (prior.covariance + half) @ jacobian.T + half))


def updated(prior: Gaussian, innovation: np.ndarray, jacobian: np.ndarray, noise: np.ndarray) -> Gaussian:
    """Belief after a measurement, in Joseph's form.

    ``P+ = (I - K H) P (I - K H)^T + K R K^T`` (Bucy and Joseph 1968) stays symmetric and positive semi-definite
    for any gain, rounding included, where ``(I - K H) P`` does not.

    Args:
        prior: belief before.
        innovation: [m] measured minus expected.
        jacobian: [m, n] H.
        noise: [m, m] R.
    """
    crossed = prior.covariance @ jacobian.T
    gain = np.linalg.solve(jacobian @ crossed + noise, crossed.T).T
    remaining = np.eye(len(prior.mean)) - gain @ jacobian
    covariance = remaining @ prior.covariance @ remaining.T + gain @ noise @ gain.T
    return Gaussian(prior.mean + gain @ innovation, _symmetric(covariance))


def squared_distance(prior: Gaussian, innovation: np.ndarray, jacobian: np.ndarray, noise: np.ndarray) -> float:
    """Mahalanobis distance of an innovation, squared: chi-square with m degrees of freedom where all is as assumed."""
    spread = jacobian @ prior.covariance @ jacobian.T + noise
    return float(innovation @ np.linalg.solve(spread, innovation))


def gate_threshold(probability: float, degrees_of_freedom: int) -> float:
    """The squared distance that a good measurement stays below with ``probability`` (chi-square quantile)."""
    return float(2.0 * gammaincinv(0.5 * degrees_of_freedom, probability))


def process_noise(noise: ProcessNoise, step_s: float, sliding_mps: float = 0.0, unheard: bool = False) -> np.ndarray:
    """[9, 9] covariance that ``step_s`` adds; the channels' integration into each other is `propagated`'s work.

    ``sliding_mps`` is how fast the rear axle slides, see `Process.sliding_mps`; ``unheard`` says that nobody is heard
    to command the drive.
    """
    std = np.zeros(len(ESTIMATE))
    std[[X, Y]] = noise.position_m_rts
    std[YAW] = noise.yaw_rad_rts
    std[VX] = math.hypot(noise.longitudinal_velocity_mps_rts, noise.sliding_rts * sliding_mps)
    std[VY] = math.hypot(noise.lateral_velocity_mps_rts, noise.sliding_rts * sliding_mps)
    std[YAW_RATE] = math.hypot(noise.yaw_rate_radps_rts, noise.sliding_radpm_rts * sliding_mps)
    std[STEERING_ANGLE] = noise.steering_rad_rts
    std[ACCELERATION] = math.hypot(noise.acceleration_mps2_rts, noise.unheard_mps2_rts if unheard else 0.0)
    std[GYRO_BIAS] = noise.gyro_bias_radps_rts
    return np.diag(std * std * step_s)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T)
