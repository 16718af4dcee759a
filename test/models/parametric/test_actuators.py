import math

import pytest
import torch

from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, VX
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import KinematicBicycle
from mbrl_ros.models.parametric.actuators import lagged

H = 0.05


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def simulated(value, target, lag, rate_limit, steps=20_000):
    """End and mean of the first-order lag with a limited rate, by brute force."""
    total, h = 0.0, H / steps
    for _ in range(steps):
        wanted = target - value if lag == 0 else (target - value) * h / lag
        change = max(-rate_limit * h, min(rate_limit * h, wanted))
        total += value + change / 2
        value += change
    return value, total / steps


@pytest.mark.parametrize("lag", [0.005, 0.05, 0.5])
def test_lag_is_the_exact_exponential(lag):
    end, mean = lagged(scalar(0.1), scalar(0.4), H, scalar(lag))
    assert end.item() == pytest.approx(0.4 - 0.3 * math.exp(-H / lag), abs=1e-12)
    assert mean.item() == pytest.approx(simulated(0.1, 0.4, lag, math.inf)[1], abs=1e-5)


@pytest.mark.parametrize("target", [0.11, -0.02, 0.9, -0.9])
def test_rate_limit_without_lag_ramps_and_holds(target):
    end, mean = lagged(scalar(0.1), scalar(target), H, None, scalar(3.0))
    wanted_end, wanted_mean = simulated(0.1, target, 0.0, 3.0)
    assert end.item() == pytest.approx(wanted_end, abs=1e-9)
    assert mean.item() == pytest.approx(wanted_mean, abs=1e-5)


def test_saturated_lag_ramps():
    end, mean = lagged(scalar(0.1), scalar(5.0), H, scalar(0.1), scalar(2.0))
    assert (end.item(), mean.item()) == (pytest.approx(0.2), pytest.approx(0.15))


def test_neither_lag_nor_limit_is_immediate():
    target = scalar(0.3)
    assert lagged(scalar(-1.0), target, H, None) == (target, target)


def test_a_vanishing_lag_is_immediate_with_a_finite_gradient():
    lag = scalar(0.0).requires_grad_()
    end, mean = lagged(scalar(0.1), scalar(0.4), H, lag)
    (end + mean).backward()
    assert end.item() == pytest.approx(0.4)
    assert mean.item() == pytest.approx(0.4, abs=1e-4)
    assert torch.isfinite(lag.grad)


def drive(model, state, action, steps):
    with torch.no_grad():
        return rollout(model, state, action.expand(*state.shape[:-1], steps, 2)).movedim(-2, 0)


def test_steering_scale_and_offset_lie_between_command_and_wheel():
    model = KinematicBicycle({"steering_scale": 0.8, "steering_offset": 0.02}, dt=0.02)
    after = model(torch.zeros(8, dtype=torch.float64), torch.tensor([0.25, 0.0], dtype=torch.float64))
    assert after[STEERING_ANGLE].item() == pytest.approx(0.8 * 0.25 + 0.02)


@pytest.mark.parametrize("substeps", [1, 4])
def test_lag_in_a_model_does_not_depend_on_substeps(substeps):
    model = KinematicBicycle({"steering_lag": 0.1, "drive_lag": 0.3}, dt=0.02, substeps=substeps)
    path = drive(model, torch.zeros(8, dtype=torch.float64), torch.tensor([0.2, 1.5], dtype=torch.float64), 25)
    time = 0.02 * torch.arange(26, dtype=torch.float64)
    torch.testing.assert_close(path[:, STEERING_ANGLE], 0.2 * (1 - torch.exp(-time / 0.1)))
    torch.testing.assert_close(path[:, ACCELERATION], 1.5 * (1 - torch.exp(-time / 0.3)))
    speed = 1.5 * (time - 0.3 * (1 - torch.exp(-time / 0.3)))
    torch.testing.assert_close(path[:, VX], speed)


@pytest.mark.parametrize("dt", [0.01, 0.1, 0.5])
def test_speed_command_is_approached_exponentially_at_any_step(dt):
    model = KinematicBicycle({"speed_gain": 4.0, "max_acceleration": 50.0}, dt=dt, drive="speed")
    state = torch.zeros(8, dtype=torch.float64)
    path = drive(model, state, torch.tensor([0.0, 3.0], dtype=torch.float64), 10)
    time = dt * torch.arange(11, dtype=torch.float64)
    torch.testing.assert_close(path[:, VX], 3.0 * (1 - torch.exp(-4.0 * time)))


def test_speed_controller_saturates_at_its_limits():
    model = KinematicBicycle({"max_acceleration": 2.0, "max_braking": 5.0}, dt=0.1, drive="speed")
    state = torch.zeros(2, 8, dtype=torch.float64)
    state[:, VX] = 10.0
    after = model(state, torch.tensor([[0.0, 100.0], [0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(after[:, VX].detach(), torch.tensor([10.2, 9.5], dtype=torch.float64))


def test_a_speed_limit_keeps_the_car_from_going_faster_but_does_not_brake_it():
    model = KinematicBicycle({"speed_limit": 2.0, "speed_gain": 4.0}, dt=0.1, drive="speed")
    state = torch.zeros(3, 8, dtype=torch.float64)
    state[:, VX] = torch.tensor([0.0, 3.0, 3.0])
    command = torch.tensor([[0.0, 9.0], [0.0, 9.0], [0.0, 1.0]], dtype=torch.float64)
    path = drive(model, state, command[:, None], 40)
    assert path[-1, 0, VX].item() == pytest.approx(2.0)
    torch.testing.assert_close(path[:, 1, VX], torch.full((41,), 3.0, dtype=torch.float64))
    assert path[-1, 2, VX].item() == pytest.approx(1.0)


def test_duty_reaches_the_speed_where_drive_and_resistance_balance():
    parameters = {"motor_gain": 7.0, "motor_damping": 1.3, "rolling_resistance": 1.2, "drag": 0.01}
    model = KinematicBicycle(parameters, dt=0.05, drive="duty")
    state = torch.zeros(8, dtype=torch.float64)
    speed = drive(model, state, torch.tensor([0.0, 0.6], dtype=torch.float64), 300)[-1, VX].item()
    assert (7.0 - 1.3 * speed) * 0.6 == pytest.approx(1.2 + 0.01 * speed**2, rel=1e-4)


def test_resistance_stops_a_car_and_leaves_it_standing():
    model = KinematicBicycle({"rolling_resistance": 1.0, "drag": 0.05}, dt=0.02)
    state = torch.zeros(2, 8, dtype=torch.float64)
    state[0, VX] = 2.0
    path = drive(model, state, torch.zeros(2, dtype=torch.float64), 300)
    assert path[-1, 0, VX].abs() < 1e-3
    assert (path[1:, 0, VX] >= 0).all()
    assert (path[:, 1] == 0).all()
