"""Intervals hold the true mean as often as they say, also where predictions overlap."""

import math

import numpy as np
import pytest

from mbrl_ros.evaluation.bootstrap import block_of, mean_interval


def test_interval_of_independent_values_is_the_textbook_one():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=2000)
    low, high = mean_interval(values, block=1, seed=1)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.2 * half)
    assert (low, high) == mean_interval(values, block=1, seed=1)


def test_interval_of_values_that_err_together_is_wider():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=200), 10)
    narrow, honest = (np.ptp(mean_interval(values, block=block, seed=1)) for block in (1, 10))
    assert honest > 2.5 * narrow  # sqrt(10) for runs of ten equal values


@pytest.mark.parametrize(("horizon_s", "count"), [(0.2, 250), (2.0, 250), (2.0, 1000)])
def test_intervals_cover_the_truth_where_starts_overlap(horizon_s, count):
    """Errors over windows that overlap, of noise that is itself correlated from start to start."""
    rng, every_s, trials = np.random.default_rng(0), 0.2, 200
    overlap = round(horizon_s / every_s)

    def errors(length):
        noise = rng.normal(size=length + overlap + 50)
        for k in range(1, len(noise)):
            noise[k] += 0.6 * noise[k - 1]
        return np.abs(np.convolve(noise[50:], np.ones(overlap) / overlap, mode="valid"))[:length]

    truth = errors(100_000).mean()
    block = block_of(horizon_s, every_s)
    intervals = [mean_interval(errors(count), block, seed) for seed in range(trials)]
    held = np.mean([low <= truth <= high for low, high in intervals])
    # 95 %, less what few blocks cost; the binomial's own deviation is 1.5 %.
    assert 0.89 <= held <= 0.99
    naive = [mean_interval(errors(count), 1, seed) for seed in range(trials)]
    assert np.mean([low <= truth <= high for low, high in naive]) < held - 0.05


def test_mean_among_some_values():
    values = np.arange(100.0)
    among = (values % 10) < 3
    low, high = mean_interval(values, 10, seed=0, among=among)
    assert low < values[among].mean() < high
    values[~among] = math.inf  # others do not matter
    assert mean_interval(values, 10, seed=0, among=among) == (low, high)


def test_no_interval_where_there_is_nothing_to_compare():
    values = np.arange(100.0)
    one_place = (values >= 40) & (values < 48)
    assert np.isnan(mean_interval(values, 10, seed=0, among=one_place)).all()
    assert np.isnan(mean_interval(values, 10, seed=0, among=np.zeros(100, dtype=bool))).all()
    assert np.isnan(mean_interval(np.array([1.0, math.inf, 2.0]), 1, seed=0)).all()
