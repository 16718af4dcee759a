"""Which driving counts as held out, and what is said about it."""

import math

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import Provenance, TrainingBag, load, save


@pytest.fixture
def fitted(tmp_path):
    """A saved and loaded model whose passport names the driving it was fitted to."""

    def make(*parts, name="model"):
        bags = tuple(
            TrainingBag(source=drive.source, sha256=drive.source_hash, start_s=start, end_s=end)
            for drive, start, end in parts
        )
        save(build("kinematic_bicycle", {}, dt=0.02), tmp_path / name, Provenance(bags=bags))
        return load(tmp_path / name)

    return make


def test_driving_that_a_model_was_fitted_to_is_not_scored(weaving, fitted):
    border = weaving.start_s + 14.0
    model = fitted((weaving, weaving.start_s, border))
    (comparison,) = compare({"m": model}, [weaving])
    assert (comparison.windows.time_s > border).all()
    assert not any("no held-out score" in note for note in comparison.notes)
    assert any("linear: fitted to 14 s" in note for note in comparison.notes)


def test_driving_between_two_fitted_parts_is_scored(weaving, fitted):
    t0 = weaving.start_s
    model = fitted((weaving, t0, t0 + 6), (weaving, t0 + 12, weaving.end_s))
    (comparison,) = compare({"m": model}, [weaving])
    assert (comparison.windows.time_s > t0 + 6).all()
    assert (comparison.windows.time_s + 0.1 < t0 + 12).all()


def test_two_models_are_scored_where_neither_was_fitted(weaving, fitted):
    t0 = weaving.start_s
    models = {"a": fitted((weaving, t0, t0 + 6), name="a"), "b": fitted((weaving, t0 + 4, t0 + 12), name="b")}
    (comparison,) = compare(models, [weaving])
    assert (comparison.windows.time_s > t0 + 12).all()


def test_another_recording_is_scored_whole(weaving, drive_of, fitted):
    other = drive_of(weaving.segments[0].state, source="other")
    model = fitted((other, other.start_s, other.end_s))
    (comparison,) = compare({"m": model}, [weaving])
    assert comparison.held_out == ((-math.inf, math.inf),)
    assert "linear" not in comparison.predicted
    assert any("linear: left out" in note for note in comparison.notes)
    (comparison,) = compare({"m": model}, [weaving], train=[other])
    assert "linear" in comparison.predicted


def test_nothing_left_to_score(weaving, fitted):
    model = fitted((weaving, weaving.start_s, weaving.end_s))
    with pytest.raises(DataError, match="m was fitted to all of it"):
        compare({"m": model}, [weaving])


def test_training_error_is_given_only_when_asked_and_called_so(weaving, fitted):
    model = fitted((weaving, weaving.start_s, weaving.end_s))
    (comparison,) = compare({"m": model}, [weaving], split="all")
    assert any("m was fitted to some of the driving" in note for note in comparison.notes)


def test_without_models_the_last_fifth_is_scored(weaving):
    (comparison,) = compare({}, [weaving])
    assert list(comparison.predicted) == ["persistence", "ctrv", "linear", "floor"]
    assert comparison.windows.time_s.min() >= weaving.start_s + 0.8 * (weaving.end_s - weaving.start_s)


def test_all_predictors_have_the_same_starts(weaving, fitted):
    (comparison,) = compare({"m": fitted()}, [weaving], horizons_s=(0.5, 1.0))
    for horizon_s in (0.5, 1.0):
        assert len({score.starts for score in comparison.scores if score.horizon_s == horizon_s}) == 1


def test_the_same_seed_gives_the_same_figures(weaving):
    first, second = (compare({}, [weaving], seed=3)[0].scores for _ in range(2))
    assert first == second
    assert first != compare({}, [weaving], seed=4)[0].scores


def test_order_of_quality_is_what_it_must_be(weaving):
    (comparison,) = compare({}, [weaving], horizons_s=(1.0,))
    error = {score.model: score.ade_m for score in comparison.scores}
    assert error["floor"] < error["ctrv"] < error["persistence"]
    assert error["floor"] <= error["linear"] + 1e-9
    assert np.isfinite(list(error.values())).all()
