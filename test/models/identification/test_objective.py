"""Prediction errors and their derivatives."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.layout import STEERING_ANGLE, VX, VY, YAW_RATE
from mbrl_ros.models.identification.objective import ERRORS, Objective, PredictionErrors
from mbrl_ros.models.windows import cut_windows

STEPS = (1, 5, 10)
FITTED = {
    "kinematic_bicycle": ("wheelbase", "rear_fraction", "understeer", "steering_delay", "acceleration_scale"),
    "single_track": ("wheelbase", "yaw_inertia_ratio", "stiffness_front", "friction_rear", "steering_delay"),
}


def windows_of(drive, **changes):
    settings = {"horizon_s": 0.2, "past_s": 1.0, "every_s": 1.0, "min_speed": 1.0, "block_s": 2.0, "limit": 40}
    return cut_windows([drive], **(settings | changes))


def objective_of(model, names, windows, settle=0):
    scales = dict.fromkeys(names, 1.0)
    high = np.array([model.table[name].high for name in names])
    return Objective(PredictionErrors(model, settle, STEPS), scales, high, windows)


def values_of(model, names):
    return np.array([model.values()[name] for name in names])


@pytest.mark.parametrize("kind", FITTED)
def test_the_true_model_has_no_errors(kind, bicycle, tyres, driven):
    model = bicycle if kind == "kinematic_bicycle" else tyres
    windows = windows_of(driven(model, seconds=20, noise=0.0))
    objective = objective_of(model, FITTED[kind], windows)
    errors = objective.errors(values_of(model, FITTED[kind]))
    assert errors.shape == (len(windows), len(STEPS), len(ERRORS))
    assert np.abs(errors).max() < 1e-9


@pytest.mark.parametrize("kind", FITTED)
def test_jacobian_equals_central_differences(kind, bicycle, tyres, driven):
    model = bicycle if kind == "kinematic_bicycle" else tyres
    names = FITTED[kind]
    windows = windows_of(driven(model, seconds=20))
    objective = objective_of(model, names, windows, settle=3)
    theta = values_of(model, names) * 1.03
    errors, jacobian = objective.errors_and_jacobian(theta)
    np.testing.assert_array_equal(errors, objective.errors(theta))
    for k in range(len(names)):
        step = 1e-5 * np.eye(len(names))[k]
        central = (objective.errors(theta + step) - objective.errors(theta - step)) / 2e-5
        np.testing.assert_allclose(jacobian[..., k], central, atol=2e-4 * np.abs(central).max() + 1e-8)
        assert np.abs(central).max() > 0


def test_the_derivative_by_the_delay_has_a_closed_form(bicycle, driven):
    """Between samples the acting steering is linear in the delay: its slope is the change of the command."""
    windows = windows_of(driven(bicycle, seconds=20, noise=0.0))
    objective = objective_of(bicycle, ("steering_delay",), windows)
    delay = bicycle.values()["steering_delay"]  # 5.5 steps
    _, jacobian = objective.errors_and_jacobian(np.array([delay]))
    p, dt, past = bicycle.values(), bicycle.dt, windows.past
    newer, older = windows.commands[:, past - 5, 0], windows.commands[:, past - 6, 0]
    acting = 0.5 * (newer + older) + p["steering_offset"]
    slope = (older - newer) / dt  # of the acting angle by the delay
    vx = windows.states[:, past + 1, VX]
    by_hand = vx / (p["wheelbase"] + p["understeer"] * vx**2) / torch.cos(acting) ** 2 * slope
    np.testing.assert_allclose(jacobian[:, 0, ERRORS.index("yaw_rate"), 0], by_hand.numpy(), rtol=1e-3, atol=1e-5)


def test_what_is_not_recorded_counts_for_nothing(bicycle, driven):
    windows = windows_of(driven(bicycle, seconds=20, hidden=(VY, YAW_RATE, STEERING_ANGLE)))
    objective = objective_of(bicycle, ("wheelbase",), windows)
    errors, jacobian = objective.errors_and_jacobian(np.array([3.0]))
    for name in ("vy", "yaw_rate"):
        assert np.abs(errors[..., ERRORS.index(name)]).max() == 0.0
        assert np.abs(jacobian[..., ERRORS.index(name), 0]).max() == 0.0
    assert np.abs(errors[..., ERRORS.index("yaw")]).max() > 0


def test_a_wrong_drive_train_does_not_turn_the_car(bicycle, driven):
    """Heading and yaw rate are predicted at the recorded speed, so the drive's parameters do not move them."""
    windows = windows_of(driven(bicycle, seconds=20, noise=0.0))
    objective = objective_of(bicycle, ("acceleration_offset",), windows)
    errors = objective.errors(np.array([2.0]))
    assert np.abs(errors[:, -1, ERRORS.index("vx")]).min() > 0.3
    # Within one step speed and turn are still one: that is all that is left of it.
    assert np.abs(errors[:, -1, ERRORS.index("yaw")]).max() < 0.05 * 0.2
