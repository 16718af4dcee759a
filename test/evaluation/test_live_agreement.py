"""Agreement over the last seconds of driving."""

import math

import numpy as np

from mbrl_ros.evaluation.live_agreement import LiveAgreement


def test_the_newest_difference_and_the_root_mean_square_over_the_window():
    live = LiveAgreement(window_s=1.0)
    for k in range(200):
        sent = np.array([0.1 * math.sin(0.1 * k), 1.0])
        live.add(0.02 * k, sent + np.array([0.03 * (-1) ** k, 0.5 if k < 148 else -0.2]), sent)
    np.testing.assert_allclose(live.newest, [-0.03, -0.2])
    found = live.over_window()
    assert found.count == 51  # both ends of the window
    np.testing.assert_allclose(found.rms, [0.03, 0.2])
    np.testing.assert_allclose(found.bias, [-0.03 / 51, -0.2])


def test_time_that_is_set_back_begins_anew():
    live = LiveAgreement(window_s=10.0)
    live.add(100.0, np.array([1.0, 1.0]), np.zeros(2))
    live.add(3.0, np.array([0.5, 0.0]), np.zeros(2))
    found = live.over_window()
    assert found.count == 1
    np.testing.assert_allclose(found.rms, [0.5, 0.0])
