"""DDP as a planner: plans that improve, keep limits, go on from one another, and drive a car."""

import math

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate, optimal_gains

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import ACTIONS, VX, YAW
from mbrl_ros.core.tasks.horizon_end import HorizonEnd, HorizonEndSettings
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, Regimes, build_base
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.ddp.commands import commanded
from mbrl_ros.planning.ddp.compiled import _Pass
from mbrl_ros.planning.ddp.planner import DDPPlanner
from mbrl_ros.planning.ddp.planner_settings import DDPPlannerSettings
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.racing import racing_ddp

DT, HORIZON = 0.05, 25

SMOOTH = RacingSettings(acceleration_limit_mps2=5.0, crossing_weight=0.0, boundary_weight=50.0)


def planner(model, task, **changes):
    settings = {"horizon": HORIZON, "dt_s": model.dt, "backend": "eager", "first_iterations": 6, **changes}
    return DDPPlanner(model, task, DDPPlannerSettings(**settings), model_id="car")


def at_rest(track):
    section = track.at(0.0)
    return np.array([*section.position, float(section.heading), 0.0, 0.0, 0.0, 0.0, 0.0])


def sent_nothing(actions=2):
    return CommandHistory(np.zeros(actions))


@pytest.mark.parametrize("delay", [0.0, 0.2])
def test_a_linear_quadratic_plan_is_riccatis_whatever_the_delay(delay):
    model, task = DoubleIntegrator(delay=delay), Regulate(limit=1e3)
    subject = planner(model, task, first_regularisation=0.0, tolerance=1e-12)
    state, held = np.array([1.0, -0.5]), 0.3
    history = CommandHistory(np.array([held]))
    plan = subject.plan(Problem(state, 5.0, history))
    late = round(delay / model.dt)
    a, b = model.matrices()
    for _ in range(late):  # commands in flight act first, whatever is planned
        state = a @ state + b @ [held]
    gains = optimal_gains(model, task, HORIZON)[late:]
    moved = np.linalg.matrix_power(a, late)  # a deviation goes on growing until a command can act on it
    np.testing.assert_allclose(plan.gains[: HORIZON - late], -gains @ moved, atol=1e-5)
    for action, gain in zip(plan.actions[: HORIZON - late], gains, strict=True):
        np.testing.assert_allclose(action, -gain @ state, atol=1e-5)
        state = a @ state + b @ action
    np.testing.assert_allclose(plan.states[-1], state, atol=1e-5)


def test_a_delay_that_is_a_rounding_more_than_whole_steps_is_planned_with():
    assert 0.07 / 0.01 > 7.0
    plan = planner(DoubleIntegrator(0.01, delay=0.07), Regulate(0.01)).plan(Problem(np.ones(2), 0.0, sent_nothing(1)))
    assert len(plan.actions) == HORIZON


def test_commands_are_what_acts_a_delay_later():
    generator = torch.Generator().manual_seed(0)
    sent = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    steps = torch.tensor([2.0, 0.0], dtype=torch.float64)
    found = commanded(delayed(sent, steps, past=2), steps)
    torch.testing.assert_close(found[:8, 0], sent[2:10, 0])
    torch.testing.assert_close(found[:, 1], sent[2:, 1])
    ramp = torch.arange(12.0, dtype=torch.float64)[:, None].expand(-1, 2)
    uneven = torch.tensor([1.4, 0.4], dtype=torch.float64)
    torch.testing.assert_close(commanded(delayed(ramp, uneven, past=2), uneven)[:8], ramp[2:10])


def test_from_standstill_the_plan_drives_off_inside_of_the_limits(car, race, track, vehicle):
    subject = planner(car, race)
    plan = subject.plan(Problem(at_rest(track), 1.0, sent_nothing()))
    assert plan.states[-1, VX] > 2.0
    low, high = (bound.numpy() for bound in race.bounds())
    assert bool(((plan.actions >= low) & (plan.actions <= high)).all())
    costs = [float(entry.cost) for entry in subject.solution.log]
    assert costs == sorted(costs, reverse=True)
    assert float(subject.solution.first_cost) > costs[-1]
    figures = plan.diagnostics
    assert figures["total_cost"] == pytest.approx(costs[-1], abs=1e-9)
    assert figures["actual_decrease"] > 0.0
    assert figures["iterations"] == 6.0
    # What is predicted is what the model does with the commands, late as they are.
    late = math.ceil(float(car.delay.detach().max()) / DT)
    commands = torch.from_numpy(np.concatenate([np.zeros((late, 2)), plan.actions]))
    with torch.no_grad():
        state = torch.from_numpy(plan.states[0])
        for action in delayed(commands, car.delay.detach() / DT, late):
            state = car(state, action)
    np.testing.assert_allclose(plan.states[-1, :2], state[:2].numpy(), atol=0.2)


