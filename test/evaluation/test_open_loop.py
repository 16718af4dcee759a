"""Starts, errors and intervals are what their definitions say."""

import math

import numpy as np
import pytest
import torch

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import STATE, VX, YAW, X, Y
from mbrl_ros.evaluation.open_loop import cut_windows, default_min_speed, position_errors, scores


def test_errors_that_grow_steadily_have_the_known_mean_and_end(weaving):
    windows = cut_windows(weaving, horizons_s=(0.1, 1.0))
    predicted = windows.driven.clone()
    predicted[..., Y] += 0.01 * torch.arange(predicted.shape[1])
    short, long = scores("off", predicted, windows, (0.1, 1.0))
    assert short.ade_m == pytest.approx(0.01 * (1 + 5) / 2)  # steps 1 to 5; the start itself does not count
    assert short.fde_m == pytest.approx(0.05)
    assert long.ade_m == pytest.approx(0.01 * (1 + 50) / 2)
    assert long.fde_m == pytest.approx(0.5)
    assert long.rmse["y"] == pytest.approx(0.5)
    assert long.rmse["x"] == 0.0


def test_starts_are_spaced_and_fast_enough_and_have_the_horizon_ahead(weaving):
    windows = cut_windows(weaving, horizons_s=(1.0,), start_every_s=0.2, min_speed=8.0)
    segment = weaving.segments[0]
    rows = np.arange(0, len(segment) - 50, 10)
    expected = segment.time_s[rows[segment.state[rows, VX] > 8.0]]
    np.testing.assert_array_equal(windows.time_s, expected)
    assert torch.isfinite(windows.driven).all()


def test_starts_of_much_driving_are_further_apart_and_fewer_are_drawn_together(weaving, monkeypatch):
    usual = cut_windows(weaving, horizons_s=(1.0,))
    monkeypatch.setattr("mbrl_ros.evaluation.open_loop._MOST_STARTS", 25)
    rare = cut_windows(weaving, horizons_s=(1.0,))
    assert (usual.every_s, rare.every_s) == pytest.approx((0.2, 0.8))
    assert len(rare) <= 25
    assert set(rare.time_s) < set(usual.time_s)
    blocks = []
    monkeypatch.setattr("mbrl_ros.evaluation.open_loop.block_of", lambda *given: blocks.append(given) or 1)
    scores("perfect", rare.driven.nan_to_num(), rare, (1.0,))
    assert blocks == [(1.0, pytest.approx(0.8))]


def test_longer_horizons_count_the_starts_they_fit(weaving):
    windows = cut_windows(weaving, horizons_s=(0.1, 2.0))
    short, long = scores("perfect", windows.driven.nan_to_num(), windows, (0.1, 2.0))
    assert short.starts == len(range(0, 1000 - 5, 10))
    assert long.starts == len(range(0, 1000 - 100, 10))
    assert short.fde_m == long.fde_m == 0.0


def test_no_window_crosses_a_gap(weaving, drive_of):
    whole = weaving.segments[0]
    parts = drive_of(whole.state, whole.action, cuts=(400, 430))
    windows = cut_windows(parts, horizons_s=(1.0,), past_s=0.1)
    first_row = np.searchsorted(whole.time_s, windows.time_s) - windows.past
    last_row = first_row + windows.states.shape[1] - 1
    for low, high in ((0, 399), (400, 429), (430, 999)):
        inside = (first_row >= low) & (first_row <= high)
        assert (last_row[inside] <= high).all()
    assert not ((first_row >= 400) & (first_row < 430)).any()  # too short for any window


def test_history_may_precede_the_held_out_part_but_targets_do_not(weaving):
    border = weaving.start_s + 10.0
    windows = cut_windows(weaving, ((border, border + 5.0),), horizons_s=(1.0,), past_s=0.5)
    assert windows.time_s[0] == pytest.approx(border, abs=0.02)
    assert (windows.time_s >= border).all()
    assert (windows.time_s + 1.0 < border + 5.0).all()
    before = np.searchsorted(weaving.segments[0].time_s, windows.time_s[0]) - windows.past
    np.testing.assert_array_equal(windows.states[0, 0].numpy(), weaving.segments[0].state[before])


def test_starts_without_enough_history_are_left_out(weaving):
    windows = cut_windows(weaving, horizons_s=(1.0,), past_s=0.5)
    assert windows.past == 25
    assert windows.time_s[0] == pytest.approx(weaving.start_s + 0.6)  # the grid of starts stays where it is


def test_prediction_that_is_not_finite_is_the_worst_and_counted(weaving):
    windows = cut_windows(weaving, horizons_s=(1.0,))
    predicted = windows.driven.clone()
    predicted[3, 20:, X] = math.nan
    predicted[5, 30, Y] = math.inf  # comes back, but was lost once
    (score,) = scores("diverging", predicted, windows, (1.0,))
    assert score.diverged == 2
    assert score.ade_m == score.fde_m == math.inf
    errors = position_errors(predicted, windows)
    assert np.isinf(errors[5, 30:]).all()
    assert (errors[5, :30] == 0).all()


def test_angles_are_compared_modulo_whole_turns(weaving):
    windows = cut_windows(weaving, horizons_s=(1.0,))
    predicted = windows.driven.clone()
    predicted[..., YAW] += 4 * math.pi + 0.1
    (score,) = scores("turned", predicted, windows, (1.0,))
    assert score.rmse["yaw"] == pytest.approx(0.1)


def test_what_is_not_recorded_is_not_scored(weaving, drive_of):
    state = weaving.segments[0].state.copy()
    state[:, STATE.index("vy")] = math.nan
    windows = cut_windows(drive_of(state), horizons_s=(1.0,))
    (score,) = scores("perfect", windows.driven.nan_to_num(), windows, (1.0,))
    assert "vy" not in score.rmse
    assert score.rmse["vx"] == 0.0


def test_nothing_to_start_from(weaving):
    with pytest.raises(DataError, match=r"no start with vx > 30 m/s .*fastest there: 10\.00 m/s"):
        cut_windows(weaving, min_speed=30.0)
    with pytest.raises(DataError, match="no start"):
        cut_windows(weaving, horizons_s=(60.0,))


def test_horizon_that_fits_nowhere(weaving):
    windows = cut_windows(weaving, horizons_s=(0.1, 60.0))
    with pytest.raises(DataError, match="no start has 60 s of driving after it"):
        scores("any", windows.driven, windows, (0.1, 60.0))


def test_default_speed_is_three_or_less_for_a_small_car(weaving, drive_of):
    assert default_min_speed(weaving) == pytest.approx(0.2 * np.percentile(weaving.segments[0].state[:, VX], 95))
    fast = weaving.segments[0].state.copy()
    fast[:, VX] *= 5
    assert default_min_speed(drive_of(fast)) == 3.0
    fast[:, VX] = math.nan
    with pytest.raises(DataError, match="records no speed"):
        default_min_speed(drive_of(fast))
