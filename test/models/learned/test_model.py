"""What holds of every learned model, whatever its weights: it is its base until trained, and a car ever after."""

import math

import pytest
import torch

from mbrl_ros.core.layout import STATE, VX, VY, YAW, YAW_RATE, Layout, X, Y
from mbrl_ros.models.learned import Guard
from mbrl_ros.models.learned.inertia import Inertia
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.starting import history_s, settled, start

BASES = ("single_track", "kinematic_bicycle", "inertia")
NETWORKS = ("mlp", "gru", "lstm")


def begun(model, cars, steps=10, count=50):
    """States [N, S] after a little made-up history."""
    state, action = cars(count)
    states, applied = state[:, None].expand(-1, steps + 1, -1), action[:, None].expand(-1, steps, -1)
    return start(model, states, torch.ones(count, 8, dtype=torch.bool), applied), action


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("network", NETWORKS)
def test_untrained_it_is_its_base(make, cars, base, network):
    model = make(base, network, trained=False, guard=Guard((1.0, 1.0, 1.0), 1e3, 1e3, 1e3))
    state, action = begun(model, cars)
    expected = model.base(state[:, :8], action)
    torch.testing.assert_close(model(state, action)[:, :8], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("network", NETWORKS)
def test_where_the_car_is_does_not_matter(make, cars, base, network):
    model = make(base, network)
    state, action = begun(model, cars)
    angle, shift = 0.7, torch.tensor([1e4, -2e4], dtype=torch.float64)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)

    def moved(states):
        columns = torch.cat([states[:, :2] @ turn.T + shift, states[:, YAW : YAW + 1] + angle], dim=1)
        return torch.cat([columns, states[:, 3:]], dim=1)

    torch.testing.assert_close(model(moved(state), action), moved(model(state, action)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("network", NETWORKS)
def test_it_is_a_dynamics_model_with_its_memory_behind_the_state(make, cars, network):
    model = make(network=network)
    assert isinstance(model, DynamicsModel)
    assert model.state_layout.names[:8] == STATE.names
    assert len(model.state_layout) == 8 + {"mlp": 0, "gru": 2 * 8, "lstm": 2 * 16}[network]
    assert history_s(model) == 0.2
    state, action = begun(model, cars)
    assert state.shape == (50, len(model.state_layout))
    states = rollout(model, state, action[:, None].expand(-1, 7, -1))
    assert states.shape == (50, 8, len(model.state_layout))
    assert torch.isfinite(states).all()
    one = rollout(model, state[3], action[3].expand(7, -1))
    torch.testing.assert_close(states[3], one, rtol=0, atol=1e-12)


def test_memory_is_of_the_driving_before(make, cars):
    model = make()
    state, action = cars(2)
    states, applied = state[:, None].repeat(1, 11, 1), action[:, None].repeat(1, 10, 1)
    seen = torch.ones(2, 8, dtype=torch.bool)
    before = start(model, states, seen, applied)
    states[0, 4, VX] += 1.0
    after = start(model, states, seen, applied)
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])


def test_what_is_not_recorded_settles(make, cars):
    model = make("kinematic_bicycle")
    state, action = cars(4)
    states, applied = state[:, None].repeat(1, 11, 1), action[:, None].expand(-1, 10, -1)
    seen = torch.ones(4, 8, dtype=torch.bool)
    seen[:, [VY, YAW_RATE]] = False
    states[..., [VY, YAW_RATE]] = 77.0
    found = start(model, states, seen, applied)
    assert torch.equal(found[:, :8], settled(model.base, states, seen, applied))
    assert (found[:, [VY, YAW_RATE]].abs() < 10.0).all()


