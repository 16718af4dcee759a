import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import ACCELERATION, ACTIONS, STEERING_ANGLE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.speed_profile import speed_profile
from mbrl_ros.core.tasks.goal import GoalSettings, GoalTask
from mbrl_ros.core.tasks.path import PathSettings, PathTask
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import generate_track
from mbrl_ros.core.vehicle import Vehicle

VEHICLE = read_settings(Path(__file__).resolve().parents[2] / "config" / "vehicles" / "f1tenth.yaml", Vehicle)
RACING = RacingSettings(acceleration_limit_mps2=6.0)
PATH = PathSettings(speed_mps=3.0, lateral_acceleration_mps2=3.0)
DT = 0.05


@pytest.fixture(scope="module")
def track():
    return generate_track(7)


def straight(length=20.0, half_width=1.0):
    x = np.linspace(0, length, 81)
    widths = np.full(81, half_width)
    return Track(np.stack([x, 0 * x], axis=1), widths, widths, closed=False)


def make(kind, track, dtype=torch.float64, **options):
    options = {"dt": DT, "dtype": dtype} | options
    if kind == "racing":
        return RacingTask(track, VEHICLE, RACING, **options)
    if kind == "path":
        return PathTask(track, VEHICLE, PATH, **options)
    return GoalTask((1.0, 2.0, 0.5), VEHICLE, GoalSettings(), **options)


KINDS = pytest.mark.parametrize("kind", ["racing", "path", "goal"])


def states(track, count, seed=0, spread=1.0):
    """[count, 8] plausible states along the track."""
    generator = np.random.default_rng(seed)
    s = generator.uniform(0, track.length_m, count)
    state = np.zeros((count, 8))
    state[:, :2] = track.to_xy(s, spread * generator.uniform(-0.5, 0.5, count))
    state[:, YAW] = track.at(s).heading + generator.normal(0, 0.2, count)
    state[:, VX] = generator.uniform(0.5, 6, count)
    state[:, VY:] = generator.normal(0, [0.2, 1.0, 0.15, 2.0], (count, 4))
    return torch.tensor(state)


def at(x=5.0, y=0.0, **values):
    state = torch.zeros(8, dtype=torch.float64)
    state[X], state[Y] = x, y
    names = {"yaw": YAW, "vx": VX, "vy": VY, "yaw_rate": YAW_RATE, "steering": STEERING_ANGLE, "ax": ACCELERATION}
    for name, value in values.items():
        state[names[name]] = value
    return state


IDLE = torch.zeros(2, dtype=torch.float64)


def rates(task, state, action=IDLE):
    """Terms per second of staying in ``state``."""
    return {name: float(value) / task.dt for name, value in task.terms(state, action, state).items()}


@KINDS
def test_every_task_has_the_same_face(kind, track):
    task = make(kind, track)
    assert isinstance(task, Task)
    state, action = states(track, 6).reshape(2, 3, 8), torch.zeros(2, 3, 2, dtype=torch.float64)
    terms = task.terms(state, action, state)
    assert tuple(terms) == task.term_names
    assert {value.shape for value in terms.values()} == {(2, 3)}
    torch.testing.assert_close(task.reward(state, action, state), sum(terms.values()))
    assert task.terminal(state).shape == (2, 3)
    assert task.terminal(state).dtype == torch.bool


