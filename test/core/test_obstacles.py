"""Obstacles of a task: distances with known answers, and what they cost."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.core.tasks.obstacles import Obstacle, ObstacleField
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.tasks.task import Avoiding
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle

VEHICLE = read_settings(Path(__file__).resolve().parents[2] / "config" / "vehicles" / "f1tenth.yaml", Vehicle)
HALF_WIDTH, HALF_LENGTH = VEHICLE.width_m / 2, VEHICLE.length_m / 2
RACING = RacingSettings(acceleration_limit_mps2=6.0, obstacles=3)


def at(x=0.0, y=0.0, yaw=0.0):
    state = torch.zeros(8, dtype=torch.float64)
    state[X], state[Y], state[YAW] = x, y, yaw
    return state


def clearance(obstacle, state, vehicle=VEHICLE):
    field = ObstacleField(2, vehicle, torch.float64)
    field.set([obstacle])
    first, other = field.clearances(state)
    assert float(other) > 1e3  # it is not there
    return float(first)


def task(settings=RACING):
    x = np.linspace(0, 20.0, 81)
    widths = np.full(81, 3.0)
    track = Track(np.stack([x, 0 * x], axis=1), widths, widths, closed=False)
    return RacingTask(track, VEHICLE, settings, dt=0.05)


def rate(subject, state):
    return float(subject.terms(state, torch.zeros(2), state)["obstacles"]) / subject.dt


def test_a_circle_is_as_far_as_its_edge_from_the_cars_outline():
    circle = Obstacle(3.0, 4.0, radius_m=0.5)
    toward, across = math.atan2(4.0, 3.0), math.atan2(4.0, 3.0) + math.pi / 2
    assert clearance(circle, at(yaw=toward)) == pytest.approx(5.0 - 0.5 - HALF_LENGTH)
    assert clearance(circle, at(yaw=toward + math.pi)) == pytest.approx(5.0 - 0.5 - HALF_LENGTH)
    assert clearance(circle, at(yaw=across)) == pytest.approx(5.0 - 0.5 - HALF_WIDTH)
    assert clearance(circle, at(3.0, 4.0)) < -0.5


@pytest.mark.parametrize("yaw", [0.0, 0.7, -2.0])
def test_a_box_is_as_far_as_its_faces_and_corners(yaw):
    box = Obstacle(1.0, -2.0, yaw_rad=yaw, length_m=2.0, width_m=0.6)

    def beside(along, across, heading):
        cos, sin = math.cos(yaw), math.sin(yaw)
        return at(1.0 + cos * along - sin * across, -2.0 + sin * along + cos * across, yaw + heading)

    assert clearance(box, beside(0.0, 2.0, math.pi / 2)) == pytest.approx(2.0 - 0.3 - HALF_LENGTH)
    assert clearance(box, beside(0.0, -2.0, 0.0)) == pytest.approx(2.0 - 0.3 - HALF_WIDTH)
    assert clearance(box, beside(3.0, 0.0, 0.0)) == pytest.approx(3.0 - 1.0 - HALF_LENGTH)
    corner = math.atan2(0.7, 1.0)
    assert clearance(box, beside(2.0, 1.0, corner)) == pytest.approx(math.hypot(1.0, 0.7) - HALF_LENGTH)
    assert clearance(box, beside(0.0, 0.0, 0.0)) == pytest.approx(-0.3 - HALF_WIDTH, abs=1e-5)
    rounded = Obstacle(1.0, -2.0, radius_m=0.2, yaw_rad=yaw, length_m=2.0, width_m=0.6)
    assert clearance(rounded, beside(2.0, 1.0, corner)) == pytest.approx(math.hypot(1.0, 0.7) - HALF_LENGTH - 0.2)


@pytest.mark.parametrize(("length", "width"), [(0.58, 0.31), (4.508, 1.61), (4.0, 2.0), (1.0, 1.0), (12.0, 2.5)])
def test_the_cars_outline_is_that_of_a_box_but_for_a_tenth_of_its_width_and_a_fifth_at_corners(length, width):
    car = VEHICLE.model_copy(update={"length_m": length, "width_m": width})
    flank, end = (length - width) / 2, length / 2
    for along in np.linspace(-flank, flank, 61):
        assert 0.0 <= clearance(Obstacle(along, width / 2), at(), car) + 1e-5 < 0.1 * width + 2e-5
        assert clearance(Obstacle(along, 0.0), at(), car) < -0.199 * width
    assert clearance(Obstacle(end, 0.0), at(), car) == pytest.approx(0.0, abs=1e-5)
    assert clearance(Obstacle(end, width / 2), at(), car) == pytest.approx((math.sqrt(0.5) - 0.5) * width, abs=1e-5)


def test_the_penalty_is_that_of_an_edge():
    subject = task()
    assert isinstance(subject, Avoiding)
    assert subject.term_names[-1] == "obstacles"
    subject.set_obstacles([Obstacle(10.0, 0.0, radius_m=0.5)])
    margin = RACING.boundary_margin * VEHICLE.width_m

    def penalty(distance):
        return -rate(subject, at(10.0 - 0.5 - HALF_LENGTH - distance))

    assert penalty(2 * margin) < 0.05
    assert penalty(0.0) == pytest.approx(RACING.boundary_weight + RACING.crossing_weight / 2, rel=0.02)
    assert (np.diff([penalty(distance) for distance in np.linspace(0.5, -0.5, 50)]) > 0).all()


def test_obstacles_come_and_go_in_place():
    subject, state = task(), at(10.0)
    places = {name: buffer.data_ptr() for name, buffer in subject.named_buffers()}
    assert rate(subject, state) == pytest.approx(0.0, abs=1e-9)
    subject.set_obstacles([Obstacle(10.0, 0.0, radius_m=0.1), Obstacle(15.0, 1.0, length_m=1.0, width_m=1.0)])
    assert rate(subject, state) < -50.0
    version = subject.obstacles.centre._version
    subject.set_obstacles((Obstacle(10.0, 0.0, radius_m=0.1), Obstacle(15.0, 1.0, length_m=1.0, width_m=1.0)))
    assert subject.obstacles.centre._version == version  # the same ones again: nothing to convert anew
    subject.set_obstacles([])
    assert rate(subject, state) == pytest.approx(0.0, abs=1e-9)
    assert {name: buffer.data_ptr() for name, buffer in subject.named_buffers()} == places


def test_slopes_are_those_of_finite_differences():
    subject = task()
    subject.set_obstacles(
        [Obstacle(10.0, 0.2, radius_m=0.3), Obstacle(9.0, -0.5, yaw_rad=0.4, length_m=0.5, width_m=0.2)]
    )
    generator = np.random.default_rng(0)
    rows = torch.tensor(generator.uniform([9.0, -1.0, -3.0], [11.0, 1.0, 3.0], (40, 3)))

    def cost(row):
        state = torch.cat([row, torch.zeros(5, dtype=torch.float64)])
        return subject.terms(state, torch.zeros(2), state)["obstacles"]

    gradient = torch.func.vmap(torch.func.grad(cost))(rows)
    for column in range(3):
        step = torch.zeros(3, dtype=torch.float64)
        step[column] = 1e-6
        slope = (torch.func.vmap(cost)(rows + step) - torch.func.vmap(cost)(rows - step)) / 2e-6
        torch.testing.assert_close(slope, gradient[:, column], rtol=1e-4, atol=1e-4)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="not finite"):
        Obstacle(math.nan, 0.0)
    with pytest.raises(ConfigError, match="negative size"):
        Obstacle(0.0, 0.0, radius_m=-1.0)
    four = [Obstacle(float(k), 0.0, radius_m=0.1) for k in range(4)]
    with pytest.raises(ConfigError, match="4 obstacles, field 'obstacles' allows 3"):
        task().set_obstacles(four)
    none = task(RacingSettings(acceleration_limit_mps2=6.0))
    assert "obstacles" not in none.term_names
    none.set_obstacles([])
    with pytest.raises(ConfigError, match="allows none"):
        none.set_obstacles(four[:1])
    with pytest.raises(ConfigError, match="'obstacles' is 3 and cannot change"):
        task().configure(RACING.model_copy(update={"obstacles": 5}))
