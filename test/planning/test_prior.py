"""Sequences that are proposed from outside."""

import numpy as np
import pytest
from planning_toys import FORCE, DoubleIntegrator, Regulate, cost_along

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.prior import PlansOf

HORIZON = 30
START = np.array([40.0, 0.0])


class Fixed:
    """Proposes what it was given; as a planner, plans it with half the step."""

    kind, backend = "fixed", "eager"

    def __init__(self, *forces):
        self.forces = forces

    def propose(self, problem, stamps_s):
        return np.array([np.full((len(stamps_s), 1), force) for force in self.forces]).reshape(-1, len(stamps_s), 1)

    def plan(self, problem):
        if not self.forces:
            raise PlanningError("nothing found")
        return ControlSequence(problem.stamp_s, 0.05, np.full((60, 1), self.forces[0]), FORCE)


def planner(prior=None, **changes):
    values = {
        "rollouts": 256,
        "horizon": HORIZON,
        "dt_s": 0.1,
        "control_cost_share": 0.0,
        "effective_share": 0.02,
        "backend": "eager",
        **changes,
    }
    task = Regulate(weights=(1.0, 0.0, 0.001), limit=20.0)
    return MPPI(DoubleIntegrator(), task, MPPISettings(**values), noise_std=[0.5], prior=prior)


def problem():
    return Problem(START, 0.0, CommandHistory(np.zeros(1)))


@pytest.mark.parametrize("update", ["mppi", "cem"])
def test_a_good_proposal_is_followed_and_a_bad_one_is_not(update):
    def cost(prior):
        plan = planner(prior, update=update).plan(problem())
        return cost_along(DoubleIntegrator(), Regulate(weights=(1.0, 0.0, 0.001)), START, plan.actions), plan

    alone, plan = cost(None)
    assert plan.diagnostics["proposals"] == 0
    good, plan = cost(Fixed(-12.0, 15.0))  # far beyond what noise reaches in one iteration
    assert plan.diagnostics["proposals"] == 2
    assert good < 0.6 * alone
    assert cost(Fixed(15.0))[0] < 1.05 * alone


def test_another_planner_proposes_its_plan_and_nothing_where_it_finds_none():
    stamps_s = 0.1 * (np.arange(HORIZON) + 0.5)
    np.testing.assert_allclose(PlansOf(Fixed(-7.0)).propose(problem(), stamps_s), np.full((1, HORIZON, 1), -7.0))
    assert PlansOf(Fixed()).propose(problem(), stamps_s).shape == (0, HORIZON, 1)
    assert planner(PlansOf(Fixed())).plan(problem()).diagnostics["proposals"] == 0


def test_proposals_are_held_within_bounds_and_stand_among_the_samples():
    subject = planner(Fixed(-300.0))
    subject.plan(problem())
    np.testing.assert_allclose(subject._samples[1][2], -20.0)


def test_more_proposals_than_samples_are_refused():
    with pytest.raises(PlanningError, match="200 proposals are too many for 256 rollouts"):
        planner(Fixed(*range(200))).plan(problem())


def test_a_proposal_that_is_not_finite_is_refused():
    with pytest.raises(PlanningError, match=r"a proposal at 0\.000 s is not finite"):
        planner(Fixed(1.0, float("nan"))).plan(problem())
