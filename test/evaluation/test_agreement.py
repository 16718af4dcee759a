"""Agreement of commands and paths, against closed forms."""

import math

import numpy as np
import pytest

from mbrl_ros.core.layout import YAW
from mbrl_ros.evaluation.agreement import agreement, offsets

PHASE = np.linspace(0.0, 2 * math.pi, 400, endpoint=False)


def test_figures_are_those_of_the_closed_forms():
    driven = np.stack([np.sin(PHASE), 2.0 * np.cos(PHASE)], axis=1)
    planned = np.stack([np.sin(PHASE + math.pi / 3) + 0.1, -driven[:, 1]], axis=1)
    found = agreement(planned, driven)
    assert found.count == 400
    # Sines a phase apart differ by a sine of amplitude 2 sin(phase / 2), here 1, and correlate by the phase's cosine.
    np.testing.assert_allclose(found.rms, [math.sqrt(0.5 + 0.01), math.sqrt(8.0)])
    np.testing.assert_allclose(found.bias, [0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.correlation, [0.5, -1.0])


def test_pairs_that_are_not_known_are_left_out_and_what_does_not_vary_correlates_with_nothing():
    driven = np.stack([np.sin(PHASE), np.full(400, 0.3)], axis=1).reshape(20, 20, 2)
    planned = driven + 0.2
    planned[3, 4, 0] = driven[7, 8, 1] = np.nan
    found = agreement(planned, driven)
    assert found.count == 398
    np.testing.assert_allclose(found.rms, 0.2)
    assert found.correlation[0] == pytest.approx(1.0)
    assert math.isnan(found.correlation[1])
    none = agreement(np.full((3, 2), np.nan), np.zeros((3, 2)))
    assert none.count == 0
    assert np.isnan([none.rms, none.bias, none.correlation]).all()


def test_offsets_are_seen_from_the_car():
    state = np.zeros((2, 8))
    state[:, YAW] = 0.0, math.pi / 2
    driven = np.zeros((2, 1, 2))
    planned = np.array([[[1.0, 2.0]], [[1.0, 2.0]]])
    np.testing.assert_allclose(offsets(state, planned, driven)[:, 0], [[1.0, 2.0], [2.0, -1.0]], atol=1e-12)
