"""What the end of a plan costs, against closed forms on a straight that leads into a bend."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.tasks.horizon_end import HorizonEnd, HorizonEndSettings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle

VEHICLE = read_settings(Path(__file__).resolve().parents[2] / "config" / "vehicles" / "f1tenth.yaml", Vehicle)
GRIP, RADIUS_M, STRAIGHT_M = 6.0, 5.0, 40.0


@pytest.fixture(scope="module")
def bend():
    """A straight along x, then a quarter of a circle to the left."""
    along = np.column_stack([np.linspace(0, STRAIGHT_M, 81), np.zeros(81)])
    angle = np.linspace(0, math.pi / 2, 41)[1:]
    turn = np.column_stack([STRAIGHT_M + RADIUS_M * np.sin(angle), RADIUS_M * (1 - np.cos(angle))])
    return Track(np.concatenate([along, turn]), np.full(121, 1.5), np.full(121, 1.5), closed=False)


def cost(bend, x, yaw=0.0, vx=1.0, **weights):
    end = HorizonEnd(bend, VEHICLE, HorizonEndSettings(acceleration_mps2=GRIP, **weights))
    return float(end(torch.tensor([x, 0.2, yaw, vx, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)))


def test_a_heading_costs_its_square_whichever_way_round(bend):
    for yaw in (0.3, -0.3, 0.3 + 2 * math.pi):
        assert cost(bend, 10.0, yaw, heading_weight=4.0) == pytest.approx(4.0 * (2 - 2 * math.cos(0.3)))


@pytest.mark.parametrize("before_m", [3.0, 6.0, 12.0])
def test_a_speed_costs_where_brakes_cannot_make_it_that_of_the_bend(bend, before_m):
    braking = min(VEHICLE.limits.braking_mps2, GRIP)
    allowed = min(math.sqrt(GRIP * RADIUS_M + 2 * braking * before_m), VEHICLE.limits.speed_mps)
    x = STRAIGHT_M - before_m
    assert cost(bend, x, vx=2 * allowed, speed_weight=3.0) == pytest.approx(3.0, rel=0.05)
    assert cost(bend, x, vx=0.7 * allowed, speed_weight=3.0) < 0.01


def test_only_weights_are_wanted():
    assert not HorizonEndSettings().wanted
    assert HorizonEndSettings(heading_weight=1.0).wanted
    assert HorizonEndSettings(speed_weight=1.0).wanted


def test_a_state_that_is_not_a_number_stays_one_and_a_huge_one_is_finite(bend):
    assert math.isnan(cost(bend, math.nan, heading_weight=1.0, speed_weight=1.0))
    assert math.isfinite(cost(bend, 1e30, vx=1e30, heading_weight=1.0, speed_weight=1.0))
