"""Tree search on the car: the law that it begins with, the delay inside of rollouts, and what search adds."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.state_history import StateHistory
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track import Track
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.starting import start_now
from mbrl_ros.models.stepping import Held
from mbrl_ros.planning.mcts.guide import Guide
from mbrl_ros.planning.mcts.planner import MCTSPlanner
from mbrl_ros.planning.mcts.planner_settings import GuideSettings, MCTSSettings
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.racing import racing_mcts

DT = 0.05
SETTINGS = MCTSSettings(knots=5, knot_steps=4, rounds=3, leaves=6, dt_s=DT, backend="eager")
KEEPING = SETTINGS.model_copy(update={"reuse": True})
GUIDE = GuideSettings(preview_s=0.2, shortest_preview_m=0.5)


@pytest.fixture
def task(track, vehicle):
    return RacingTask(track, vehicle, RacingSettings(acceleration_limit_mps2=5.5), dt=DT)


@pytest.fixture
def planner(track, vehicle, task):
    def build(settings=SETTINGS, delay=None):
        model = build_for(vehicle, "single_track", dt=DT)
        if delay is not None:
            model = model.with_parameters(dict(zip(("steering_delay", "drive_delay"), delay, strict=True)))
        return MCTSPlanner(model, task, Guide(track, vehicle, task, settings.guide), settings)

    return build


@pytest.fixture
def problem(track):
    def pose(speed=3.0, cap=np.inf, stamp_s=1.0):
        section, history = track.at(2.0), CommandHistory(np.zeros(2))
        for k in range(20):
            history.append(stamp_s - 0.4 + 0.02 * k, np.array([0.02 * np.sin(k), 0.5 * np.cos(k)]))
        state = np.array([*section.position, float(section.heading), speed, 0.0, 0.0, 0.0, 0.0])
        return Problem(state, stamp_s, history, speed_cap_mps=cap)

    return pose


@pytest.fixture(scope="module")
def circle():
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    points = 10.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Track(points, np.full(60, 1.5), np.full(60, 1.5), closed=True)


def test_the_law_holds_a_circle_at_the_profiles_speed_and_steers_back_to_it(circle, vehicle):
    task = RacingTask(circle, vehicle, RacingSettings(acceleration_limit_mps2=5.5), dt=DT)
    law = Guide(circle, vehicle, task, GUIDE)
    speed = float(np.sqrt(GUIDE.lateral_acceleration_mps2 * 10.0))  # v^2 / R is the profile's lateral acceleration
    cases = ((10.0, speed), (9.8, speed), (10.0, 5.0))
    on, inside, slow = torch.tensor([[radius, 0.0, np.pi / 2, v, 0, 0, 0, 0] for radius, v in cases])
    steering, acceleration = law(on)
    assert float(steering) == pytest.approx(np.arctan(vehicle.parameters["wheelbase"] / 10.0), rel=0.02)
    assert float(acceleration) == pytest.approx(0.0, abs=0.1)
    assert float(law(inside)[0]) < float(steering)  # a left turn, taken wider
    assert float(law(slow)[1]) == pytest.approx(GUIDE.lateral_acceleration_mps2)  # as hard as it may
    task.cap_speed(4.0)
    assert float(law(slow)[1]) == pytest.approx(-(5.0 - 4.0) / GUIDE.preview_s * 0.9, abs=0.6)


@pytest.mark.parametrize("delay", [(0.0, 0.0), (0.04, 0.04), (0.05, 0.02), (0.13, 0.07)])
def test_predicted_states_are_those_of_the_commands_after_the_models_delay(planner, problem, delay):
    subject, asked = planner(delay=delay), problem()
    plan = subject.plan(asked)
    car = subject.rollouts._step.model.model
    past = torch.from_numpy(asked.commands.mean(asked.stamp_s - 3 * DT, DT, 3))
    commands = torch.cat([past, torch.from_numpy(plan.actions)])
    applied = delayed(commands, car.delay.double() / DT, past=3)
    with torch.no_grad():
        states = rollout(car, torch.tensor(asked.state), applied)
    np.testing.assert_allclose(plan.states, states.numpy(), atol=2e-3)


def test_search_improves_on_the_law_and_the_next_cycle_on_the_search(planner, problem):
    subject, asked = planner(), problem()
    first = subject.plan(asked)
    again = subject.plan(asked)
    assert first.diagnostics["gain"] > 0.3  # over the law alone
    assert again.diagnostics["gain"] >= 0
    assert again.diagnostics["root_value"] >= first.diagnostics["root_value"]
    assert first.diagnostics["simulations"] == 16 * (1 + 2 * 6)
    assert 1 < first.diagnostics["depth"] <= SETTINGS.knots
    assert first.diagnostics["best_child_visits"] >= 1
    _, costs = subject.candidates(1000)
    assert costs.min() == pytest.approx(-again.diagnostics["root_value"])
    assert again.diagnostics["total_cost"] == pytest.approx(costs.min(), abs=1e-3)


def test_a_last_plan_that_leads_nowhere_finite_is_left_and_no_figure_is_told_of_it(planner, problem, monkeypatch):
    subject, asked = planner(), problem()
    evaluate = subject.rollouts.evaluate

    def broken(start, offsets):
        costs = evaluate(start, offsets)
        return torch.where((offsets == 0).all(-1).all(-1), torch.nan, costs)

    monkeypatch.setattr(subject.rollouts, "evaluate", broken)
    plan = subject.plan(asked)
    assert "gain" not in plan.diagnostics
    assert np.isfinite(list(plan.diagnostics.values())).all()
    assert plan.diagnostics["non_finite_share"] > 0.0


def test_commands_go_on_where_the_last_plan_was(planner, problem):
    """A cycle later the plan may have other knots, but the offset at the present is the last one's."""
    subject, asked = planner(delay=(0.0, 0.0)), problem()
    first = subject.plan(asked)
    later = problem(stamp_s=1.02)
    state = first.states[0] + (first.states[1] - first.states[0]) * 0.02 / DT
    second = subject.plan(Problem(state, 1.02, later.commands))
    assert abs(second.actions[0, 0] - first.at(1.045)[0]) < 0.02


