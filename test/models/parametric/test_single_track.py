import math

import pytest
import torch

from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, VX, VY, YAW, YAW_RATE
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import KinematicBicycle, SingleTrack
from mbrl_ros.models.parametric.single_track import GRAVITY, axle_loads

FULL_SIZE = {
    "wheelbase": 2.8,
    "rear_fraction": 0.55,
    "stiffness_front": 10.0,
    "stiffness_rear": 14.0,
    "yaw_inertia_ratio": 0.9,
}


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def held(steering, acceleration, steps):
    return torch.tensor([[steering, acceleration]], dtype=torch.float64).expand(steps, 2)


def at_speed(vx, **entries):
    state = torch.zeros(*getattr(vx, "shape", ()), 8, dtype=torch.float64)
    state[..., VX] = vx
    for name, value in entries.items():
        state[{"vy": VY, "yaw_rate": YAW_RATE, "steering": STEERING_ANGLE}[name]] = value
    return state


def settled(vx, steering, parameters=FULL_SIZE, **config):
    """State after 6 s of steering at constant speed."""
    model = SingleTrack({**parameters, "cornering_drag": 0.0}, dt=0.02, **config)
    return rollout(model, at_speed(vx), held(steering, 0.0, 300))[..., -1, :]


@pytest.mark.parametrize("stiffness_rear", [9.0, 10.0, 14.0])
def test_yaw_rate_gain_is_that_of_the_linear_single_track(stiffness_rear):
    """``r / delta = v / (L + K v^2)`` with ``K = (1 / c_f - 1 / c_r) / g``, c per axle load."""
    vx, steering = torch.tensor([5.0, 12.0, 25.0], dtype=torch.float64), 1e-4
    state = settled(vx, steering, {**FULL_SIZE, "stiffness_rear": stiffness_rear})
    understeer = (1 / 10.0 - 1 / stiffness_rear) / GRAVITY
    torch.testing.assert_close(state[:, YAW_RATE] / steering, vx / (2.8 + understeer * vx**2), rtol=1e-4, atol=0)


def test_axles_carry_the_lateral_acceleration_in_the_share_of_their_load():
    vx, steering = 15.0, 1e-4
    state = settled(vx, steering)
    lateral = vx * state[YAW_RATE].item()
    l_r, l_f = 2.8 * 0.55, 2.8 * 0.45
    slip_front = steering - (state[VY].item() + l_f * state[YAW_RATE].item()) / vx
    slip_rear = (l_r * state[YAW_RATE].item() - state[VY].item()) / vx
    assert GRAVITY * 0.55 * 10.0 * slip_front == pytest.approx(0.55 * lateral, rel=1e-4)
    assert GRAVITY * 0.45 * 14.0 * slip_rear == pytest.approx(0.45 * lateral, rel=1e-4)


def test_static_and_moved_axle_loads():
    p = {"rear_fraction": torch.tensor(0.6)}
    braking = torch.tensor(-4.0)
    front, rear = axle_loads(p, braking)
    assert (front.item(), rear.item()) == (pytest.approx(0.6 * GRAVITY), pytest.approx(0.4 * GRAVITY))
    front, rear = axle_loads({**p, "cg_height_ratio": torch.tensor(0.3)}, braking)
    assert (front.item(), rear.item()) == (pytest.approx(0.6 * GRAVITY + 1.2), pytest.approx(0.4 * GRAVITY - 1.2))
    assert axle_loads({**p, "cg_height_ratio": torch.tensor(0.5)}, torch.tensor(30.0))[0].item() == 0.0


def test_a_loaded_front_axle_turns_in_harder():
    high = SingleTrack({**FULL_SIZE, "cg_height_ratio": 0.25}, dt=0.02)
    flat = SingleTrack(FULL_SIZE, dt=0.02)
    action = torch.tensor([0.05, -5.0], dtype=torch.float64)
    assert high(at_speed(20.0), action)[YAW_RATE] > flat(at_speed(20.0), action)[YAW_RATE]


def test_grip_limits_the_lateral_acceleration():
    state = settled(20.0, 0.3, {**FULL_SIZE, "friction_front": 0.7, "friction_rear": 0.8})
    assert 20.0 * state[YAW_RATE].item() <= 0.8 * GRAVITY