@pytest.mark.parametrize(
    ("drive", "low", "high"), [("acceleration", -7.0, 6.0), ("speed", 0.0, 8.0), ("duty", -1.0, 1.0)]
)
@KINDS
def test_bounds_are_the_cars_limits(kind, track, drive, low, high):
    task = make(kind, track, drive=drive)
    assert task.action_layout == ACTIONS[drive]
    expected = [[-0.4189, low], [0.4189, high]]
    torch.testing.assert_close(torch.stack(task.bounds()), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@KINDS
def test_terms_of_every_finite_state_are_finite(kind, track, dtype):
    task = make(kind, track, dtype)
    generator = torch.Generator().manual_seed(0)
    size = 10.0 ** torch.empty(4000, 1).uniform_(-3, 37, generator=generator)
    wild = (torch.randn(4000, 18, generator=generator) * size).to(dtype)
    terms = task.terms(wild[:, :8], wild[:, 8:10], wild[:, 10:])
    for name, values in terms.items():
        assert values.isfinite().all(), name
    assert task.reward(wild[:, :8], wild[:, 8:10], wild[:, 10:]).isfinite().all()


@KINDS
def test_a_state_that_is_not_a_number_has_no_reward(kind, track):
    task, state = make(kind, track), states(track, 8)
    broken = state.clone()
    broken[range(8), range(8)] = math.nan
    used = [X, Y, YAW, VX, STEERING_ANGLE, ACCELERATION]
    assert task.reward(state, IDLE.expand(8, 2), broken)[used].isnan().all()
    assert task.reward(state, IDLE.expand(8, 2), state).isfinite().all()


@KINDS
def test_rewards_are_smooth_and_autograd_knows_their_slope(kind, track):
    task, state, following = make(kind, track), states(track, 20), states(track, 20)
    action = torch.full((20, 2), 0.1, dtype=torch.float64)
    inputs = torch.cat([state, action, following], dim=1)

    def reward(row):
        return task.reward(row[:8], row[8:10], row[10:])

    gradient = torch.func.vmap(torch.func.grad(reward))(inputs)
    hessian = torch.func.vmap(torch.func.hessian(reward))(inputs)
    assert gradient.isfinite().all()
    assert hessian.isfinite().all()
    step = 1e-6
    for column in range(18):
        shift = torch.zeros(18, dtype=torch.float64)
        shift[column] = step
        slope = torch.func.vmap(reward)(inputs + shift) - torch.func.vmap(reward)(inputs - shift)
        # The lookup's own error, divided by a cell, is the only other slope there is.
        torch.testing.assert_close(slope / (2 * step), gradient[:, column], rtol=1e-5, atol=1e-5)


@KINDS
def test_single_precision_agrees(kind, track):
    state = states(track, 500)
    action = torch.zeros(500, 2, dtype=torch.float64)
    exact = make(kind, track).reward(state, action, state)
    single = make(kind, track, torch.float32).reward(state.float(), action.float(), state.float())
    torch.testing.assert_close(single.double(), exact, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["racing", "path"])
def test_left_and_right_are_worth_the_same(kind, track):
    """The mirrored car on the mirrored track earns the same: a wrong sign anywhere shows here."""
    mirrored = Track(track.points * [1, -1], track.widths_right, track.widths_left)
    sign = torch.tensor([1, -1, -1, 1, -1, -1, -1, 1], dtype=torch.float64)
    state, following = states(track, 200, 1), states(track, 200, 2)
    action = torch.tensor([[0.2, 1.0]], dtype=torch.float64).expand(200, 2)
    terms = make(kind, track).terms(state, action, following)
    others = make(kind, mirrored).terms(state * sign, action * torch.tensor([-1.0, 1.0]), following * sign)
    for name in terms:
        # The mirrored grid's cells lie elsewhere: a difference of the size of the lookup's error remains.
        assert (terms[name] - others[name]).abs().max() <= 0.02 * terms[name].abs().max(), name


@KINDS
def test_settings_change_in_place(kind, track):
    task, state = make(kind, track), states(track, 20)
    action = torch.ones(20, 2, dtype=torch.float64)
    places = {name: buffer.data_ptr() for name, buffer in task.named_buffers()}
    settings = {"racing": RACING, "path": PATH, "goal": GoalSettings()}[kind]
    task.configure(settings.model_copy(update={"rate_weight": 2 * settings.rate_weight}))
    doubled, before = task.terms(state, action, state), make(kind, track).terms(state, action, state)
    assert {name: buffer.data_ptr() for name, buffer in task.named_buffers()} == places
    torch.testing.assert_close(doubled.pop("rate"), 2 * before.pop("rate"))
    torch.testing.assert_close(doubled, before)


@KINDS
def test_a_task_can_be_exported(kind, track):
    """No control flow depends on data, and weights stay inputs."""
    task, state = make(kind, track, torch.float32), states(track, 16).float()
    action = torch.zeros(16, 2)

    class Reward(torch.nn.Module):
        def forward(self, buffers, state, action, following):
            return torch.func.functional_call(task, buffers, (state, action, following))

    task.forward = task.reward
    buffers = dict(task.named_buffers())
    program = torch.export.export(Reward(), (buffers, state, action, state)).module()
    torch.testing.assert_close(program(buffers, state, action, state), task.reward(state, action, state))
    changed = buffers | {"rate_weight": torch.tensor(50.0), "effort_weight": torch.tensor(9.0)}
    assert not torch.allclose(program(changed, state, action, state), program(buffers, state, action, state))


def driven(track, lateral, speed, dt, seconds):
    """[N, 8] states along the track at a constant lateral offset, the offset line driven at ``speed``."""
    stations = np.linspace(0, track.length_m, 20_000)
    line = track.to_xy(stations, np.full(20_000, lateral))
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    s = np.interp(speed * dt * np.arange(round(seconds / dt) + 1), walked, stations)
    state = np.zeros((len(s), 8))
    state[:, :2] = track.to_xy(s, np.full(len(s), lateral))
    state[:, YAW], state[:, VX] = track.at(s).heading, speed
    return torch.tensor(state), s


@pytest.mark.parametrize("lateral", [-0.5, 0.0, 0.5])
def test_progress_adds_up_to_the_arc_length_driven(track, lateral):
    task = make("racing", track, dt=0.02)
    state, s = driven(track, lateral, speed=3.0, dt=0.02, seconds=10.0)
    progress = task.terms(state[:-1], IDLE.expand(len(s) - 1, 2), state[1:])["progress"]
    metres = float(progress.sum()) * VEHICLE.limits.speed_mps / RACING.progress_weight
    assert metres == pytest.approx(s[-1] - s[0], rel=2e-3)


def test_progress_counts_the_velocity_not_the_nose():
    task = make("racing", straight())
    sliding = at(vx=3.0 * math.cos(0.4), vy=3.0 * math.sin(0.4), yaw=-0.4)
    expected = RACING.progress_weight * 3.0 / VEHICLE.limits.speed_mps
    assert rates(task, sliding)["progress"] == pytest.approx(expected)
    assert rates(task, at(vx=3.0, yaw=math.pi))["progress"] == pytest.approx(-expected)


def test_cutting_across_the_infield_is_not_paid(track):
    """Negative control: the difference of projections pays a jump between two parts of the track."""
    task = make("racing", track)
    a, b = track.to_xy(0.0, 0.0), track.to_xy(track.length_m / 2, 0.0)
    share = np.linspace(0, 1, 400)[:, None]
    state = np.zeros((400, 8))
    state[:, :2], state[:, VX] = a + share * (b - a), 4.0
    state[:, YAW] = np.arctan2(*(b - a)[::-1])
    state = torch.tensor(state)
    progress = task.terms(state[:-1], IDLE.expand(399, 2), state[1:])["progress"]
    metres = progress * VEHICLE.limits.speed_mps / RACING.progress_weight
    s = track.project(state[:, :2].numpy()).s
    assert np.abs(track.difference(s[1:], s[:-1])).max() > 3.0
    assert metres.abs().max() < 5 * 4.0 * DT  # five: how far the stretch is let grow


def test_the_wall_begins_at_the_margin_and_takes_the_cars_width_into_account():
    task = make("racing", straight(half_width=1.0))
    half, margin = VEHICLE.width_m / 2, RACING.boundary_margin * VEHICLE.width_m

    def penalty(clearance, side=1):
        return -rates(task, at(y=side * (1.0 - half - clearance)))["boundary"]

    assert penalty(2 * margin) < 0.05
    assert penalty(0.0) == pytest.approx(RACING.boundary_weight + RACING.crossing_weight / 2, rel=0.02)
    assert penalty(-margin) == pytest.approx(4 * RACING.boundary_weight + RACING.crossing_weight, rel=0.02)
    assert penalty(0.05, side=-1) == pytest.approx(penalty(0.05))
    growing = [penalty(clearance) for clearance in np.linspace(0.5, -5, 100)]
    assert (np.diff(growing) > 0).all()


def test_the_episode_ends_where_a_lap_timer_counts_an_exit():
    task = make("racing", straight(half_width=1.0))
    edge = 1.0 - VEHICLE.width_m / 2
    places = torch.stack([at(y=y) for y in (edge - 0.01, edge + 0.01, -edge + 0.01, -edge - 0.01)])
    assert task.terminal(places).tolist() == [False, True, False, True]


def test_heading_and_lateral_errors_cost_by_their_squares():
    task = make("racing", straight())
    assert rates(task, at(yaw=0.1))["heading"] == pytest.approx(-RACING.heading_weight * 0.01, rel=1e-2)
    assert rates(task, at(yaw=2 * math.pi))["heading"] == pytest.approx(0, abs=1e-12)
    assert rates(task, at(y=0.5))["lateral"] == pytest.approx(-RACING.lateral_weight * 0.25)


def test_speed_is_limited_softly():
    task = RacingTask(straight(), VEHICLE, RACING.model_copy(update={"speed_limit_mps": 4.0}), dt=DT)
    assert rates(task, at(vx=2.0))["speed"] > -0.01
    assert rates(task, at(vx=8.0))["speed"] == pytest.approx(-RACING.speed_weight, rel=0.02)


def test_a_speed_cap_is_one_more_limit_until_it_is_lifted():
    task = make("racing", straight())
    before = rates(task, at(vx=3.0))["speed"]
    task.cap_speed(1.5)
    assert rates(task, at(vx=3.0))["speed"] == pytest.approx(-RACING.speed_weight, rel=0.02)
    task.cap_speed(0.0)
    assert math.isfinite(rates(task, at(vx=3.0))["speed"])
    task.cap_speed(math.inf)
    assert rates(task, at(vx=3.0))["speed"] == before


def test_tyres_are_asked_for_less_while_the_speed_is_capped():
    settings = RACING.model_copy(update={"capped_share": 0.5})
    task = RacingTask(straight(), VEHICLE, settings, dt=DT)
    hard = at(vx=3.0, yaw_rate=0.75 * settings.acceleration_limit_mps2 / 3.0)
    assert rates(task, hard)["slip"] > -0.1
    task.cap_speed(4.0)
    assert rates(task, hard)["slip"] == pytest.approx(-settings.slip_weight * 0.25, rel=0.1)
    task.configure(settings.model_copy(update={"slip_weight": 2 * settings.slip_weight}))  # the cap stays
    assert rates(task, hard)["slip"] == pytest.approx(-settings.slip_weight * 0.5, rel=0.1)
    task.cap_speed(math.inf)
    assert rates(task, hard)["slip"] > -0.1


def test_an_approach_profile_slows_the_car_before_a_corner(track):
    settings = RACING.model_copy(update={"approach_acceleration_mps2": 4.0})
    task = RacingTask(track, VEHICLE, settings, dt=DT)
    allowed = speed_profile(
        track, lateral_limit=4.0, acceleration_limit=6.0, braking_limit=7.0, top_speed=VEHICLE.limits.speed_mps
    )
    s = np.linspace(0, track.length_m, 200, endpoint=False)
    state = np.zeros((200, 8))
    state[:, :2], state[:, VX] = track.at(s).position, 2 * allowed.at(s)
    task_rate = task.terms(torch.tensor(state), IDLE.expand(200, 2), torch.tensor(state))["speed"] / DT
    torch.testing.assert_close(task_rate, torch.full_like(task_rate, -RACING.speed_weight), rtol=0.1, atol=0)
    task.configure(RACING)  # without the approach profile only the top speed counts
    assert float(task.terms(torch.tensor(state), IDLE.expand(200, 2), torch.tensor(state))["speed"].max()) > -0.01


def test_slip_limits_acceleration_in_every_direction_and_the_bodys_angle():
    task = make("racing", straight())
    limit, weight = RACING.acceleration_limit_mps2, RACING.slip_weight
    assert rates(task, at(vx=3.0, yaw_rate=0.5 * limit / 3))["slip"] > -0.01
    for state in (at(vx=3.0, yaw_rate=2 * limit / 3), at(vx=3.0, yaw_rate=-2 * limit / 3), at(vx=3.0, ax=-2 * limit)):
        assert rates(task, state)["slip"] == pytest.approx(-weight, rel=0.02)
    combined = at(vx=3.0, yaw_rate=math.sqrt(2) * limit / 3, ax=math.sqrt(2) * limit)
    assert rates(task, combined)["slip"] == pytest.approx(-weight, rel=0.02)
    angle = 2 * RACING.slip_angle_limit_rad
    sliding = at(vx=3.0, vy=math.sqrt(10.0) * math.tan(angle))
    assert rates(task, sliding)["slip"] == pytest.approx(-weight, rel=0.02)


def test_forward_acceleration_and_braking_may_count_more_than_turning():
    settings = RACING.model_copy(update={"forward_demand": 2.5, "braking_demand": 1.5})
    task = RacingTask(straight(), VEHICLE, settings, dt=DT)
    limit, weight = settings.acceleration_limit_mps2, settings.slip_weight
    for longitudinal in (2 * limit / 2.5, -2 * limit / 1.5):
        assert rates(task, at(vx=3.0, ax=longitudinal))["slip"] == pytest.approx(-weight, rel=0.02)
    for factor in (2.5, -1.5):
        combined = at(vx=3.0, yaw_rate=math.sqrt(2) * limit / 3, ax=math.sqrt(2) * limit / factor)
        assert rates(task, combined)["slip"] == pytest.approx(-weight, rel=0.02)


def test_effort_and_rate_are_shares_of_the_cars_limits():
    task = make("racing", straight())
    limits = VEHICLE.limits
    full = at(steering=limits.steering_angle_rad, ax=limits.braking_mps2)
    assert rates(task, full, torch.tensor([limits.steering_angle_rad, 0.0]))["effort"] == pytest.approx(
        -2 * RACING.effort_weight
    )
    asked = torch.tensor([limits.steering_angle_rad, 0.0], dtype=torch.float64)
    assert rates(task, at(), asked)["rate"] == pytest.approx(-RACING.rate_weight)
    jerk = task.terms(at(), IDLE, at(ax=limits.jerk_mps3 * DT))["rate"] / DT
    assert float(jerk) == pytest.approx(-RACING.rate_weight)


def test_weights_do_not_depend_on_the_step(track):
    """One second of the same driving earns the same at any step."""
    sums = []
    for dt in (0.05, 0.025, 0.0125):
        state, _ = driven(track, 0.3, speed=3.0, dt=dt, seconds=5.0)
        task = make("racing", track, dt=dt)
        sums.append(float(task.reward(state[:-1], IDLE.expand(len(state) - 1, 2), state[1:]).sum()))
    assert max(sums) - min(sums) < 0.01 * abs(sums[0])


def test_a_path_is_followed_at_its_profile_and_ends():
    path = straight()
    task = make("path", path)
    speeds = torch.linspace(0, 6, 301, dtype=torch.float64)
    for x, expected in ((10.0, 3.0), (19.0, math.sqrt(2 * 1.0 * 0.5 * VEHICLE.limits.braking_mps2)), (20.0, 0.0)):
        state = at(x=x).repeat(301, 1)
        state[:, VX] = speeds
        best = speeds[task.reward(state, IDLE.expand(301, 2), state).argmax()]
        assert float(best) == pytest.approx(expected, abs=0.05)
    assert not task.terminal(at(x=19.0))
    assert task.terminal(at(x=19.9))


def test_a_closed_path_never_ends(track):
    assert not make("path", track).terminal(states(track, 100)).any()


def test_the_goal_is_the_best_place_and_standing_there_in_its_direction_ends_it():
    task = make("goal", None)
    goal = at(1.0, 2.0, yaw=0.5 + 2 * math.pi)
    assert float(task.reward(goal, IDLE, goal)) == pytest.approx(0.0, abs=1e-12)
    assert task.terminal(goal)
    for worse in (at(1.5, 2.0, yaw=0.5), at(1.0, 2.0, yaw=1.5), at(1.0, 2.0, yaw=0.5, vx=1.0)):
        assert float(task.reward(worse, IDLE, worse)) < -0.003
        assert not task.terminal(worse)


def test_far_from_the_goal_the_pull_is_constant_and_neither_heading_nor_speed_counts():
    task = make("goal", None)
    distance = [rates(task, at(1.0 + d, 2.0))["distance"] for d in (100.0, 101.0, 200.0, 201.0)]
    assert distance[0] - distance[1] == pytest.approx(distance[2] - distance[3], rel=1e-3)
    far = rates(task, at(101.0, 2.0, yaw=3.0, vx=8.0))
    assert far["heading"] > -2e-3
    assert far["speed"] > -2e-3


def test_a_goal_can_be_moved_and_must_be_finite():
    task = make("goal", None)
    task.set_goal((5.0, -1.0, 0.0))
    assert task.terminal(at(5.0, -1.0))
    with pytest.raises(ConfigError, match="three finite numbers"):
        task.set_goal((1.0, math.nan, 0.0))
    with pytest.raises(ConfigError, match="three finite numbers"):
        task.set_goal((1.0, 2.0))
