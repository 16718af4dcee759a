"""Noise along the horizon."""

import numpy as np
import pytest

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.planning.noise import coloured_noise, derivative_noise, spline_noise, white_noise


@pytest.mark.parametrize("shape", [white_noise(20), spline_noise(20, 0.05, 0.0), coloured_noise(20, 0.0)])
def test_white_noise(shape):
    np.testing.assert_allclose(shape.basis @ shape.basis.T, np.eye(20), atol=1e-12)
    np.testing.assert_allclose(shape.precision, np.eye(20), atol=1e-12)


def test_without_knots_noise_is_white():
    shape = spline_noise(20, 0.05, 0.0)
    np.testing.assert_array_equal(shape.basis, np.eye(20))
    np.testing.assert_allclose(shape.precision, np.eye(20), atol=1e-12)


@pytest.mark.parametrize("spacing", [0.1, 0.26, 2.45])
def test_every_step_has_unit_variance(spacing):
    shape = spline_noise(50, 0.05, spacing)
    np.testing.assert_allclose(np.square(shape.basis).sum(axis=1), 1.0)
    noise = shape.basis @ np.random.default_rng(0).standard_normal((shape.basis.shape[1], 20_000))
    np.testing.assert_allclose(noise.std(axis=1), 1.0, atol=0.02)


def test_knots_are_no_further_apart_than_asked_and_noise_between_them_is_smooth():
    shape = spline_noise(50, 0.05, 0.25)
    assert shape.basis.shape == (50, 11)
    white, smooth = (spline_noise(50, 0.05, spacing).basis for spacing in (0.0, 0.25))
    generator = np.random.default_rng(0)
    rough = np.diff(white @ generator.standard_normal((50, 1000)), axis=0).std()
    even = np.diff(smooth @ generator.standard_normal((11, 1000)), axis=0).std()
    assert even < 0.4 * rough


def test_the_precision_inverts_the_covariance_where_the_noise_lives():
    shape = spline_noise(50, 0.05, 0.25)
    covariance = shape.basis @ shape.basis.T
    np.testing.assert_allclose(covariance @ shape.precision @ covariance, covariance, atol=1e-9)
    # On noise it is the squared length of the white numbers that it was drawn from.
    white = np.random.default_rng(1).standard_normal(11)
    noise = shape.basis @ white
    assert noise @ shape.precision @ noise == pytest.approx(white @ white)


def test_knots_must_fit_into_the_horizon():
    with pytest.raises(ConfigError, match=r"knots every 3 s do not fit into a horizon of 2\.5 s"):
        spline_noise(50, 0.05, 3.0)


@pytest.mark.parametrize("horizon", [50, 51])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.5])
def test_coloured_noise_has_its_spectrum_exactly(horizon, exponent):
    shape = coloured_noise(horizon, exponent)
    np.testing.assert_allclose(np.square(shape.basis).sum(axis=1), 1.0)
    # The expected periodogram is the power of the transformed basis' rows.
    power = np.square(np.abs(np.fft.rfft(shape.basis, axis=0))).sum(axis=1)
    k = np.arange(1, len(power))
    np.testing.assert_allclose(power[1:] / power[1], k ** -float(exponent), rtol=1e-9)
    assert power[0] == pytest.approx(power[1])


@pytest.mark.parametrize("exponent", [1.0, 2.0])
def test_coloured_noise_has_a_precision(exponent):
    shape = coloured_noise(40, exponent)
    covariance = shape.basis @ shape.basis.T
    np.testing.assert_allclose(covariance @ shape.precision, np.eye(40), atol=1e-9)


def test_the_larger_the_exponent_the_smoother_the_noise():
    white = np.random.default_rng(0).standard_normal((50, 2000))
    rough = [np.diff(coloured_noise(50, exponent).basis @ white, axis=0).std() for exponent in (0.0, 1.0, 2.0, 3.0)]
    assert (np.diff(rough) < -0.1).all()


@pytest.mark.parametrize("spacing", [0.0, 0.25])
def test_derivative_noise_is_the_integral_of_its_rates(spacing):
    rate = spline_noise(50, 0.05, spacing)
    shape = derivative_noise(rate)
    factor = shape.basis[0, 0] / rate.basis[0, 0]
    np.testing.assert_allclose(np.diff(shape.basis, axis=0), factor * rate.basis[1:], atol=1e-12)
    variance = np.square(shape.basis).sum(axis=1)
    assert variance.mean() == pytest.approx(1.0)
    assert (np.diff(variance) > 0).all()
    assert variance[0] < 0.05 * variance[-1]
    # Control cost is one of rates: on a sequence the noise can reach, the squared length of its white numbers.
    white = np.random.default_rng(1).standard_normal(shape.basis.shape[1])
    noise = shape.basis @ white
    assert noise @ shape.precision @ noise == pytest.approx(white @ white)
