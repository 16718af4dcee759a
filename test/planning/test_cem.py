"""The cross-entropy method against what Pinneri et al. write, and on systems with known answers."""

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate, cost_along, optimal_gains

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.planning.cem import CrossEntropy
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import CEMSettings, MPPISettings
from mbrl_ros.planning.path_integral import Drawn
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.sampler import Distribution

HORIZON = 30


def drawn(costs, std=1.0):
    """Samples whose every action is the sample's number."""
    costs = torch.tensor(costs)
    actions = torch.arange(float(len(costs))).expand(HORIZON, 1, -1)
    first = torch.full((HORIZON, 1), std)
    return Drawn(Distribution(torch.zeros(HORIZON, 1), first), first, torch.zeros(1), actions, costs, "at 1 s")


def planner(seed=0, **changes):
    values = {
        "rollouts": 512,
        "horizon": HORIZON,
        "dt_s": 0.1,
        "update": "cem",
        "sampler": "coloured",
        "backend": "eager",
        **changes,
    }
    return MPPI(DoubleIntegrator(), Regulate(limit=50.0), MPPISettings(**values), seed, noise_std=[2.0])


def test_mean_and_standard_deviation_are_those_of_the_elites_with_momentum():
    update = CrossEntropy(CEMSettings(elite_share=0.3, momentum=0.25, std_floor_share=0.0, kept_share=0.5))
    updated = update(drawn([9.0, 1.0, 8.0, 7.0, 0.5, 6.0, 5.0, 4.0, 2.0, 3.0]))
    elites = [4.0, 1.0, 8.0]
    torch.testing.assert_close(updated.source.mean, torch.full((HORIZON, 1), 0.75 * np.mean(elites)).float())
    expected = 0.75 * np.std(elites) + 0.25
    torch.testing.assert_close(updated.source.std, torch.full((HORIZON, 1), expected).float())
    assert updated.kept.tolist() == [4, 1]
    assert updated.weights.nonzero().flatten().tolist() == [1, 4, 8]
    assert float(updated.weights.sum()) == pytest.approx(1.0)


def test_standard_deviations_have_a_floor():
    update = CrossEntropy(CEMSettings(elite_share=0.2, momentum=0.0, std_floor_share=0.5))
    costs = [0.0] + [5.0] * 9
    costs[1] = 0.1
    assert torch.equal(update(drawn(costs, std=3.0)).source.std, torch.full((HORIZON, 1), 1.5))


def test_what_is_not_finite_is_no_elite():
    update = CrossEntropy(CEMSettings(elite_share=0.5, momentum=0.0))
    updated = update(drawn([np.nan, 3.0, -np.inf, np.inf, 1.0, np.nan]))
    assert updated.weights.nonzero().flatten().tolist() == [1, 4]
    with pytest.raises(PlanningError, match="at 1 s: of 3 rollouts none"):
        update(drawn([np.nan, -np.inf, np.inf]))


def test_an_open_loop_plan_comes_near_the_riccati_optimum():
    model, task, start = DoubleIntegrator(), Regulate(limit=50.0), np.array([2.0, 0.0])
    s, actions = start, []
    for gain in optimal_gains(model, task, HORIZON):
        actions.append(-gain @ s)
        a, b = model.matrices()
        s = a @ s + b @ actions[-1]
    best = cost_along(model, task, start, np.array(actions))
    subject = planner(iterations=12, sampler="spline", knot_spacing_s=0.3, cem=CEMSettings(std_floor_share=0.02))
    plan = subject.plan(Problem(start, 0.0, CommandHistory(np.zeros(1))))
    assert best <= cost_along(model, task, start, plan.actions) <= 1.03 * best


def test_elites_are_kept_from_iteration_to_iteration_and_shifted_from_cycle_to_cycle():
    subject = planner(cem=CEMSettings(elite_share=0.02, kept_share=0.5))
    history = CommandHistory(np.zeros(1))
    subject.plan(Problem(np.array([1.0, 0.0]), 0.0, history))
    _, applied, costs = subject._samples
    best = applied[costs.argsort()[:5]]
    subject.plan(Problem(np.array([1.0, 0.0]), 0.2, history))
    following = subject._samples[1][2:7]  # behind the nominal and the previous plan
    torch.testing.assert_close(following[:, :-2], best[:, 2:])
    torch.testing.assert_close(following[:, -2:], best[:, -1:].expand(-1, 2, -1))

    twice = planner(iterations=2, cem=CEMSettings(elite_share=0.02, kept_share=0.5))
    twice.plan(Problem(np.array([1.0, 0.0]), 0.0, history))
    torch.testing.assert_close(twice._samples[1][2:7], best)


def test_as_many_kept_elites_as_may_be_leave_room_beside_as_many_proposals():
    class Many:
        def propose(self, problem, stamps_s):
            return np.zeros((count // 2, len(stamps_s), 1))

    for count in range(8, 40):
        cem = CEMSettings(elite_share=0.25, kept_share=1.0)
        values = MPPISettings(
            rollouts=count, horizon=4, dt_s=0.1, update="cem", sampler="white", backend="eager", cem=cem
        )
        subject = MPPI(DoubleIntegrator(), Regulate(), values, noise_std=[1.0], prior=Many())
        for cycle in range(2):
            plan = subject.plan(Problem(np.array([1.0, 0.0]), 0.1 * cycle, CommandHistory(np.zeros(1))))
        assert plan.diagnostics["proposals"] == count // 2
    with pytest.raises(ValueError, match=r"elite_share times kept_share is 0\.5"):
        CEMSettings(elite_share=0.5, kept_share=1.0)


def test_same_seed_same_bits_also_after_a_reset():
    subject, history = planner(iterations=2), CommandHistory(np.zeros(1))

    def three():
        return [subject.plan(Problem(np.array([1.0, 0.1 * k]), 0.1 * k, history)).actions.tobytes() for k in range(3)]

    first = three()
    subject.reset()
    assert three() == first
