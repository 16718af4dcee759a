"""Which models a car can be driven with, and that every planner there is races it behind one face."""

from typing import get_args

import numpy as np
import pytest

from mbrl_ros.core.config import parse_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import ConfigError, ModelError
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.racing import racing_planner, require_drivable
from mbrl_ros.planning.settings import PlannerName, RacingPlannerSettings


def loaded(model):
    return passport.in_memory(model)


def test_a_model_of_the_cars_commands_and_its_cg_is_drivable(vehicle):
    require_drivable(loaded(build_for(vehicle, "single_track", dt=0.02)))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"drive": "speed"}, "planners command acceleration"), ({"reference_point": "rear_axle"}, "describes the rear")],
)
def test_other_models_are_refused_with_the_reason(vehicle, change, words):
    model = loaded(build_for(vehicle, "kinematic_bicycle", dt=0.02, **change))
    with pytest.raises(ModelError, match=words):
        require_drivable(model)


SMALL = {
    "mppi": {"rollouts": 64, "horizon": 20, "dt_s": 0.04, "backend": "eager"},
    "ddp": {"horizon": 20, "dt_s": 0.04, "first_iterations": 4, "iterations": 1, "backend": "eager"},
    "mcts": {"knots": 5, "knot_steps": 4, "rounds": 2, "leaves": 4, "dt_s": 0.05, "backend": "eager"},
}
"""Settings of each planner that are computed at once."""


@pytest.fixture(params=get_args(PlannerName))
def settings(request):
    name, task = request.param, {"acceleration_limit_mps2": 5.5}
    return RacingPlannerSettings.model_validate({"planner": name, "task": task, name: SMALL[name]})


@pytest.fixture
def planner(settings, vehicle, track):
    model = loaded(build_for(vehicle, "kinematic_bicycle", dt=0.02))
    return racing_planner(settings, model, vehicle, track, seed=1)


def start(track, stamp_s):
    section = track.at(0.0)
    state = np.array([*section.position, float(section.heading), 1.0, 0.0, 0.0, 0.0, 0.0])
    return Problem(state, stamp_s, CommandHistory(np.zeros(2)))


def test_every_planner_makes_plans_that_a_car_can_follow(planner, settings, vehicle, track):
    with pytest.raises(PlanningError):
        planner.candidates(5)
    planner.warm_up()
    plan = planner.plan(start(track, 10.0))
    assert planner.kind == settings.planner
    assert planner.note == ""
    assert not planner.hindered
    assert (plan.stamp_s, plan.dt) == (10.0, settings.dt_s)
    assert plan.model_id
    assert plan.states.shape == (len(plan.actions) + 1, 8)
    assert np.abs(plan.actions[:, 0]).max() <= vehicle.limits.steering_angle_rad + 1e-6
    terms = sum(value for name, value in plan.diagnostics.items() if name.startswith("cost."))
    assert plan.diagnostics["total_cost"] == pytest.approx(terms)
    assert plan.diagnostics["iterations"] >= 1
    states, costs = planner.candidates(5)
    assert len(states) == len(costs) <= 5
    assert states.shape[1:] == plan.states.shape
    assert np.isfinite(states).all()
    np.testing.assert_allclose(states[:, 0], np.broadcast_to(plan.states[0], states[:, 0].shape), atol=1e-5)


def test_every_planner_goes_on_from_another_ones_plan_and_begins_anew_to_the_bit(planner, track):
    first = planner.plan(start(track, 10.0))
    planner.reset(first)
    follower = planner.plan(start(track, 10.2))
    planner.reset()
    again = planner.plan(start(track, 10.0))
    np.testing.assert_array_equal(first.actions, again.actions)
    assert (follower.actions != first.actions).any()


def test_a_planner_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"field 'planner': Input should be .*'mppi'"):
        parse_settings({"planner": "dwa", "task": {"acceleration_limit_mps2": 5.5}}, RacingPlannerSettings, "a.yaml")
