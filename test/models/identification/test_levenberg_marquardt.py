"""The solver against problems whose answers are known."""

import numpy as np
import pytest

from mbrl_ros.models.identification.levenberg_marquardt import minimise, robust_cost, robust_weights

FREE = np.array([-np.inf, -np.inf]), np.array([np.inf, np.inf])


def line(slope=2.0, intercept=-1.0, count=40, noise=0.1, seed=0):
    x = np.linspace(-1, 1, count)
    design = np.stack([x, np.ones(count)], axis=1)
    return design, slope * x + intercept + noise * np.random.default_rng(seed).normal(size=count)


def fit_line(design, y, low=FREE[0], high=FREE[1], start=(0.0, 0.0), **settings):
    def residuals(theta):
        return design @ theta - y

    return minimise(lambda t: (residuals(t), design), residuals, np.array(start), low, high, **settings)


def test_linear_problems_have_the_closed_form():
    design, y = line()
    expected, *_ = np.linalg.lstsq(design, y, rcond=None)
    found = fit_line(design, y, tolerance=1e-12)
    np.testing.assert_allclose(found.theta, expected, atol=1e-8)
    assert found.converged


def test_rosenbrock_valley():
    def residuals(t):
        return np.array([10 * (t[1] - t[0] ** 2), 1 - t[0]])

    def both(t):
        return residuals(t), np.array([[-20 * t[0], 10.0], [-1.0, 0.0]])

    found = minimise(both, residuals, np.array([-1.2, 1.0]), *FREE, max_iterations=100, tolerance=1e-14)
    np.testing.assert_allclose(found.theta, [1.0, 1.0], atol=1e-5)


def test_units_do_not_matter():
    """Scaling a parameter scales the answer, and nothing else: the damping is relative."""
    design, y = line(noise=0.3)
    plain = fit_line(design, y, max_iterations=2)
    scaled = fit_line(design * [1e6, 1.0], y, max_iterations=2)
    np.testing.assert_allclose(scaled.theta * [1e6, 1.0], plain.theta, rtol=1e-9)


def test_a_bound_holds_and_the_others_are_solved_for_again():
    design, y = line()
    low, high = np.array([-np.inf, -np.inf]), np.array([1.5, np.inf])
    found = fit_line(design, y, low, high, tolerance=1e-12)
    assert found.theta[0] == 1.5
    expected = np.mean(y - 1.5 * design[:, 0])  # of the intercept, given the slope
    assert found.theta[1] == pytest.approx(expected, abs=1e-6)


def test_outliers_pull_squares_but_not_the_robust_loss():
    design, y = line(noise=0.02)
    y[::8] += 5.0
    robust = fit_line(design, y, knee=0.1, max_iterations=60)
    np.testing.assert_allclose(robust.theta, [2.0, -1.0], atol=0.05)
    assert (robust.weights[::8] < 0.01).all()
    squares = fit_line(design, y)
    assert abs(squares.theta[1] + 1.0) > 0.3  # negative control


def test_weights_are_the_slope_of_the_cost():
    residuals = np.linspace(-9, 9, 31)
    knee = np.where(np.arange(31) % 2, 3.0, np.inf)
    step = 1e-6
    for k in range(31):
        moved = [residuals.copy(), residuals.copy()]
        moved[0][k] -= step
        moved[1][k] += step
        slope = (robust_cost(moved[1], knee) - robust_cost(moved[0], knee)) / (2 * step)
        assert slope == pytest.approx((robust_weights(residuals, knee) * residuals)[k], abs=1e-6)


def test_steps_into_what_is_not_finite_are_rejected():
    def residuals(t):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array([np.log(t[0]) - 1.0, 0.0 * t[1]])

    def both(t):
        return residuals(t), np.array([[1 / t[0], 0.0], [0.0, 1.0]])

    found = minimise(both, residuals, np.array([20.0, 0.0]), *FREE, tolerance=1e-12)
    assert found.theta[0] == pytest.approx(np.e, rel=1e-5)


def test_progress_is_told_of_each_jacobian():
    told = []
    found = fit_line(*line(), progress=lambda: told.append(1))
    assert len(told) == found.iterations
