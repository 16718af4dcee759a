"""What is held out stays out."""

import math

import numpy as np
import pytest

from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.core.layout import VX, YAW, X, Y
from mbrl_ros.evaluation import baselines
from mbrl_ros.evaluation.open_loop import cut_windows
from mbrl_ros.evaluation.splits import folds, lap_times, without

HORIZONS_S = (0.5, 2.0)


def circling(drive_of, laps=3.4, lap_s=20.0, dt=0.02, cuts=()):
    t = dt * np.arange(int(laps * lap_s / dt))
    angle = 2 * np.pi * t / lap_s
    state = np.zeros((len(t), 8))
    state[:, X], state[:, Y] = 20 * np.sin(angle), 20 * (1 - np.cos(angle))
    state[:, YAW] = (angle + np.pi) % (2 * np.pi) - np.pi
    state[:, VX] = 2 * np.pi * 20 / lap_s
    return drive_of(state, cuts=cuts, dt=dt)


def rows_of(drive):
    return {float(t) for segment in drive.segments for t in segment.time_s}


@pytest.mark.parametrize("rule", ["time:0.8", "time:0.35", "lap:2", "lap:1,3", "lap:-1"])
def test_no_row_is_both_learned_from_and_predicted(drive_of, rule):
    drive = circling(drive_of, cuts=(1234,))
    (fold,) = folds([drive], rule)
    windows = cut_windows(drive, fold.held_out, horizons_s=HORIZONS_S, past_s=0.3)
    learned = rows_of(fold.train[0])
    time_s = np.concatenate([segment.time_s for segment in drive.segments])
    for start, driven in zip(windows.time_s, windows.driven.numpy(), strict=True):
        first = int(np.searchsorted(time_s, start))
        targets = time_s[first : first + np.isfinite(driven[:, 0]).sum()]
        assert not learned & set(targets.tolist())
    held_out = {t for t in rows_of(drive) if any(a <= t < b for a, b in fold.held_out)}
    assert held_out | learned == rows_of(drive)
    assert not held_out & learned


def test_what_was_learned_does_not_depend_on_what_is_held_out(weaving, drive_of):
    whole = weaving.segments[0]
    border = int(0.8 * len(whole)) + 5
    spoilt = whole.state.copy()
    spoilt[border:] = np.random.default_rng(0).normal(size=spoilt[border:].shape)
    windows = cut_windows(weaving, horizons_s=(1.0,))
    predictions = []
    for drive in (weaving, drive_of(spoilt, whole.action)):
        (fold,) = folds([drive], "time:0.8")
        predictions.append(baselines.linear(fold.train).predict(windows))
    assert (predictions[0] == predictions[1]).all()


def test_training_parts_are_never_joined_across_what_was_cut_out(drive_of):
    drive = circling(drive_of)
    (fold,) = folds([drive], "lap:2")
    assert len(fold.train[0].segments) == 2
    for segment in fold.train[0].segments:
        np.testing.assert_allclose(np.diff(segment.time_s), drive.dt, atol=1e-6)


def test_time_split_is_by_time(weaving):
    (fold,) = folds([weaving], "time:0.8")
    span = weaving.end_s - weaving.start_s
    assert fold.held_out == ((weaving.start_s + 0.8 * span, math.inf),)
    assert fold.train[0].end_s < fold.held_out[0][0] <= fold.train[0].end_s + weaving.dt


def test_laps_begin_where_the_first_one_did(drive_of):
    drive = circling(drive_of, laps=3.4, lap_s=20.0)
    times = lap_times(drive) - drive.start_s
    np.testing.assert_allclose(times, [0, 20, 40, 60, 68], atol=0.05)


def test_a_lap_split_holds_out_exactly_that_lap(drive_of):
    drive = circling(drive_of)
    (fold,) = folds([drive], "lap:2")
    ((start_s, end_s),) = fold.held_out
    assert (start_s - drive.start_s, end_s - drive.start_s) == pytest.approx((20, 40), abs=0.05)
    assert folds([drive], "lap:-1")[0].held_out == folds([drive], "lap:4")[0].held_out
    with pytest.raises(DataError, match="has 4 laps, so there is no lap 5"):
        folds([drive], "lap:5")


def test_driving_back_and_forth_is_no_lap(drive_of):
    t = 0.02 * np.arange(2000)
    state = np.zeros((2000, 8))
    state[:, X] = 50 * np.sin(2 * np.pi * t / 20)
    state[:, YAW] = np.where(np.cos(2 * np.pi * t / 20) >= 0, 0.0, np.pi - 1e-9)
    state[:, VX] = np.abs(np.cos(2 * np.pi * t / 20)) * 15
    times = lap_times(drive_of(state)) - 1_700_000_000.0
    np.testing.assert_allclose(times, [0, 20, 40], atol=0.05)  # only the crossings in the first direction


def test_bag_split_learns_from_the_others(weaving, drive_of):
    other = circling(drive_of)
    first, second = folds([weaving, other], "bag")
    assert first.train == (other,)
    assert first.drive is weaving
    assert second.train == (weaving,)
    with pytest.raises(DataError, match="two or more"):
        folds([weaving], "bag")


def test_all_learns_nothing(weaving):
    (fold,) = folds([weaving], "all")
    assert fold.train == ()


@pytest.mark.parametrize("rule", ["time", "time:1.5", "time:x", "lap", "lap:a", "shuffle", "", "bag:1"])
def test_unknown_rules(weaving, rule):
    with pytest.raises(ConfigError, match=r"expected time:0\.8"):
        folds([weaving], rule)


def test_without_cuts_out_the_middle(weaving):
    part = without(weaving, [(weaving.start_s + 5, weaving.start_s + 6)])
    assert [len(segment) for segment in part.segments] == pytest.approx([250, 700], abs=1)
