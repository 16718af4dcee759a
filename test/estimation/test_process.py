import math

import numpy as np
import pytest
import torch

from mbrl_ros.core.layout import VX, VY, YAW_RATE
from mbrl_ros.estimation.process import Process
from mbrl_ros.models.parametric import build_for

STATE = np.array([1.0, -2.0, 0.7, 3.0, -0.1, 1.2, 0.12, 0.8])
ACTION = np.array([0.15, 1.5])


def model_for(vehicle, kind, **config):
    return build_for(vehicle("f1tenth"), kind, dt=0.01, **config)


@pytest.mark.parametrize("integrator", ["euler", "rk4"])
def test_velocities_and_their_jacobian_are_the_models(vehicle, integrator):
    model = model_for(vehicle, "single_track", integrator=integrator)
    after, jacobian = Process(model, 0.5).predicted(STATE, ACTION, 0.01)

    def step(state):
        return model.step(state, torch.tensor(ACTION), 0.01)

    state = torch.tensor(STATE)
    np.testing.assert_allclose(after[3:], step(state).detach()[3:], atol=1e-12)
    exact = torch.func.jacfwd(step)(state).detach().numpy()
    np.testing.assert_allclose(jacobian[3:], exact[3:], atol=1e-8)


def test_pose_is_integrated_to_second_order(vehicle):
    model = model_for(vehicle, "single_track", integrator="rk4", substeps=20)
    reference = model.step(torch.tensor(STATE), torch.tensor(ACTION), 0.1).detach().numpy()
    process = Process(model_for(vehicle, "single_track", integrator="rk4"), 0.5)
    errors = []
    for steps in (5, 10, 20):
        state = STATE
        for _ in range(steps):
            state, _ = process.predicted(state, ACTION, 0.1 / steps)
        errors.append(np.abs(state[:3] - reference[:3]).max())
    assert errors[0] / errors[1] > 3.0
    assert errors[1] / errors[2] > 3.0
    assert errors[2] < 3e-5


def test_pose_jacobian_by_another_difference(vehicle):
    process = Process(model_for(vehicle, "kinematic_bicycle"), 0.5)
    _, jacobian = process.predicted(STATE, ACTION, 0.02)
    for entry in range(8):
        nudge = np.zeros(8)
        nudge[entry] = 1e-4
        up, down = (process.predicted(STATE + sign * nudge, ACTION, 0.02)[0] for sign in (1, -1))
        np.testing.assert_allclose(jacobian[:, entry], (up - down) / 2e-4, atol=1e-6)


def test_a_kinematic_models_discrepancy_decays_with_its_time_constant(vehicle):
    model, tau = model_for(vehicle, "kinematic_bicycle"), 0.4
    process = Process(model, tau)
    state, action = STATE.copy(), np.array([0.12, 0.8])
    state[6:] = [0.12, 0.8]
    kinematic = model.step(torch.tensor(state), torch.tensor(action), 1e-6).detach().numpy()
    state[[VY, YAW_RATE]] = kinematic[[VY, YAW_RATE]] + [0.3, -0.2]
    after, jacobian = process.predicted(state, action, 0.1)
    expected = model.step(torch.tensor(state), torch.tensor(action), 0.1).detach().numpy()
    decayed = math.exp(-0.1 / tau) * np.array([0.3, -0.2])
    np.testing.assert_allclose(after[[VY, YAW_RATE]] - expected[[VY, YAW_RATE]], decayed, atol=1e-6)
    assert jacobian[YAW_RATE, YAW_RATE] == pytest.approx(math.exp(-0.1 / tau))
    # Negative control: the bare model is deaf to what it computes itself.
    exact = torch.func.jacfwd(lambda s: model.step(s, torch.tensor(action), 0.1))(torch.tensor(state))
    assert exact[YAW_RATE, YAW_RATE] == 0.0


@pytest.mark.parametrize("drive", ["acceleration", "speed"])
def test_without_a_command_the_actuators_stay(vehicle, drive):
    model = model_for(vehicle, "single_track", drive=drive).with_parameters(
        {"steering_scale": 0.8, "steering_offset": 0.05}
    )
    state = STATE.copy()
    if drive == "speed":
        state[7] = 0.0
    after, _ = Process(model, 0.5).predicted(state, np.full(2, np.nan), 0.05)
    np.testing.assert_allclose(after[6:], state[6:], atol=1e-9)
    half, _ = Process(model, 0.5).predicted(state, np.array([0.3, np.nan]), 0.05)
    assert half[6] > state[6] + 0.01


def test_specific_force_in_a_steady_circle_points_to_its_centre(vehicle):
    process = Process(model_for(vehicle, "single_track"), 0.5)
    state = STATE.copy()
    for _ in range(300):
        state, _ = process.predicted(state, np.array([0.1, 0.0]), 0.01)
    force, jacobian = process.specific_force(state)
    assert force[1] == pytest.approx(state[VX] * state[YAW_RATE], rel=0.01)
    for entry in range(8):
        nudge = np.zeros(8)
        nudge[entry] = 1e-4
        slope = (process.specific_force(state + nudge)[0] - process.specific_force(state - nudge)[0]) / 2e-4
        np.testing.assert_allclose(jacobian[:, entry], slope, atol=1e-3)


@pytest.mark.parametrize("kind", ["kinematic_bicycle", "single_track"])
@pytest.mark.parametrize(("point", "lever_m"), [("rear_axle", 0.0), ("cg", 0.5192 * 0.3302), ("front_axle", 0.3302)])
def test_the_rear_slides_where_it_moves_sideways_beyond_what_tyres_that_grip_do(vehicle, kind, point, lever_m):
    process = Process(model_for(vehicle, kind, reference_point=point), 0.5)
    rolling = np.array([0.0, 0.0, 0.3, 0.0, lever_m * 1.5, 1.5, 0.0, 0.0])
    for forward_mps, sideways_mps, sliding_mps in (
        (4.0, 0.0, 0.0),
        (4.0, 1.1, 0.0),
        (4.0, -1.1, 0.0),
        (4.0, 2.0, 0.8),
        (4.0, -2.0, 0.8),
        (0.0, 2.0, 2.0),
        (-4.0, 2.0, 0.8),
    ):
        state = rolling + forward_mps * np.eye(8)[VX] + sideways_mps * np.eye(8)[VY]
        assert process.sliding_mps(state) == pytest.approx(sliding_mps, abs=1e-12)
