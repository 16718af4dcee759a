"""Intervals that hold what they promise, and doubt where a model has not been."""

import numpy as np
import pytest
import torch

from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.evaluation.fitting import training_parts
from mbrl_ros.learning.calibration import LEVELS, intervals_for
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.training import train
from mbrl_ros.models import passport
from mbrl_ros.models.learned.intervals import half_widths

RECIPE = {
    "physics": "kinematic_bicycle",
    "identification": {"horizon_s": 1.0, "max_windows": 40},
    "network": {"kind": "gru", "members": 3, "hidden": 8, "history_s": 0.5},
    "training": {
        "horizon_s": 1.0, "start_every_s": 0.25, "epochs": 6, "batch": 32, "learning_rate": 0.01, "block_s": 4,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded(hilly_drive, tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    trained = train(training_parts([hilly_drive], "none"), Recipe.model_validate(RECIPE), work)
    passport.save(trained.model, work / "car", trained.provenance)
    return passport.load(work / "car")


@pytest.fixture(scope="module")
def other_drive(write_drive, tmp_path_factory):
    """The same car on other hills."""
    return read_drive(write_drive(tmp_path_factory.mktemp("bags") / "other", seed=5))


def test_the_passport_says_how_uncertain_it_is(loaded):
    stated = loaded.passport.uncertainty
    assert stated.levels == (0.5, 0.9, 0.95)
    assert [h.horizon_s for h in stated.horizons] == [0.5, 1.0]  # not beyond what was trained
    for horizon in stated.horizons:
        assert list(horizon.along) == sorted(horizon.along)
        assert list(horizon.across) == sorted(horizon.across)
    assert stated.horizons[0].base_m[0] < stated.horizons[1].base_m[0]


def test_intervals_hold_what_they_promise_on_other_driving(loaded, other_drive):
    (comparison,) = compare({"car": loaded}, [other_drive], split="all", horizons_s=(0.5, 1.0))
    found = {(c.horizon_s, c.regime): c for c in comparison.coverage}
    for horizon_s in (0.5, 1.0):
        share = found[horizon_s, "all"].share
        # 80 s are some 80 independent predictions, and as many set the intervals: 0.9 give or take 0.05.
        assert 0.79 <= share[0.9] <= 0.99
        assert share[0.5] < share[0.9] < share[0.95]
        assert 0.3 < share[0.5] < 0.7
        regimes = [c.starts for (h, regime), c in found.items() if h == horizon_s and regime != "all"]
        assert sum(regimes) == found[horizon_s, "all"].starts
    assert found[1.0, "all"].novel < 0.1


def test_intervals_are_as_wide_as_disagreement_and_novelty_say():
    """Errors that grow with both: 90 % are held where members agree, where they do not, and where it is novel."""
    rng = np.random.default_rng(0)

    def draw(count):
        spread, novelty = rng.uniform(0.0, 0.3, (count, 2)), rng.uniform(0.5, 1.5, count)
        growth = np.maximum(novelty, 1.0)[:, None] ** 2
        size = growth * (0.02 + spread + 0.1 * novelty[:, None])
        return (torch.from_numpy(values) for values in (np.abs(size * rng.normal(size=(count, 2))), spread, novelty))

    intervals = intervals_for(1.0, *draw(4000))
    error, spread, novelty = draw(4000)
    inside = (error <= half_widths(intervals, spread, novelty)[:, LEVELS.index(0.9)]).double()
    for column in (spread[:, 0], spread[:, 1], novelty):
        for rows in (column < column.quantile(0.3), column > column.quantile(0.7)):
            assert float(inside[rows].mean()) == pytest.approx(0.9, abs=0.03)
    strange = half_widths(intervals, spread, 3.0 * novelty)
    assert (strange > half_widths(intervals, spread, novelty)).all()


def test_intervals_of_gentle_driving_hold_where_second_order_errors_come_up():
    """Calibrated where they hardly show, held at novelties of 1.6, and multiplied by five at most."""
    rng = np.random.default_rng(1)

    def draw(count, low, high):
        novelty = rng.uniform(low, high, count)
        error = 0.02 * np.maximum(novelty, 1.0)[:, None] ** 2 * np.abs(rng.normal(size=(count, 2)))
        return (torch.from_numpy(values) for values in (error, np.zeros((count, 2)), novelty))

    intervals = intervals_for(1.0, *draw(4000, 0.5, 1.1))
    error, spread, novelty = draw(4000, 1.5, 1.7)
    widths = half_widths(intervals, spread, novelty)[:, LEVELS.index(0.9)]
    assert float((error <= widths).double().mean()) == pytest.approx(0.9, abs=0.04)
    one = torch.tensor([1.0], dtype=torch.float64)
    usual, strange = (half_widths(intervals, spread[:1], novelty) for novelty in (one, 100 * one))
    weights = torch.tensor([intervals.along_weights, intervals.across_weights])
    explained = weights @ torch.tensor([1.0, 0.0, 100.0]) / (weights @ torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(strange / usual, (5.0 * explained.double()).expand(1, len(LEVELS), 2))


def test_driving_that_it_has_not_seen_is_novel(loaded, other_drive):
    state = torch.from_numpy(np.concatenate([s.state for s in other_drive.segments])).nan_to_num()
    action = torch.from_numpy(np.concatenate([s.action for s in other_drive.segments]))
    threshold, model = loaded.passport.uncertainty.novelty, loaded.model
    with torch.no_grad():
        assert float((model.novelty(state, action) > threshold).double().mean()) < 0.1
        fast, hard = state.clone(), action.clone()
        fast[:, 3] *= 2.0
        hard[:, 1] -= 6.0
        assert (model.novelty(fast, action) > threshold).all()
        assert (model.novelty(state, hard) > threshold).all()


def test_a_model_without_intervals_has_no_coverage(hilly_drive, loaded):
    bare = passport.in_memory(loaded.model)
    (comparison,) = compare({"car": bare}, [hilly_drive], split="all", horizons_s=(0.5,))
    assert comparison.coverage == ()