def test_a_plan_goes_on_from_the_one_before_also_across_a_wrapped_heading(car, race, track):
    subject, history = planner(car, race, iterations=1), sent_nothing()
    first = subject.plan(Problem(at_rest(track), 1.0, history))
    for step in range(2):
        history.append(1.0 + step * DT, first.actions[step])
    state = first.states[2].copy()
    state[YAW] -= 2 * math.pi
    second = subject.plan(Problem(state, 1.0 + 2 * DT, history))
    np.testing.assert_allclose(second.actions[: HORIZON // 2, 0], first.actions[2 : 2 + HORIZON // 2, 0], atol=0.1)
    assert float(subject.solution.first_cost) < float(subject.solution.log[0].cost) + 2.0


def test_goes_on_from_another_planners_plan(car, race, track):
    mine, theirs = planner(car, race), planner(car, race, dt_s=DT, first_iterations=12)
    given = theirs.plan(Problem(at_rest(track), 1.0, sent_nothing()))
    coarse = ControlSequence(1.0, 2 * DT, given.actions[::2], ACTIONS["acceleration"])
    mine.reset(coarse)
    plan = mine.plan(Problem(at_rest(track), 1.0, sent_nothing()))
    assert plan.diagnostics["iterations"] <= 2.0
    fresh = planner(car, race, first_iterations=2).plan(Problem(at_rest(track), 1.0, sent_nothing()))
    assert plan.diagnostics["total_cost"] < fresh.diagnostics["total_cost"]


def test_candidates_are_the_iterations(car, race, track):
    subject = planner(car, race)
    with pytest.raises(PlanningError, match="before the first plan"):
        subject.candidates(3)
    plan = subject.plan(Problem(at_rest(track), 1.0, sent_nothing()))
    states, costs = subject.candidates(4)
    assert states.shape == (4, HORIZON + 1, 8)
    assert costs[-1] == min(costs) < costs[0]
    np.testing.assert_array_equal(states[-1], plan.states)


def test_what_cannot_be_planned_is_said(car, race, track):
    state = at_rest(track)
    state[VX] = np.nan
    subject = planner(car, race)
    with pytest.raises(PlanningError, match=r"no plan at 1\.000 s"):
        subject.plan(Problem(state, 1.0, sent_nothing()))
    priceless = planner(DoubleIntegrator(), Regulate(offset=math.nan))  # its states are finite
    with pytest.raises(PlanningError, match=r"no plan at 0\.000 s"):
        priceless.plan(Problem(np.zeros(2), 0.0, sent_nothing(1)))
    capped = Problem(np.zeros(2), 0.0, sent_nothing(1), speed_cap_mps=1.0)
    toy = planner(DoubleIntegrator(), Regulate())
    with pytest.raises(PlanningError, match="knows no speed cap"):
        toy.plan(capped)
    with pytest.raises(ConfigError, match=r"'dt_s' is 0\.03 s, but the model steps 0\.05 s"):
        planner(car, race, dt_s=0.03)


@pytest.mark.parametrize("kind", ["kinematic_bicycle", "single_track"])
def test_drives_off_and_stays_on_the_track(kind, vehicle, track):
    model, task = build_for(vehicle, kind, dt=DT), RacingTask(track, vehicle, SMOOTH, dt=DT)
    subject, plant = planner(model, task, iterations=1), build_for(vehicle, kind, dt=DT)
    state, history, past = at_rest(track), sent_nothing(), [np.zeros(2)]
    for step in range(30):
        plan = subject.plan(Problem(state, step * DT, history))
        past.append(plan.at(step * DT))
        history.append(step * DT, past[-1])
        applied = delayed(torch.tensor(np.array(past[-2:])), plant.delay / DT, past=1)[0]
        with torch.no_grad():
            state = plant(torch.tensor(state), applied).numpy()
    place = track.project(state[:2])
    assert state[VX] > 3.0
    assert -place.section.width_right < place.lateral < place.section.width_left


def test_a_plan_ends_along_the_track_and_no_faster_than_the_next_bend_allows_where_that_counts(vehicle, track):
    ends = HorizonEndSettings(heading_weight=20.0, speed_weight=200.0, acceleration_mps2=4.0)
    judged = HorizonEnd(track, vehicle, ends)
    costs = []
    for wanted in (HorizonEndSettings(), ends):
        settings = DDPPlannerSettings(horizon=HORIZON, dt_s=DT, backend="eager", first_iterations=30, end=wanted)
        model = passport.in_memory(build_for(vehicle, "kinematic_bicycle", dt=DT))
        plan = racing_ddp(model, vehicle, track, settings, SMOOTH, seed=0).plan(
            Problem(at_rest(track), 1.0, sent_nothing())
        )
        costs.append(float(judged(torch.from_numpy(plan.states[-1]))))
        assert ("cost.end" in plan.diagnostics) is wanted.wanted
        parts = [cost for name, cost in plan.diagnostics.items() if name.startswith("cost.")]
        assert plan.diagnostics["total_cost"] == pytest.approx(sum(parts))
    assert plan.diagnostics["cost.end"] == pytest.approx(costs[1])
    assert costs[1] < 0.3 * costs[0]


def test_programs_that_know_a_plans_end_serve_any_track(vehicle, track):
    longer = generate_track(1, TrackSettings(length_m=45.0, corners=6, max_radius_m=3.0))
    settings = DDPPlannerSettings(horizon=8, dt_s=DT, end=HorizonEndSettings(heading_weight=1.0, speed_weight=1.0))
    model, hashes = passport.in_memory(build_for(vehicle, "kinematic_bicycle", dt=DT)), []
    for where in (track, longer):
        passes = racing_ddp(model, vehicle, where, settings, SMOOTH, seed=0)._passes
        hashes.append(passes._structure_hash("expand_end", _Pass(passes.problem, passes.eager.expand_end)))
    assert hashes[0] == hashes[1]


def learned(kind, members, vehicle, regimes=None):
    torch.manual_seed(0)
    guard = Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0)
    network = Network(kind, members, hidden=4)
    config = Config(DT / 2, "cg", Base("kinematic_bicycle", "acceleration"), network, guard, regimes)
    seen = 7 if kind == "mlp" else 13
    values = build_for(vehicle, "kinematic_bicycle", dt=DT / 2).values()
    model = LearnedModel(build_base(config, values), config, torch.zeros(seen), torch.ones(seen))
    torch.nn.init.normal_(model.head.layers[-1].weight, std=0.1)
    return passport.in_memory(model)


STIFFER = Regimes(({"understeer": 0.03},), 2.0, (1.0, 1.0))


@pytest.mark.parametrize(
    ("kind", "members", "regimes"), [("mlp", 1, None), ("mlp", 3, None), ("gru", 1, None), ("mlp", 1, STIFFER)]
)
def test_plans_through_a_learned_model_also_with_members_memory_or_regimes(kind, members, regimes, vehicle, track):
    settings = DDPPlannerSettings(horizon=HORIZON, dt_s=DT, backend="eager", first_iterations=4)
    plan = racing_ddp(learned(kind, members, vehicle, regimes), vehicle, track, settings, SMOOTH, seed=0).plan(
        Problem(at_rest(track), 1.0, sent_nothing())
    )
    assert plan.states.shape == (HORIZON + 1, 8)
    assert plan.gains.shape == (HORIZON, 2, 8)
    assert plan.states[-1, VX] > 2.0


@pytest.mark.timeout(600)  # it compiles, which takes minutes on a busy machine
def test_a_learned_model_is_planned_through_in_cpp_to_the_same_plan(vehicle, track):
    plans = []
    for backend in ("compiled", "eager"):
        settings = DDPPlannerSettings(horizon=8, dt_s=DT, backend=backend, first_iterations=3, step_sizes=4)
        settings = settings.model_copy(update={"end": HorizonEndSettings(heading_weight=5.0, speed_weight=50.0)})
        subject = racing_ddp(learned("mlp", 2, vehicle, STIFFER), vehicle, track, settings, SMOOTH, seed=0)
        subject.warm_up()
        assert subject.backend == backend, subject.note
        plans.append(subject.plan(Problem(at_rest(track), 1.0, sent_nothing())))
    np.testing.assert_allclose(plans[0].actions, plans[1].actions, atol=1e-6)
    np.testing.assert_allclose(plans[0].gains, plans[1].gains, atol=1e-4)
