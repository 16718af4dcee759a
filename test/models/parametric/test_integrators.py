import math

import pytest
import torch

from mbrl_ros.core.layout import VX
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import KinematicBicycle, SingleTrack
from mbrl_ros.models.parametric.integrators import euler, heun, rk4


def error_on_a_circle(integrate, steps):
    """Distance from the exact solution of ``z' = i z`` after one radian."""
    x, y = torch.tensor(1.0).double(), torch.tensor(0.0).double()
    for _ in range(steps):
        x, y = integrate(lambda state: (-state[1], state[0]), (x, y), 1 / steps)
    return math.hypot(x - math.cos(1), y - math.sin(1))


@pytest.mark.parametrize(("integrate", "order"), [(euler, 1), (heun, 2), (rk4, 4)])
def test_order_on_an_exact_solution(integrate, order):
    measured = math.log2(error_on_a_circle(integrate, 16) / error_on_a_circle(integrate, 32))
    assert measured == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("build", [KinematicBicycle, SingleTrack])
@pytest.mark.parametrize(("integrator", "order", "coarse"), [("euler", 1, 40), ("heun", 2, 20), ("rk4", 4, 10)])
def test_order_of_the_models_under_held_actuators(build, integrator, order, coarse):
    state = torch.zeros(8, dtype=torch.float64)
    state[VX] = 4.0
    action = torch.tensor([[0.05, 1.5]], dtype=torch.float64)

    def after(method, substeps):
        with torch.no_grad():
            return rollout(build(dt=0.2, integrator=method, substeps=substeps), state, action)[-1, :6]

    exact = after("rk4", 160)
    errors = [torch.linalg.vector_norm(after(integrator, n) - exact).item() for n in (coarse, 2 * coarse)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("build", [KinematicBicycle, SingleTrack])
def test_mean_actuators_are_second_order(build):
    """While actuators move, a step sees their mean: halving it quarters the error."""
    state = torch.zeros(8, dtype=torch.float64)
    state[VX] = 4.0
    action = torch.tensor([[0.1, 1.5]], dtype=torch.float64)

    def after(substeps):
        with torch.no_grad():
            return rollout(build({"steering_lag": 0.15}, dt=0.2, substeps=substeps), state, action)[-1]

    exact = after(128)
    errors = [torch.linalg.vector_norm(after(n) - exact).item() for n in (8, 16)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
