"""Lags and spans on signals whose truth is known."""

import numpy as np
import pytest

from mbrl_ros.data.doctor.lag import fit_lag
from mbrl_ros.data.doctor.order import in_order
from mbrl_ros.data.doctor.spans import Trace

LAGS = np.arange(-100, 101) * 0.01


def wave(t):
    return np.sin(1.3 * t) + 0.5 * np.sin(3.1 * t + 1) + 0.2 * np.sin(7.7 * t)


@pytest.mark.parametrize("lag", [-0.5, -0.083, 0.0, 0.127, 0.6])
def test_lag_and_gain_of_irregular_noisy_samples(lag):
    rng = np.random.default_rng(0)
    t = np.cumsum(rng.uniform(0.01, 0.05, 3000))
    cause = Trace(t, wave(t)[:, None])
    centre = np.arange(3.0, t[-1] - 3.0, 0.2)
    response = 2.5 * wave(centre - lag) + rng.normal(0, 0.2, len(centre))
    fit = fit_lag(response, lambda tau: cause.at(centre - tau), LAGS)
    assert fit is not None
    assert abs(fit.lag_s - lag) < max(4 * fit.lag_std_s, 0.01)
    assert fit.lag_std_s < 0.02
    assert abs(fit.coefficients[0] - 2.5) < 4 * fit.std[0] + 0.05
    assert fit.explained > 0.98


def test_the_standard_deviation_of_a_lag_is_the_scatter_of_lags():
    centre = np.arange(0.0, 60.0, 0.2)
    found, said = [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        response = wave(centre - 0.1) + rng.normal(0, 0.5, len(centre))
        fit = fit_lag(response, lambda tau: wave(centre - tau)[:, None], LAGS)
        assert fit is not None
        found.append(fit.lag_s)
        said.append(fit.lag_std_s)
    assert 0.5 < np.std(found) / np.median(said) < 2.0


def test_outliers_do_not_count():
    centre = np.arange(0.0, 60.0, 0.2)
    response = 3.0 * wave(centre - 0.2)
    response[::37] += 500.0
    fit = fit_lag(response, lambda tau: wave(centre - tau)[:, None], LAGS)
    assert fit is not None
    assert fit.lag_s == pytest.approx(0.2, abs=0.01)
    assert fit.coefficients[0] == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("response", [np.zeros(300), np.full(300, np.nan), np.ones(30)])
def test_nothing_that_varies_says_nothing(response):
    centre = 0.2 * np.arange(len(response))
    assert fit_lag(response, lambda tau: wave(centre - tau)[:, None], LAGS) is None


def test_mean_over_a_span_is_the_integral():
    t = np.array([0.0, 0.1, 0.15, 0.3])
    trace = Trace(t, np.array([[0.0], [1.0], [1.0], [4.0]]))
    assert trace.mean(np.array([0.0]), np.array([0.1]))[0, 0] == pytest.approx(0.5)
    assert trace.mean(np.array([0.1]), np.array([0.3]))[0, 0] == pytest.approx((0.05 + 0.15 * 2.5) / 0.2)
    assert trace.mean(np.array([0.05]), np.array([0.1]))[0, 0] == pytest.approx(0.75)


def test_held_values_last_until_the_next():
    trace = Trace(np.array([0.0, 0.1, 0.3]), np.array([[1.0], [2.0], [9.0]]), held=True)
    assert trace.at(np.array([0.05, 0.1, 0.29]))[:, 0] == pytest.approx([1.0, 2.0, 2.0])
    assert trace.mean(np.array([0.05]), np.array([0.2]))[0, 0] == pytest.approx((0.05 * 1 + 0.1 * 2) / 0.15)


def test_nothing_is_known_across_a_gap_or_outside():
    t = np.concatenate([np.arange(0, 1, 0.1), np.arange(3, 4, 0.1)])
    trace = Trace(t, t[:, None])
    asked = np.array([-0.1, 0.55, 2.0, 3.5, 4.2])
    assert np.isfinite(trace.at(asked)[:, 0]).tolist() == [False, True, False, True, False]
    assert np.isnan(trace.mean(np.array([0.8]), np.array([3.2]))).all()


@pytest.mark.parametrize(
    ("stamps", "kept"),
    [
        ([1, 2, 3, 4], [0, 1, 2, 3]),
        ([1, 2, 2, 3], [0, 1, 3]),
        ([1, 2, 1, 3], [0, 1, 3]),
        ([1, 900, 2, 3, 4], [0, 2, 3, 4]),
        ([5, 6, 7, 1, 8], [0, 1, 2, 4]),
        ([], []),
    ],
)
def test_the_fewest_stamps_go(stamps, kept):
    stamps = np.array(stamps, dtype=np.int64)
    assert np.flatnonzero(in_order(stamps, np.ones(len(stamps), dtype=bool))).tolist() == kept
