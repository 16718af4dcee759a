"""Intervals that say what they mean, also where errors stay alike for seconds."""

import numpy as np
import pytest

from mbrl_ros.models.identification.uncertainty import (
    correlation,
    covariance,
    information,
    weak_directions,
    without_prior,
)

NOTHING = np.full(2, 1e-12)


def regression(rng, count=400, block=20, shared=0.0):
    """Residuals at the least squares solution of a line, its design, their blocks, and the error of the estimate.

    Errors have unit size; ``shared`` of them is one value for the whole of a block.
    """
    design = np.stack([np.repeat(rng.normal(size=count // block), block), np.ones(count)], axis=1)
    blocks = np.repeat(np.arange(count // block), block)
    common = np.repeat(rng.normal(size=count // block), block)
    errors = np.sqrt(1 - shared) * rng.normal(size=count) + np.sqrt(shared) * common
    estimate, *_ = np.linalg.lstsq(design, errors, rcond=None)
    return errors - design @ estimate, design, blocks, estimate


def told(residuals, design, blocks):
    return covariance(information(residuals, design, np.ones(len(residuals)), blocks), NOTHING)


def test_independent_errors_have_the_textbook_covariance():
    rng = np.random.default_rng(0)
    residuals, design, blocks, _ = regression(rng, count=4000)
    np.testing.assert_allclose(told(residuals, design, blocks), np.linalg.inv(design.T @ design), rtol=0.35, atol=2e-5)


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_intervals_cover_the_truth(shared):
    """Two standard deviations cover 95 % of the time or so, whether errors are alike within a block or not."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        residuals, design, blocks, error = regression(rng, shared=shared)
        covered.append(np.abs(error) < 2 * np.sqrt(np.diag(told(residuals, design, blocks))))
    assert np.mean(covered) > 0.88


def test_ignoring_that_errors_are_alike_would_be_overconfident():
    """Negative control: every row its own block."""
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(100):
        _, design, _, error = regression(rng, shared=0.5)
        naive = np.linalg.inv(design.T @ design)
        covered.append(np.abs(error) < 2 * np.sqrt(np.diag(naive)))
    assert np.mean(covered) < 0.7


def test_a_prior_weighs_what_it_should():
    residuals, design, blocks, _ = regression(np.random.default_rng(2))
    known = information(residuals, design, np.ones(len(residuals)), blocks)
    free = covariance(known, NOTHING)
    tight = covariance(known, np.array([1e6, 1e-12]))
    assert np.sqrt(tight[0, 0]) == pytest.approx(1e-3, rel=0.01)
    assert tight[1, 1] <= free[1, 1] * 1.01


def test_what_the_data_say_without_the_prior_is_recovered():
    rng = np.random.default_rng(3)
    residuals, design, blocks, _ = regression(rng)
    known = information(residuals, design, np.ones(len(residuals)), blocks)
    alone, prior, precision = np.array([0.5, -0.2]), 2.0, np.array([50.0, 1e-12])
    hessian = known.hessian / known.dilution
    pulled = np.linalg.solve(hessian + np.diag(precision), hessian @ alone + precision * [prior, 0.0])
    value, std = without_prior(pulled, known, precision, prior, 0)
    assert value == pytest.approx(0.5, rel=1e-6)
    assert std == pytest.approx(np.sqrt(covariance(known, NOTHING)[0, 0]), rel=1e-3)


def test_directions_that_the_data_leave_open():
    """Only the sum of the first two is known; the third is."""
    spread = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1e-4]]) * 4 + np.eye(3) * 1e-4
    assert weak_directions(spread, np.full(3, 0.1)) == [[0, 1]]
    assert weak_directions(spread, np.full(3, 10.0)) == []
    assert correlation(spread)[0, 1] == pytest.approx(-1.0, abs=1e-3)
