"""Members of an ensemble rolled out each by itself, and plans that avoid where they disagree."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.layout import VX
from mbrl_ros.core.tasks.racing import RacingSettings
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.stepping import at_dt
from mbrl_ros.planning import packages
from mbrl_ros.planning.members import EachMember, risk
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import Problem
from mbrl_ros.planning.racing import racing_mppi
from mbrl_ros.planning.rollouts import Rollouts

DT = 0.05
UNSURE_MPS = 4.0


def ensemble(kind="gru", members=3, turning=5.0, **network):
    torch.manual_seed(0)
    guard = Guard(residual=(3.0, 3.0, turning), longitudinal=12.0, lateral=12.0, sideslip=1.0)
    base = Base("kinematic_bicycle", "acceleration", integrator="euler")
    config = Config(DT, "cg", base, Network(kind, members=members, hidden=4, **network), guard)
    inputs = 7 if kind == "mlp" else 13
    values = {"wheelbase": 0.33}
    return LearnedModel(build_base(config, values), config, torch.zeros(inputs), torch.ones(inputs)).double()


@pytest.fixture
def model():
    subject = ensemble()
    torch.nn.init.normal_(subject.head.layers[-1].weight)
    return subject


def test_the_tail_of_identical_members_is_their_mean():
    costs = torch.tensor([1.0, 5.0, -2.0]).expand(4, 3)
    for share in (0.1, 0.25, 0.6, 1.0):
        torch.testing.assert_close(risk(costs, share, 3.0), costs[0])


def test_the_tail_is_the_mean_of_the_worst_and_counts_the_last_of_them_in_part():
    costs = torch.tensor([[1.0], [4.0], [2.0], [9.0]])
    assert [float(risk(costs, share, 0.0)) for share in (0.25, 0.5, 0.375, 1.0)] == pytest.approx(
        [9.0, 6.5, (9.0 + 0.5 * 4.0) / 1.5, 4.0]
    )
    assert float(risk(costs, 1.0, 2.0)) == pytest.approx(4.0 + 2.0 * np.std([1, 4, 2, 9]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_cost_that_is_not_finite_by_one_member_is_not_finite(bad):
    assert not torch.isfinite(risk(torch.tensor([[1.0], [bad], [2.0]]), 0.3, 0.1)).any()


@pytest.mark.parametrize("dt", [DT, DT / 2])
def test_each_member_goes_its_own_way(model, race, start, actions, dt):
    model.dt = model.base.dt = dt
    begin = torch.cat([start.double(), 0.5 * torch.ones(12, dtype=torch.float64)])
    each = EachMember(model)
    rollouts = Rollouts(at_dt(each, DT), race, "eager", members=3)
    few = actions[:5]
    with torch.no_grad():
        costs = rollouts.by_member(each.separate(begin), few)
        car, memory = model.separate(begin.expand(5, -1))
        expected = torch.zeros(3, 5, dtype=torch.float64)
        for action in few.double().unbind(1):
            before = car
            for _ in range(round(DT / dt)):
                car, memory = model.advance(car, memory, action)
            expected -= race.reward(before, action.expand(3, -1, -1), car)
        mean = rollouts.evaluate(each.separate(begin), few)
        trace = rollouts.trace(each.separate(begin), few)
    torch.testing.assert_close(costs.double(), expected, rtol=5e-3, atol=5e-3)
    assert costs.std(dim=0).min() > 0.01
    torch.testing.assert_close(mean, costs.mean(dim=0))
    torch.testing.assert_close(trace.costs.sum(dim=1), mean, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(trace.states[:, -1, :8].double(), car.mean(dim=0), rtol=1e-3, atol=1e-3)


def test_three_members_can_be_compiled_although_three_divides_no_vector(model, race, monkeypatch, tmp_path):
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "missing_tools", lambda: "no compiler")
    rollouts = Rollouts(at_dt(EachMember(model), DT), race, members=3)
    rollouts.warm_up()
    assert rollouts.note == "Rollouts are not compiled: no compiler"


def unsure_when_fast():
    """Two members that turn to opposite sides beyond a speed, and are one below it."""
    subject = ensemble("mlp", members=2, turning=30.0, layers=1)
    first, last = subject.head.layers
    with torch.no_grad():
        for parameter in (*first.parameters(), *last.parameters()):
            parameter.zero_()
        first.weight[:, 0, 0] = 10.0
        first.bias[:, 0, 0] = -10.0 * UNSURE_MPS
        last.weight[0, 0, 2], last.weight[1, 0, 2] = 0.3, -0.3
    return passport.in_memory(subject)


def fastest(vehicle, track, **careful):
    settings = MPPISettings(
        rollouts=256, horizon=25, dt_s=DT, iterations=6, steering_std_rad=0.03, effective_share=0.05,
        control_cost_share=0.0, backend="eager", **careful,
    )  # fmt: skip
    task = RacingSettings(acceleration_limit_mps2=8.0)
    planner = racing_mppi(unsure_when_fast(), vehicle, track, settings, task, seed=0)
    section = track.at(0.0)
    state = np.array([*section.position, float(section.heading), 3.3, 0.0, 0.0, 0.0, 0.0])
    return planner.plan(Problem(state, 0.0, CommandHistory(np.zeros(2)))).states[:, VX].max()


def test_plans_avoid_where_members_disagree(vehicle, track):
    """The mean of the two goes straight on, so a plan by the mean sees no reason to stay slow."""
    careless = fastest(vehicle, track)
    assert careless > UNSURE_MPS + 0.5
    assert fastest(vehicle, track, tail_share=0.5) < careless - 0.4
    assert fastest(vehicle, track, disagreement_weight=5.0) < careless - 0.4
