import math

import pytest
import torch

from mbrl_ros.core.config import parse_settings
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import ACTIONS, STATE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.parametric import KINDS, Config, build, build_for

EVERYTHING = {
    "steering_lag": 0.08,
    "steering_rate_limit": 2.0,
    "drive_lag": 0.15,
    "drag": 0.02,
    "heading_offset": 0.05,
    "velocity_scale": 1.1,
}
TYRES = {"curvature_front": -1.0, "curvature_rear": 0.4, "cg_height_ratio": 0.2}
TYPICAL = {"acceleration": 1.2, "speed": 3.1, "duty": 0.4}


def full_model(kind, drive="acceleration", **config):
    """A model with every effect switched on."""
    parameters = EVERYTHING | (TYRES if kind == "single_track" else {"understeer": 0.01})
    return build(kind, parameters, **{"dt": 0.02, "drive": drive, **config})


def states_and_actions(drive="acceleration", count=12, dtype=torch.float64):
    """Standing, blending and fast cars, forwards and backwards."""
    generator = torch.Generator().manual_seed(3)
    state = torch.randn(count, 8, generator=generator, dtype=dtype) * 0.1
    state[:, VX] = torch.linspace(-1.3, 6.0, count, dtype=dtype)
    action = torch.randn(count, 2, generator=generator, dtype=dtype) * 0.1
    action[:, 1] += TYPICAL[drive]
    return state, action


def central_differences(function, at, step=1e-6):
    """[..., out, in] Jacobian of a batched function of [..., in]."""
    directions = torch.eye(at.shape[-1], dtype=at.dtype) * step
    columns = [(function(at + direction) - function(at - direction)) / (2 * step) for direction in directions]
    return torch.stack(columns, dim=-1).detach()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drive", ACTIONS)
def test_jacobians_equal_finite_differences(kind, drive):
    model = full_model(kind, drive, substeps=2)
    state, action = states_and_actions(drive)
    by_state, by_action = torch.func.vmap(torch.func.jacfwd(model, argnums=(0, 1)))(state, action)
    torch.testing.assert_close(by_state, central_differences(lambda s: model(s, action), state), atol=1e-7, rtol=1e-6)
    torch.testing.assert_close(by_action, central_differences(lambda a: model(state, a), action), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_parameter_jacobian_equals_finite_differences(kind):
    model = full_model(kind)
    state, action = states_and_actions()
    names = list(model.parameters_by_name())
    values = torch.tensor(list(model.values().values()), dtype=torch.float64)

    def after(theta):
        given = dict(zip(names, theta.unbind(), strict=True))
        return torch.func.functional_call(model, given, (state, action))

    jacobian = torch.func.jacfwd(after)(values)
    torch.testing.assert_close(jacobian, central_differences(after, values), atol=1e-6, rtol=1e-5)
    moved = {name for name, column in zip(names, jacobian.flatten(0, 1).T, strict=True) if column.abs().max() > 0}
    assert moved == set(names) - {"steering_delay", "drive_delay"}  # delays act outside of the step


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_at_rest(kind):
    model = full_model(kind)
    jacobian = torch.func.jacrev(model)(torch.zeros(8).double(), torch.zeros(2).double())
    assert torch.isfinite(jacobian).all()


@pytest.mark.parametrize("kind", KINDS)
def test_one_tensor_may_stand_for_two_parameters(kind):
    model = full_model(kind)
    state, action = states_and_actions()
    shared = torch.tensor(0.1).double()
    given = {"steering_lag": shared, "drive_lag": shared}
    expected = model.with_parameters({"steering_lag": 0.1, "drive_lag": 0.1})(state, action)
    torch.testing.assert_close(torch.func.functional_call(model, given, (state, action)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_shapes_and_layout(kind):
    model = full_model(kind)
    assert isinstance(model, DynamicsModel)
    assert (model.state_layout, model.action_layout) == (STATE, ACTIONS["acceleration"])
    state, action = states_and_actions()
    together = model(state, action)
    one_by_one = torch.stack([model(s, a) for s, a in zip(state, action, strict=True)])
    torch.testing.assert_close(together, one_by_one)
    torch.testing.assert_close(model(state.reshape(3, 4, 8), action.reshape(3, 4, 2)), together.reshape(3, 4, 8))
    assert model(state, action[0]).shape == state.shape
    assert together.unbind(-1)[0].is_contiguous()  # what compiled rollouts need to vectorise


@pytest.mark.parametrize("kind", KINDS)
def test_motion_does_not_depend_on_where_and_which_way(kind):
    model = full_model(kind)
    state, action = states_and_actions()
    turn, shift = 0.7, torch.tensor([30.0, -20.0], dtype=torch.float64)
    rotation = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]).double()
    moved = torch.cat([state[:, :2] @ rotation.T + shift, state[:, 2:3] + turn, state[:, 3:]], dim=-1)
    after, after_moved = model(state, action), model(moved, action)
    torch.testing.assert_close(after_moved[:, :2], after[:, :2] @ rotation.T + shift)
    torch.testing.assert_close(after_moved[:, 3:], after[:, 3:])


@pytest.mark.parametrize("kind", KINDS)
def test_float32_follows_float64(kind):
    state, action = states_and_actions()
    double = full_model(kind)
    single = full_model(kind, dtype=torch.float32)
    assert double.to(torch.float32).steering_lag.dtype == torch.float32
    with torch.no_grad():
        exact = rollout(full_model(kind), state, action[:, None].expand(-1, 50, -1))
        rounded = rollout(single, state.float(), action.float()[:, None].expand(-1, 50, -1))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, atol=2e-4, rtol=1e-4)


