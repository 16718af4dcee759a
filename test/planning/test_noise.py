"""Noise along the horizon."""

import numpy as np
import pytest

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.planning.noise import spline_noise


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
