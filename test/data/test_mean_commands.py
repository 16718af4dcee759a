"""Commands averaged from row to row, for delays finer than the rows."""

import numpy as np
import pytest

from mbrl_ros.data import read_drive, resampling


def test_mean_of_held_values_is_their_integral():
    time_s, values = np.array([0.0, 0.3, 0.5]), np.array([[1.0], [3.0], [-1.0]])
    grid_s = np.array([-0.1, 0.0, 0.2, 0.4, 0.6])
    mean = resampling.held_mean(time_s, values, grid_s, 0.2)[:, 0]
    assert np.isnan(mean[0])  # nothing was sent yet
    np.testing.assert_allclose(mean[1:], [1.0, 0.5 * 1 + 0.5 * 3, 0.5 * 3 - 0.5 * 1, -1.0])


@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_averaged_rows_lose_no_command(course, save, rate_hz):
    """Over any stretch their sum is the commands' integral; commands at the rows' times alone leave some out."""
    path = save(course.odom().drive())
    stamp_s = course.stamps_ns * 1e-9
    errors = {}
    for mean in (True, False):
        segment = read_drive(path, rate_hz=rate_hz, mean_commands=mean).segments[0]
        first, last = segment.time_s[0], segment.time_s[-1]
        edges = np.clip(np.append(stamp_s, stamp_s[-1] + course.dt), first, last)
        integral = (np.diff(edges)[:, None] * course.actions).sum(axis=0)
        errors[mean] = np.abs(segment.action[:-1].sum(axis=0) / rate_hz - integral).max()
    assert errors[True] < 1e-5
    assert errors[False] > 10 * errors[True]  # negative control


def test_the_drive_says_so(course, save):
    notes = read_drive(save(course.odom().drive()), mean_commands=True).notes
    assert any("commands averaged from row to row" in note for note in notes)