class ThreeSteps(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, parameters, state, actions):
        for action in actions.unbind(-2):
            state = torch.func.functional_call(self.model, parameters, (state, action))
        return state


@pytest.mark.parametrize("kind", KINDS)
def test_exported_rollout_equals_eager_and_takes_parameters_as_inputs(kind):
    model = full_model(kind)
    state, action = states_and_actions()
    actions = action[:, None].expand(-1, 3, -1)
    parameters = {name: value.detach() for name, value in model.parameters_by_name().items()}
    exported = torch.export.export(ThreeSteps(model), (parameters, state, actions)).module()
    torch.testing.assert_close(exported(parameters, state, actions), rollout(model, state, actions)[:, -1])
    longer = {**parameters, "wheelbase": parameters["wheelbase"] * 1.3}
    expected = rollout(model.with_parameters({"wheelbase": longer["wheelbase"].item()}), state, actions)[:, -1]
    torch.testing.assert_close(exported(longer, state, actions), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_step_takes_any_duration(kind):
    model = full_model(kind)
    state, action = states_and_actions()
    torch.testing.assert_close(model.step(state, action, 0.02), model(state, action))
    torch.testing.assert_close(model.with_dt(0.005)(state, action), model.step(state, action, 0.005))
    durations = torch.linspace(0.001, 0.05, len(state), dtype=torch.float64)
    mixed = model.step(state, action, durations)
    torch.testing.assert_close(mixed[3], model.step(state[3], action[3], durations[3].item()))
    assert model.with_dt(0.02, substeps=4).config == Config(dt=0.02, substeps=4)
    for dt in (0.0, -0.01, math.nan):
        with pytest.raises(ModelError, match="positive"):
            model.step(state, action, dt)


def test_delay_is_read_from_the_parameters():
    model = build("single_track", {"steering_delay": 0.12, "drive_delay": 0.04}, dt=0.02)
    torch.testing.assert_close(model.delay, torch.tensor([0.12, 0.04], dtype=torch.float64))


def test_optional_parameters_enter_and_leave():
    model = build("kinematic_bicycle", dt=0.02)
    assert "steering_lag" not in model.parameters_by_name()
    lagging = model.with_parameters({"steering_lag": 0.1})
    assert lagging.values()["steering_lag"] == 0.1
    assert "steering_lag" not in lagging.with_parameters({"steering_lag": 0.0}).values()


@pytest.mark.parametrize(
    ("kind", "parameters", "config", "message"),
    [
        ("bicycle", {}, {}, "no parametric model of kind 'bicycle'; there are kinematic_bicycle, single_track"),
        ("single_track", {"stifness_front": 5.0}, {}, "did you mean 'stiffness_front'"),
        ("kinematic_bicycle", {"speed_gain": 5.0}, {}, "kinematic_bicycle with drive='acceleration' has no parameter"),
        ("kinematic_bicycle", {"wheelbase": 284.3}, {}, "wheelbase = 284.3 m is outside of"),
        ("kinematic_bicycle", {"wheelbase": math.nan}, {}, "outside"),
        ("kinematic_bicycle", {}, {"drive": "torque"}, "drive 'torque' is none of acceleration, speed, duty"),
        ("kinematic_bicycle", {}, {"integrator": "rk45"}, "none of euler, heun, rk4"),
        ("kinematic_bicycle", {}, {"reference_point": "bumper"}, "none of cg, rear_axle, front_axle"),
        ("kinematic_bicycle", {}, {"substeps": 0}, "at least 1"),
        ("kinematic_bicycle", {}, {"dt": 0.0}, "positive"),
    ],
)
def test_refusals_say_what_and_why(kind, parameters, config, message):
    with pytest.raises(ModelError, match=message):
        build(kind, parameters, **{"dt": 0.02, **config})


VEHICLE = {
    "name": "small",
    "length_m": 0.5,
    "width_m": 0.3,
    "limits": {
        "steering_angle_rad": 0.4,
        "steering_rate_radps": 3.2,
        "speed_mps": 8.0,
        "acceleration_mps2": 7.0,
        "braking_mps2": 8.0,
        "jerk_mps3": 100.0,
    },
    "parameters": {"wheelbase": 0.32, "understeer": 0.02, "stiffness_front": 5.0, "speed_gain": 4.0},
    "delays": {"steering_s": 0.1, "drive_s": 0.02},
    "plant": {
        "parameters": "f1tenth",
        "steering_rate_limit_radps": 4.0,
        "drive_rate_limit_mps3": 200.0,
        "acceleration_limit_mps2": 9.0,
        "braking_limit_mps2": 9.0,
    },
}


def test_one_vehicle_file_serves_all_kinds():
    vehicle = parse_settings(VEHICLE, Vehicle, "test")
    kinematic = build_for(vehicle, "kinematic_bicycle", dt=0.02).values()
    assert (kinematic["wheelbase"], kinematic["understeer"]) == (0.32, 0.02)
    assert (kinematic["steering_delay"], kinematic["drive_delay"]) == (0.1, 0.02)
    assert kinematic["steering_rate_limit"] == 3.2
    dynamic = build_for(vehicle, "single_track", dt=0.02, drive="speed").values()
    assert (dynamic["stiffness_front"], dynamic["speed_gain"], dynamic["max_braking"]) == (5.0, 4.0, 8.0)
    assert "understeer" not in dynamic


def test_a_vehicle_parameter_that_no_kind_knows_is_refused():
    vehicle = parse_settings({**VEHICLE, "parameters": {"wheel_base": 0.32}}, Vehicle, "test")
    with pytest.raises(ModelError, match="vehicle 'small' has no parameter 'wheel_base'; did you mean 'wheelbase'"):
        build_for(vehicle, "kinematic_bicycle", dt=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_turned_and_scaled_sensors_see_the_same_drive(kind):
    offset, scale = 0.1, 1.2
    state, action = states_and_actions()
    seen = state.clone()
    seen[:, YAW] += offset
    seen[:, VX] = scale * (math.cos(offset) * state[:, VX] + math.sin(offset) * state[:, VY])
    seen[:, VY] = scale * (math.cos(offset) * state[:, VY] - math.sin(offset) * state[:, VX])
    actions = action[:, None].expand(-1, 25, -1)
    truth = rollout(build(kind, dt=0.02), state, actions)
    mounted = build(kind, {"heading_offset": offset, "velocity_scale": scale}, dt=0.02)
    recorded = rollout(mounted, seen, actions)
    torch.testing.assert_close(recorded[..., [X, Y, YAW_RATE]], truth[..., [X, Y, YAW_RATE]])
    torch.testing.assert_close(recorded[:, -1, YAW], truth[:, -1, YAW] + offset)
    torch.testing.assert_close(recorded[..., [VX, VY]].norm(dim=-1), scale * truth[..., [VX, VY]].norm(dim=-1))
    with pytest.raises(AssertionError):  # a model that does not know of them goes elsewhere
        torch.testing.assert_close(rollout(build(kind, dt=0.02), seen, actions)[..., [X, Y]], truth[..., [X, Y]])
