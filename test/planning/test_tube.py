"""A plan's tube: what its gains do for a car that is pushed off the plan, and what they leave alone."""

import dataclasses

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.planning.ddp.planner import DDPPlanner
from mbrl_ros.planning.ddp.planner_settings import DDPPlannerSettings
from mbrl_ros.planning.ddp.tube import TubeMaker
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import Problem

HORIZON, DT = 20, 0.05
DELAY_S = 0.04
PUSH = np.array([0.0, 0.15, 0.1, 0.3, 0.0, 0.0, 0.0, 0.0])


def planner(car, race, **changes):
    values = {"rollouts": 256, "horizon": HORIZON, "dt_s": DT, "control_cost_share": 0.0, "backend": "eager"}
    return MPPI(car, race, MPPISettings(**{**values, "iterations": 3, **changes}), seed=3)


def history():
    return CommandHistory(np.zeros(2), keep_s=10.0)


def followed(car, plan, state, feedback):
    """Greatest distance [m] from the plan's positions of a car that begins in ``state`` and follows it for a second."""
    sent, far = history(), []
    for step in range(HORIZON):
        stamp = step * DT
        command = plan.at(stamp + DT / 2) + feedback * plan.correction(stamp, state)
        sent.append(stamp, command)
        acting = torch.from_numpy(sent.mean(stamp - DELAY_S, DT, 1)[0])
        with torch.no_grad():
            state = car(torch.from_numpy(state), acting).numpy()
        far.append(np.linalg.norm(state[:2] - plan.states[step + 1, :2]))
    return np.array(far)


def test_a_pushed_car_comes_back_to_its_plan_by_the_gains_and_not_without(car, race, start):
    plan = planner(car, race, tube=True).plan(Problem(start.double().numpy(), 0.0, history()))
    pushed = start.double().numpy() + PUSH
    alone, held = (followed(car, plan, pushed, feedback)[-1] for feedback in (0.0, 1.0))
    assert held < 0.5 * alone
    undisturbed = followed(car, plan, start.double().numpy(), 1.0)
    assert undisturbed.max() < 0.02  # what a plan's own steps leave between them


def test_without_a_deviation_plans_are_those_without_a_tube(car, race, start):
    plans = []
    for tube in (False, True):
        subject, state, sent = planner(car, race, tube=tube), start.double().numpy(), history()
        for cycle in range(4):
            plan = subject.plan(Problem(state, cycle * DT, sent))
            sent.append(cycle * DT, plan.actions[0])
            state = plan.states[1]
        plans.append(plan)
    np.testing.assert_allclose(plans[1].actions, plans[0].actions, atol=2e-3)
    assert plans[0].gains is None
    assert plans[1].gains.shape == (HORIZON, 2, 8)


def test_a_cycle_begins_with_what_the_tube_makes_of_the_last_plan(car, race, start):
    """With hardly any noise a plan is what it began with."""
    state, sent = start.double().numpy(), history()
    quiet = {"steering_std_rad": 1e-6, "acceleration_std_mps2": 1e-6}
    found = {}
    for tube in (False, True):
        subject = planner(car, race, tube=tube, iterations=1, **quiet)
        subject.reset(planner(car, race).plan(Problem(state, 0.0, sent)))
        first = subject.plan(Problem(state, 0.0, sent))
        second = subject.plan(Problem(first.states[1] + PUSH, DT, sent))
        found[tube] = np.abs(second.actions - first.shifted(DT).actions)[:-1, 0].max()
    assert found[False] < 1e-4
    assert found[True] > 0.01


def test_at_an_optimum_the_gains_are_those_of_ddp(car, race, start):
    settings = DDPPlannerSettings(horizon=HORIZON, dt_s=DT, first_iterations=60, backend="eager")
    ddp = DDPPlanner(car, race, settings)
    ddp.plan(Problem(start.double().numpy(), 0.0, history()))
    states, actions, gains = ddp.solution.states[0], ddp.solution.actions[0], ddp.solution.gains[0]
    free = torch.ones_like(actions)
    free[0] = 0.0  # decided by what was sent before
    tube = TubeMaker(car, race, HORIZON, "eager").around(0.0, DT, states, actions, free)
    low, high = race.bounds()
    inside = ((actions > low) & (actions < high)).all(-1)[:, None, None].expand_as(gains).clone()
    inside[0] = False
    assert inside.any(-1).any(-1).sum() > HORIZON / 2
    scale = gains.abs().amax((0, 1))
    assert torch.quantile(((tube.gains - gains).abs() / scale)[inside], 0.9) < 0.05
    assert not tube.gains[0].any()


def test_a_heading_that_was_wrapped_is_no_deviation(car, race, start):
    subject = planner(car, race, tube=True)
    plan = subject.plan(Problem(start.double().numpy(), 0.0, history()))
    turned = torch.from_numpy(plan.states[0]) + 2 * np.pi * torch.eye(8, dtype=torch.float64)[2]
    assert subject._tube.correction(0.0, turned, torch.zeros(2)).abs().max() < 1e-6


def test_what_is_not_finite_has_no_tube(car, race, start):
    states = start.double().expand(HORIZON + 1, -1).clone()
    states[5, 0] = torch.nan
    actions = torch.zeros(HORIZON, 2, dtype=torch.float64)
    assert TubeMaker(car, race, HORIZON, "eager").around(0.0, DT, states, actions, actions + 1) is None


def test_a_tube_is_around_cars_only():
    with pytest.raises(LayoutError, match="around a car's states"):
        TubeMaker(DoubleIntegrator(), Regulate(), HORIZON, "eager")


def test_a_plan_without_a_tube_is_no_other_for_it(car, race, start):
    problem = Problem(start.double().numpy(), 0.0, history())
    with_tube, without = (planner(car, race, tube=tube).plan(problem) for tube in (True, False))
    np.testing.assert_array_equal(with_tube.actions, without.actions)
    assert dataclasses.asdict(with_tube)["diagnostics"] == without.diagnostics
