import math

import numpy as np
import pytest
import torch

from mbrl_ros.core.angles import quaternion_from_yaw, wrap_angle, yaw_from_quaternion


@pytest.mark.parametrize("turns", [-3, -1, 0, 1, 100])
def test_whole_turns_are_removed(turns):
    angle = np.linspace(-math.pi, math.pi, 50, endpoint=False) + 1e-6
    wrapped = wrap_angle(angle + 2 * math.pi * turns)
    np.testing.assert_allclose(wrapped, angle, atol=1e-9)
    torch.testing.assert_close(wrap_angle(torch.tensor(angle + 2 * math.pi * turns)), torch.tensor(wrapped))


def test_the_interval_is_closed_below_and_open_above():
    assert wrap_angle(math.pi) == -math.pi
    assert wrap_angle(-math.pi) == -math.pi
    assert isinstance(wrap_angle(4.0), float)


def test_wrapping_has_slope_one_everywhere():
    angle = torch.linspace(-10, 10, 101, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(wrap_angle(angle).sum(), angle)
    torch.testing.assert_close(slope, torch.ones_like(slope))


def test_quaternions_and_yaw_are_inverse():
    for yaw in np.linspace(-3.1, 3.1, 20):
        assert yaw_from_quaternion(*quaternion_from_yaw(yaw)) == pytest.approx(yaw)


def test_yaw_of_a_tilted_car_is_its_heading_on_the_ground():
    """Rotation about z by 0.7, then about the body's y by 0.2 (z-y-x convention)."""
    x, y = -math.sin(0.35) * math.sin(0.1), math.cos(0.35) * math.sin(0.1)
    z, w = math.sin(0.35) * math.cos(0.1), math.cos(0.35) * math.cos(0.1)
    assert yaw_from_quaternion(x, y, z, w) == pytest.approx(0.7)
