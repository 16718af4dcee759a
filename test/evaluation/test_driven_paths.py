"""Paths for people: from the same starts, over the same times."""

import numpy as np
import pytest
import torch

from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.driven_paths import driven_paths
from mbrl_ros.models.parametric import build


@pytest.fixture(scope="module")
def truth():
    return build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02)


@pytest.fixture(scope="module")
def driven(truth):
    """6 s of driving that ``truth`` is the truth of."""
    kept, state = Driven(keep_s=60.0), torch.tensor([0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    for k in range(300):
        action = np.array([0.3 * np.sin(0.02 * k), 0.2, 0.0])
        kept.command(0.02 * k, action)
        kept.observe(0.02 * k, state.numpy().copy())
        with torch.no_grad():
            state = truth(state, torch.from_numpy(action[:2]))
    return kept


def test_the_truths_paths_are_those_that_were_driven(driven, truth):
    paths = driven_paths(driven, truth, 1.0, 3.0, 0.5)
    assert paths.stamp_s == driven.stamp_s
    assert paths.predicted.shape == paths.driven.shape
    assert paths.predicted.shape[1:] == (51, 2)
    assert 4 <= len(paths.predicted) <= 7
    np.testing.assert_allclose(paths.predicted, paths.driven, atol=1e-6)
    lengths = np.linalg.norm(np.diff(paths.driven, axis=1), axis=-1).sum(axis=1)
    assert (lengths > 1.9).all()
    assert (lengths < 3.5).all()


def test_another_models_paths_leave_them_by_what_is_said(driven):
    paths = driven_paths(driven, build("kinematic_bicycle", {"wheelbase": 0.5}, dt=0.02), 1.0, 3.0, 0.5)
    np.testing.assert_allclose(paths.predicted[:, 0], paths.driven[:, 0], atol=1e-9)
    assert (paths.error_m > 0.02).all()
    np.testing.assert_allclose(paths.error_m, np.hypot(*(paths.predicted - paths.driven)[:, -1].T))


def test_without_driving_there_are_none(truth):
    assert driven_paths(Driven(keep_s=60.0), truth, 1.0, 3.0, 0.5) is None
