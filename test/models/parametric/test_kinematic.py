import math

import pytest
import torch

from mbrl_ros.core.layout import VX, VY, YAW_RATE
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import KinematicBicycle
from mbrl_ros.models.parametric.integrators import rk4

L, L_R, DELTA, SPEED = 2.8, 1.5, 0.3, 6.0
LEVERS = {"rear_axle": 0.0, "cg": L_R, "front_axle": L}


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def distance_from_turning_centre(path, lever):
    """[N] distances from the point that the rear axle's line and the front wheel's axis share."""
    centre = torch.tensor([-lever, L / math.tan(DELTA)], dtype=torch.float64)
    return torch.linalg.vector_norm(path[:, :2] - centre, dim=-1)


def radius(lever):
    return math.hypot(lever, L / math.tan(DELTA))


def held(steering, acceleration, steps):
    return torch.tensor([[steering, acceleration]], dtype=torch.float64).expand(steps, 2)


def turning_state():
    state = torch.zeros(8, dtype=torch.float64)
    state[VX] = SPEED
    state[6] = DELTA
    return state


@pytest.mark.parametrize("reference_point", LEVERS)
def test_constant_steering_drives_the_closed_form_circle(reference_point):
    model = KinematicBicycle(
        {"wheelbase": L, "rear_fraction": L_R / L} if reference_point == "cg" else {"wheelbase": L},
        dt=0.02,
        reference_point=reference_point,
    )
    lever = LEVERS[reference_point]
    path = rollout(model, turning_state(), held(DELTA, 0.0, 300))
    torch.testing.assert_close(
        distance_from_turning_centre(path, lever), torch.full((301,), radius(lever), dtype=torch.float64)
    )
    # The textbook's three: yaw rate from the speed of the point itself.
    speed = math.hypot(path[-1, VX], path[-1, VY])
    textbook = {
        "rear_axle": speed * math.tan(DELTA) / L,
        "cg": speed * math.cos(math.atan(L_R * math.tan(DELTA) / L)) * math.tan(DELTA) / L,
        "front_axle": speed * math.sin(DELTA) / L,
    }
    assert path[-1, YAW_RATE].item() == pytest.approx(textbook[reference_point], rel=1e-12)


def test_closed_form_radii():
    assert radius(LEVERS["cg"]) == pytest.approx(math.sqrt(L_R**2 + (L / math.tan(DELTA)) ** 2))
    assert radius(LEVERS["rear_axle"]) == pytest.approx(L / math.tan(DELTA))
    assert radius(LEVERS["front_axle"]) == pytest.approx(L / math.sin(DELTA))


def test_negative_control_mixed_reference_points_leave_the_circle():
    """``x' = v cos(delta + yaw)`` belongs to the front axle; with the yaw rate of the CG the circle is misplaced."""
    yaw_rate = SPEED * math.cos(math.atan(L_R * math.tan(DELTA) / L)) * math.tan(DELTA) / L

    def mixed(columns):
        heading = columns[2] + DELTA
        return SPEED * torch.cos(heading), SPEED * torch.sin(heading), torch.full_like(heading, yaw_rate)

    columns = tuple(torch.zeros(3, dtype=torch.float64).unbind())
    path = [torch.stack(columns)]
    for _ in range(300):
        columns = rk4(mixed, columns, 0.02)
        path.append(torch.stack(columns))
    for lever in LEVERS.values():
        error = distance_from_turning_centre(torch.stack(path), lever) - radius(lever)
        assert error.abs().max() > 0.3


def test_understeer_lengthens_the_effective_wheelbase():
    model = KinematicBicycle({"wheelbase": L, "understeer": 0.004}, dt=0.02)
    after = model(turning_state(), torch.tensor([DELTA, 0.0], dtype=torch.float64))
    expected = SPEED * math.tan(DELTA) / (L + 0.004 * SPEED**2)
    assert after[YAW_RATE].item() == pytest.approx(expected)


def test_reverse_mirrors_the_circle():
    model = KinematicBicycle({"wheelbase": L, "rear_fraction": L_R / L}, dt=0.02)
    state = turning_state()
    state[VX] = -SPEED
    path = rollout(model, state, held(DELTA, 0.0, 100))
    torch.testing.assert_close(
        distance_from_turning_centre(path, L_R), torch.full((101,), radius(L_R), dtype=torch.float64)
    )
    assert path[-1, YAW_RATE] < 0


def test_standing_car_stays_whatever_is_steered():
    model = KinematicBicycle({"steering_lag": 0.1}, dt=0.05)
    path = rollout(model, torch.zeros(8).double(), held(0.4, 0.0, 100))
    assert (path[..., :6] == 0).all()