@pytest.mark.parametrize("vx", [0.2, 1.0, 4.0, -1.0])
def test_left_and_right_are_mirror_images(vx):
    mirror = torch.tensor([1, -1, -1, 1, -1, -1, -1, 1], dtype=torch.float64)
    model = SingleTrack({"steering_lag": 0.05, "steering_rate_limit": 3.0, "drag": 0.01}, dt=0.02)
    state = at_speed(vx, vy=0.1, yaw_rate=0.4, steering=0.05)
    actions = held(0.3, 1.0, 50)
    there = rollout(model, state, actions)
    mirrored = rollout(model, state * mirror, actions * torch.tensor([-1.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(mirrored, there * mirror)


@pytest.mark.parametrize("reference_point", ["rear_axle", "front_axle"])
def test_reference_points_describe_the_same_motion(reference_point):
    """The pose and lateral velocity at another point follow from those at the CG, through the blend too."""
    lever = (0.0 if reference_point == "rear_axle" else 0.33) - 0.165
    config = {"dt": 0.01}
    state = at_speed(0.4, vy=0.02, yaw_rate=0.2)
    moved = state.clone()
    moved[0] += lever
    moved[VY] += lever * state[YAW_RATE]
    actions = held(0.15, 1.5, 200)
    at_cg = rollout(SingleTrack(**config), state, actions)[-1]
    at_point = rollout(SingleTrack(reference_point=reference_point, **config), moved, actions)[-1]
    torch.testing.assert_close(at_point[VX:], at_cg[VX:] + torch.eye(8).double()[VY, VX:] * lever * at_cg[YAW_RATE])
    heading = torch.stack([torch.cos(at_cg[YAW]), torch.sin(at_cg[YAW])])
    torch.testing.assert_close(at_point[:2], at_cg[:2] + lever * heading, atol=1e-6, rtol=0)


def test_slow_car_is_the_kinematic_bicycle():
    parameters = {"wheelbase": 0.33, "rear_fraction": 0.45, "steering_lag": 0.1, "steering_rate_limit": 3.0}
    config = {"dt": 0.02, "reference_point": "rear_axle"}
    actions = torch.cat([held(0.3, 0.2, 50), held(-0.4, 0.0, 50), held(0.1, -0.3, 30)])
    dynamic = rollout(SingleTrack(parameters, **config), at_speed(0.1), actions)
    parameters.pop("rear_fraction")
    kinematic = rollout(KinematicBicycle(parameters, **config), at_speed(0.1), actions)
    torch.testing.assert_close(dynamic, kinematic, atol=2e-3, rtol=0)


def test_slow_reverse_drives_the_same_circle_backwards():
    forward = rollout(SingleTrack(dt=0.02), at_speed(0.4), held(0.2, 0.0, 100))[-1]
    reverse = rollout(SingleTrack(dt=0.02), at_speed(-0.4), held(0.2, 0.0, 100))[-1]
    torch.testing.assert_close(reverse[YAW_RATE], -forward[YAW_RATE])


def test_reversing_at_speed_feels_no_slip_on_the_kinematic_path():
    """Driving backwards along the circle of the wheels' directions, tyres push only what the turn needs."""
    model = SingleTrack({**FULL_SIZE, "stiffness_front": 80.0, "stiffness_rear": 80.0}, dt=0.001)
    steering, vx = 0.05, -3.0
    yaw_rate = vx * math.tan(steering) / 2.8
    state = at_speed(vx, vy=2.8 * 0.55 * yaw_rate, yaw_rate=yaw_rate, steering=steering)
    after = model(state, torch.tensor([steering, 0.0], dtype=torch.float64))
    assert after[YAW_RATE].item() == pytest.approx(yaw_rate, rel=0.01)


@pytest.mark.parametrize("parameters", [{}, {"steering_lag": 0.1}, {"rolling_resistance": 0.5}])
def test_standing_car_does_not_drift(parameters):
    states = rollout(SingleTrack(parameters, dt=0.05), at_speed(0.0), held(0.4, 0.0, 200))
    assert (states[:, :6] == 0).all()


def test_disturbed_standing_car_comes_to_rest():
    path = rollout(SingleTrack(dt=0.02), at_speed(0.0, vy=0.2, yaw_rate=1.0), held(0.3, 0.0, 150))
    assert path[-1, VX:STEERING_ANGLE].abs().max() < 1e-9
    assert path[-1, :2].abs().max() < 0.05


def test_recorded_acceleration_is_not_slowed_twice():
    """``cornering_drag`` 0 takes the acceleration for d vx / dt; 1 takes it for a drive force."""
    state, actions = at_speed(10.0), held(0.1, 0.5, 100)
    recorded = rollout(SingleTrack({**FULL_SIZE, "cornering_drag": 0.0}, dt=0.02), state, actions)[-1]
    driven = rollout(SingleTrack(FULL_SIZE, dt=0.02), state, actions)[-1]
    assert recorded[VX].item() == pytest.approx(11.0)
    assert driven[VX].item() < 10.8


def test_coasting_in_a_turn_never_gains_energy():
    model = SingleTrack(FULL_SIZE, dt=0.005)
    path = rollout(model, at_speed(15.0), held(0.15, 0.0, 400))
    inertia = 0.9 * (2.8 * 0.55) * (2.8 * 0.45)
    energy = path[:, VX] ** 2 + path[:, VY] ** 2 + inertia * path[:, YAW_RATE] ** 2
    assert (energy.diff() <= 1e-9).all()


@pytest.mark.parametrize(("dt", "substeps"), [(0.02, 1), (0.05, 2)])
def test_bounded_through_every_speed_under_hard_steering(dt, substeps):
    model = SingleTrack({"stiffness_front": 12.0, "stiffness_rear": 12.0}, dt=dt, substeps=substeps)
    generator = torch.Generator().manual_seed(5)
    state = torch.zeros(64, 8, dtype=torch.float64)
    state[:, VX] = torch.linspace(-2, 8, 64)
    steps = int(4 / dt)
    actions = torch.rand(64, steps, 2, generator=generator, dtype=torch.float64) * 2 - 1
    path = rollout(model, state, actions * torch.tensor([0.45, 6.0], dtype=torch.float64))
    assert torch.isfinite(path).all()
    slip_limit = 1.5 * GRAVITY  # friction 1 with a margin for the transient
    fast = path[..., VX].abs() > 2.0
    assert (path[..., YAW_RATE].abs() * path[..., VX].abs())[fast].max() < 3 * slip_limit
    assert path[..., VY].abs().max() < 8.0


def test_acceleration_entry_reports_the_drive_train():
    after = SingleTrack({"drive_lag": 0.2}, dt=0.02)(at_speed(3.0), held(0.0, 2.0, 1)[0])
    assert after[ACCELERATION].item() == pytest.approx(2.0 * (1 - math.exp(-0.1)))