def test_where_nothing_better_was_found_the_tree_is_kept_until_its_knots_are_passed(planner, problem, monkeypatch):
    """Costs say how far offsets are from those of the first plan, at their times: only to keep it costs nothing."""
    subject, edge, now = planner(KEEPING, delay=(0.0, 0.0)), KEEPING.knot_steps * DT, 1.0
    subject.plan(problem())
    first_s, first = subject._knots_s, subject._offsets
    assert np.abs(first).max() > 0.01

    def evaluate(start, offsets):
        times = now + DT * (np.arange(SETTINGS.horizon) + 0.5)
        wanted = np.stack([np.interp(times, first_s, column) for column in first.T], axis=1)
        return (offsets.double() - torch.from_numpy(wanted)).square().sum((1, 2))

    monkeypatch.setattr(subject.rollouts, "evaluate", evaluate)
    nodes, roots = [], []
    for now in (1.0, 1.02, 1.08, 1.0 + 0.9 * edge, 1.0 + 1.3 * edge, 1.0 + 3.0 * edge, 1.0 + 3.1 * edge):
        plan = subject.plan(problem(stamp_s=now))
        assert plan.diagnostics["gain"] == 0.0
        assert plan.diagnostics["root_value"] == pytest.approx(0.0, abs=1e-9)
        nodes.append(plan.diagnostics["kept_nodes"])
        roots.append(subject._standing[0])
    assert roots == pytest.approx([1.0, 1.0, 1.0, 1.0 + edge, 1.0 + edge, 1.0 + 3.0 * edge, 1.0 + 3.0 * edge])
    assert nodes[0] == nodes[5] == 0.0  # before there was a tree, and when more than one knot was passed
    assert min(nodes[1:5] + nodes[6:]) > 0
    assert nodes[1] == KEEPING.leaves - 1
    subject.reset()
    assert subject.plan(problem(stamp_s=now)).diagnostics["kept_nodes"] == 0.0


def test_a_plan_that_was_improved_on_is_not_what_the_next_tree_stands_on(planner, problem):
    subject = planner(KEEPING)
    assert subject.plan(problem()).diagnostics["gain"] > 0
    assert subject.plan(problem(stamp_s=1.02)).diagnostics["kept_nodes"] == 0.0