@pytest.mark.parametrize("base", BASES)
def test_the_guard_bounds_whatever_the_network_says(make, cars, base):
    guard = Guard((1e3, 1e3, 1e3), longitudinal=4.0, lateral=6.0, sideslip=0.5)
    model = make(base, guard=guard)
    with torch.no_grad():
        model.head.layers[-1].weight.mul_(1e3)
    state, action = begun(model, cars)
    action = torch.stack([(5 * action[:, 0]).clamp(-1.0, 1.0), 20 * action[:, 1]], dim=1)
    for _ in range(30):
        following = model(state, action)
        vx, vy, yaw_rate = following[:, [VX, VY, YAW_RATE]].unbind(-1)
        assert ((vx - state[:, VX]).abs() <= 4.0 * model.dt + 1e-9).all()
        assert ((vx * yaw_rate).abs() <= 6.0 + 1e-9).all()
        assert (vy.abs() <= 0.5 * vx.abs().clamp_min(0.3) + 1e-9).all()
        distance = torch.linalg.vector_norm(following[:, [X, Y]] - state[:, [X, Y]], dim=-1)
        assert (distance <= 2 * model.dt * (vx.abs() + 4.0)).all()
        state = following


@pytest.mark.parametrize("base", BASES)
def test_a_standing_car_stands(make, cars, base):
    model = make(base)
    state, _ = begun(model, cars)
    state[:, 3:8] = 0.0
    following = model(state, torch.zeros(len(state), 2, dtype=torch.float64))
    torch.testing.assert_close(following[:, :6], state[:, :6], rtol=0, atol=1e-12)


def test_the_pose_follows_the_corrected_velocities(make, cars):
    """A constant correction of vx and yaw rate drives the path of a car with that acceleration, to second order."""
    errors = []
    for dt in (0.02, 0.01):
        model = make("inertia", "mlp", trained=False, dt=dt, guard=Guard((3.0, 3.0, 5.0), 1e3, 1e3, 1e3))
        with torch.no_grad():
            model.head.layers[-1].bias[:] = torch.tensor([0.3, 0.0, 0.1], dtype=torch.float64)
        rate, turning = 3.0 * math.tanh(0.3), 5.0 * math.tanh(0.1)
        state = torch.tensor([0.0, 0.0, 0.0, 4.0, 0.0, 0.3, 0.0, 0.0], dtype=torch.float64)
        end = rollout(model, state, torch.zeros(round(1 / dt), 2, dtype=torch.float64))[-1]
        t = torch.linspace(0, 1, 20001, dtype=torch.float64)
        yaw, speed = 0.3 * t + turning * t**2 / 2, 4.0 + rate * t
        expected = torch.stack([torch.trapezoid(speed * f(yaw), t) for f in (torch.cos, torch.sin)])
        assert float(end[YAW].detach()) == pytest.approx(float(yaw[-1]), abs=1e-9)
        errors.append(float(torch.linalg.vector_norm(end[:2] - expected).detach()))
    assert errors[0] < 1e-4
    assert errors[1] < errors[0] / 3


def test_inertia_drives_arcs(cars):
    model = Inertia("acceleration", (0.0, 0.0), 0.1, "cg")
    state = torch.tensor([0.0, 0.0, 0.0, 2.0, 0.0, 0.5, 0.0, 0.0], dtype=torch.float64)
    end = rollout(model, state, torch.zeros(20, 2, dtype=torch.float64))[-1]
    angle, radius = 1.0, 4.0
    assert end[:3].tolist() == pytest.approx([radius * math.sin(angle), radius * (1 - math.cos(angle)), angle])


@pytest.mark.parametrize("network", NETWORKS)
def test_single_precision_predicts_the_same(make, cars, network):
    """Two seconds from near the origin: within 1 mm and 1 mm/s."""
    exact, single = make(network=network), make(network=network).float()
    state, action = begun(exact, cars)
    state[:, :2] = 0.0
    actions = action[:, None].expand(-1, 100, -1)
    found = rollout(single, state.float(), actions.float())[..., :6].double()
    torch.testing.assert_close(found, rollout(exact, state, actions)[..., :6], rtol=0, atol=1e-3)


def test_names_of_memory_are_in_the_layout(make):
    layout = make(members=1, hidden=2).state_layout
    assert layout == Layout((*STATE.names, "memory_0", "memory_1"), (*STATE.units, "1", "1"))
