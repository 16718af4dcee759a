"""Figures of a drive, from samples whose answers are known."""

import json
import math

import numpy as np
import pytest

from mbrl_ros.core.layout import STATE, VX, X, Y
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.drive_log import DriveLog

RADIUS, SPEED = 10.0, 5.0


@pytest.fixture
def circle():
    angle = np.linspace(0.0, 2 * math.pi, 200, endpoint=False)
    points = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Track(points, np.ones(200), np.ones(200))


def driven(log, waited_s=0.0, laps=1.05, offset=0.0):
    """Stand for a while, then drive the circle at a constant speed."""
    stamps = np.arange(0.0, waited_s + laps * 2 * math.pi * RADIUS / SPEED, 0.02)
    for stamp in stamps:
        distance = max(stamp - waited_s, 0.0) * SPEED
        angle = distance / RADIUS
        state = np.zeros(len(STATE))
        state[[X, Y]] = RADIUS * math.cos(angle), RADIUS * math.sin(angle)
        state[VX] = SPEED if stamp >= waited_s else 0.0
        log.add_truth(float(stamp), state)
        estimate = state.copy()
        estimate[X] += offset
        log.add_estimate(float(stamp), estimate)
    return log.summary()


@pytest.mark.parametrize("waited_s", [0.0, 7.0])
def test_the_first_lap_begins_when_the_car_moves(circle, waited_s):
    summary = driven(DriveLog(circle, 0.3), waited_s)
    assert len(summary.laps) == 1
    assert summary.laps[0].time_s == pytest.approx(2 * math.pi * RADIUS / SPEED, abs=0.03)


def test_the_estimators_error_is_that_against_the_truth(circle):
    assert driven(DriveLog(circle, 0.3), offset=0.04).estimator_position_rmse_m == pytest.approx(0.04)


def test_a_figure_that_does_not_exist_is_null_in_json(circle):
    plain = DriveLog(circle, 0.3).summary().to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == {
        "laps": [],
        "control_rate_kept": None,
        "solve_ms": {"p50": None, "p99": None},
        "estimator_position_rmse_m": None,
        "top_speed_mps": None,
        "distrusted": None,
    }