def test_plans_keep_to_bounds_and_to_a_cap(planner, problem, vehicle):
    moves = {"steering_moves_rad": (-1.0, 0.0, 1.0), "acceleration_moves_mps2": (-20.0, 0.0, 20.0)}
    plan, limits = planner(SETTINGS.model_copy(update=moves)).plan(problem()), vehicle.limits
    assert np.abs(plan.actions[:, 0]).max() <= limits.steering_angle_rad + 1e-6
    assert -limits.braking_mps2 - 1e-6 <= plan.actions[:, 1].min()
    assert plan.actions[:, 1].max() <= limits.acceleration_mps2 + 1e-6
    assert planner().plan(problem(cap=2.0)).states[-1, 3] < 2.3 < planner().plan(problem()).states[-1, 3]


def test_going_on_from_another_planners_plan_begins_with_its_commands(planner, problem):
    one = planner()
    for _ in range(4):
        plan = one.plan(problem())
    other = planner()
    other.reset(plan)
    assert other.plan(problem()).diagnostics["root_value"] > planner().plan(problem()).diagnostics["root_value"]


def learned(kind, vehicle, members):
    """A residual on a bicycle that steps half of the planner's step; its last layer is given, so that it says much."""
    torch.manual_seed(0)
    guard = Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0)
    network = Network(kind, hidden=4, members=members)
    config = Config(DT / 2, "cg", Base("kinematic_bicycle", "acceleration"), network, guard)
    seen = 7 if kind == "mlp" else 13
    values = build_for(vehicle, "kinematic_bicycle", dt=DT / 2).values()
    model = LearnedModel(build_base(config, values), config, torch.zeros(seen), torch.ones(seen))
    torch.nn.init.normal_(model.head.layers[-1].weight, std=0.3)
    return model.double()


@pytest.mark.parametrize(("kind", "members"), [("mlp", 1), ("mlp", 3), ("gru", 2)])
def test_learned_models_are_searched_too_and_remember_the_driving(kind, members, problem, vehicle, track):
    model, asked = learned(kind, vehicle, members), problem()
    driven = StateHistory()
    for k in range(41):
        back = (k - 40) * DT / 2
        state = asked.state.copy()
        state[:2] += back * asked.state[3] * np.array([np.cos(state[2]), np.sin(state[2])])
        driven.append(asked.stamp_s + back, state)
    asked = Problem(asked.state, asked.stamp_s, asked.commands, driven)
    task = RacingSettings(acceleration_limit_mps2=5.5)
    subject = racing_mcts(passport.in_memory(model), vehicle, track, SETTINGS, task, seed=0)
    plan = subject.plan(asked)
    share = plan.diagnostics["history_share"]
    assert 0.0 < share <= 1.0
    # What is predicted is the model's own rollout from where its memory of the driving begins, by the same commands.
    past = torch.from_numpy(asked.commands.mean(asked.stamp_s - 3 * DT, DT, 3))
    applied = delayed(torch.cat([past, torch.from_numpy(plan.actions)]), model.delay / DT, past=3)
    with torch.no_grad():
        start, _ = start_now(model, asked.state, asked.stamp_s, asked.commands, driven)
        alone = rollout(Held(model, 2), start, applied)[:, :8]
    np.testing.assert_allclose(plan.states, alone.numpy(), atol=2e-3)
    # It matters: the base alone, and a model that remembers nothing, predict something else by these commands.
    with torch.no_grad():
        base = rollout(Held(model.base, 2), torch.tensor(asked.state), applied)
    assert np.abs(base.numpy() - plan.states)[:, :2].max() > 0.05
    if kind == "gru":
        forgetful = subject.plan(Problem(asked.state, asked.stamp_s, asked.commands))
        assert forgetful.diagnostics["history_share"] == 0.0
        assert np.abs(forgetful.states - plan.states).max() > 1e-3
    assert plan.diagnostics["gain"] > 0.0


def test_what_cannot_be_planned_is_said(planner, problem, vehicle, track, task):
    lost = problem()
    with pytest.raises(PlanningError, match="none of 16 rollouts has a finite cost"):
        planner().plan(Problem(np.full(8, np.nan), lost.stamp_s, lost.commands))
    with pytest.raises(ConfigError, match=r"'dt_s' is 0\.05 s, but the model steps 0\.02 s"):
        MCTSPlanner(build_for(vehicle, "single_track", dt=0.02), task, Guide(track, vehicle, task, GUIDE), SETTINGS)
    subject = planner()
    subject.rollouts._step.model.model.steering_delay.data.fill_(0.3)
    with pytest.raises(PlanningError, match=r"delay grew to 0\.300 s"):
        subject.plan(lost)
    with pytest.raises(ValueError, match="moves must contain 0"):
        MCTSSettings(steering_moves_rad=(0.1,))
