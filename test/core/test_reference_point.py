import math

import numpy as np
import pytest

from mbrl_ros.core.reference_point import lever_m, moved, moved_covariance

STATE = np.array([1.0, 2.0, 0.6, 3.0, -0.2, 1.5, 0.1, 0.4])


def test_levers_are_measured_from_the_rear_axle():
    assert [lever_m(point, 0.33, 0.52) for point in ("rear_axle", "cg", "front_axle")] == [0.0, 0.52 * 0.33, 0.33]


def test_moving_there_and_back_changes_nothing():
    np.testing.assert_allclose(moved(moved(STATE, 0.4), -0.4), STATE, atol=1e-15)


def test_velocity_of_the_moved_point_is_what_its_position_does():
    """By differences along a motion in which the body turns as a whole."""

    def at(seconds):
        state = STATE.copy()
        state[2] += STATE[5] * seconds
        cos, sin = math.cos(STATE[2]), math.sin(STATE[2])
        state[:2] += seconds * np.array([STATE[3] * cos - STATE[4] * sin, STATE[3] * sin + STATE[4] * cos])
        return moved(state, -0.7)[:2]

    world = (at(1e-6) - at(-1e-6)) / 2e-6
    cos, sin = math.cos(STATE[2]), math.sin(STATE[2])
    body = [world[0] * cos + world[1] * sin, -world[0] * sin + world[1] * cos]
    assert body == pytest.approx(moved(STATE, -0.7)[3:5].tolist(), abs=1e-6)


def test_the_rear_axle_of_a_rolling_car_does_not_slide():
    wheelbase, rear_fraction, yaw_rate = 0.33, 0.5, 1.0
    rolling = np.array([0.0, 0.0, 0.0, 2.0, rear_fraction * wheelbase * yaw_rate, yaw_rate, 0.1, 0.0])
    assert moved(rolling, -lever_m("cg", wheelbase, rear_fraction))[4] == pytest.approx(0.0)


def test_covariance_moves_as_samples_do():
    generator = np.random.default_rng(0)
    factor = 0.01 * generator.normal(size=(9, 9))
    mean = np.append(STATE, 0.0)
    samples = mean + generator.normal(size=(40000, 9)) @ factor.T
    spread = np.cov(np.array([moved(sample, 0.5) for sample in samples]).T)
    np.testing.assert_allclose(moved_covariance(factor @ factor.T, STATE[2], 0.5), spread, atol=3e-5)
