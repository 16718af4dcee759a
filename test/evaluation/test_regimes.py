"""Regimes part the starts, and their scores add up to the whole."""

import math

import numpy as np
import pytest

from mbrl_ros.core.layout import VX, YAW_RATE
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.evaluation.open_loop import cut_windows
from mbrl_ros.evaluation.regimes import REGIMES, in_words, regimes_of


@pytest.fixture(scope="module")
def comparison(weaving):
    return compare({}, [weaving], split="time:0.2", horizons_s=(0.5, 1.0))[0]


def test_every_start_is_in_the_regime_that_it_was_driven_in(weaving):
    windows = cut_windows(weaving, horizons_s=(1.0,))
    regimes = regimes_of(windows)
    counted = np.zeros(len(windows))
    driven = windows.driven.numpy()
    speed = driven[..., VX].mean(axis=1)
    lateral = np.abs(driven[..., VX] * driven[..., YAW_RATE]).mean(axis=1)
    for regime in REGIMES:
        rows = regimes.rows(regime)
        counted += rows
        for values, (low, high) in ((speed, regimes.speed(regime)), (lateral, regimes.lateral(regime))):
            assert ((values[rows] >= low) & (values[rows] <= high)).all()
    assert (counted == 1).all()
    for words in ("slow", "little turning"):
        third = np.any([regimes.rows(regime) for regime in REGIMES if words in regime], axis=0)
        assert abs(third.sum() - len(windows) / 3) <= 1


def test_scores_by_regime_add_up_to_the_whole(comparison):
    for score in comparison.scores:
        parts = [s for s in comparison.regime_scores if (s.model, s.horizon_s) == (score.model, score.horizon_s)]
        assert sum(s.starts for s in parts) == score.starts
        assert sum(s.starts * s.ade_m for s in parts) / score.starts == pytest.approx(score.ade_m)
        assert sum(s.starts * s.fde_m for s in parts) / score.starts == pytest.approx(score.fde_m)


def test_borders_in_words():
    assert in_words((-math.inf, 12.3)) == "< 12.3"
    assert in_words((12.3, 17.0)) == "12.3–17"
    assert in_words((0.014, math.inf)) == "> 0.014"
