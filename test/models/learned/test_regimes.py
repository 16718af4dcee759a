"""Models that know several regimes of their physics, and tell from the driving in which of them the car is."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, Regimes, build_base
from mbrl_ros.models.learned.regimes import SPAN_S, averaged, belief
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build
from mbrl_ros.models.starting import start

DT = 0.04
CAR = {"wheelbase": 0.33, "stiffness_front": 5.0, "stiffness_rear": 6.0}
DRY, WET, ICE = ({"friction_front": mu, "friction_rear": mu} for mu in (1.0, 0.7, 0.3))
SURPRISE = (0.2, 0.5)
EVERYTHING = torch.ones(1, 8, dtype=torch.bool)


def model_of(*others, kind="gru", base="single_track", members=2, physics=None):
    torch.manual_seed(0)
    regimes = Regimes(others, 2.0, SURPRISE) if others else None
    network = Network(kind, members, hidden=4, history_s=0.4)
    guard = Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0)
    config = Config(DT, "cg", Base(base, "acceleration", (0.0, 0.0)), network, guard, regimes)
    seen = 7 if kind == "mlp" else 13
    parameters = {**CAR, **(physics or DRY)} if base == "single_track" else {}
    model = LearnedModel(build_base(config, parameters), config, torch.zeros(seen), torch.ones(seen)).double()
    torch.nn.init.normal_(model.head.layers[-1].weight, std=0.1)
    return model


def driven(friction, seconds, swing=0.25):
    """States [1, P + 1, 8] of a car on tyres of that friction, weaving, and what acted [1, P, 2]."""
    car = build("single_track", {**CAR, **friction}, dt=DT)
    time_s = DT * np.arange(round(seconds / DT))
    applied = torch.from_numpy(np.stack([swing * np.sin(2.5 * time_s), 0.0 * time_s], axis=1))
    begin = torch.zeros(8, dtype=torch.float64)
    begin[3] = 4.0
    with torch.no_grad():
        return rollout(car, begin, applied)[None], applied[None]


def shares(model, states, applied, observed=EVERYTHING):
    with torch.no_grad():
        return model.prepare(states, observed, applied).shares[0].tolist()


def test_one_span_is_weighed_by_bayes():
    surprise = torch.tensor([[[[1.0, 0.0]]], [[[2.0, 1.0]]]])  # two regimes, one row, one span
    likelihood = torch.tensor([(1 + 1.0 / 4) ** -3, (1 + 5.0 / 4) ** -3])  # Student's t of two entries, freedom 4
    torch.testing.assert_close(belief(surprise), (likelihood / likelihood.sum())[None])


def test_what_was_believed_lasts_where_nothing_is_told_and_gives_way_within_a_second():
    told, silent = torch.tensor([[0.0], [4.0]]), torch.zeros(2, 1)
    spans = lambda *parts: torch.stack(parts, dim=1)[:, None]  # noqa: E731  # [R, 1, C, 1]
    assert belief(spans(*[told] * 10))[0, 0] > 0.99
    assert belief(spans(*[told] * 10, *[silent] * 10))[0, 0] > 0.9
    changed = belief(spans(*[told] * 100, *[told.flip(0)] * 5))
    assert changed[0, 1] > 0.99
    torch.testing.assert_close(changed.sum(dim=1), torch.ones(1))
    torch.testing.assert_close(belief(torch.zeros(3, 4, 0, 2)), torch.full((4, 3), 1 / 3))


def test_a_jump_of_a_sensor_decides_nothing():
    told, jump = torch.tensor([[0.0], [4.0]]), torch.tensor([[51.0], [50.0]])
    before = belief(torch.stack([told] * 5, dim=1)[:, None])
    after = belief(torch.stack([*[told] * 5, jump], dim=1)[:, None])
    assert after[0, 0] > 0.9 * before[0, 0]
    assert belief(torch.full((2, 1, 3, 2), 1e20)).tolist() == [[0.5, 0.5]]


def test_belief_reaches_back_as_far_as_the_history():
    """Behind a bend and 1 s of straight it is known, behind a straight as long as the history it is not."""
    model = model_of(WET)
    states, applied = driven(WET, 2.0)
    car = build("single_track", {**CAR, **WET}, dt=DT)
    ahead = torch.zeros(1, 60, 2, dtype=torch.float64)
    with torch.no_grad():
        on = rollout(car, states[:, -1], ahead)[:, 1:]
    states, applied = torch.cat([states, on], dim=1), torch.cat([applied, ahead], dim=1)
    assert shares(model, states[:, : 51 + 25], applied[:, : 50 + 25])[0] > 0.8
    assert shares(model, states, applied) == pytest.approx([0.5], abs=0.15)


def test_spans_are_means_of_the_newest_rows():
    rows = round(SPAN_S / DT)
    values = torch.arange(2.0 * rows + 3)[:, None]
    expected = torch.stack([values[3 : 3 + rows], values[-rows:]]).mean(dim=1)
    torch.testing.assert_close(averaged(values, DT), expected)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_in_a_regime_the_model_is_that_on_its_physics(kind):
    model, alone = model_of(WET, ICE, kind=kind), {}
    for name, physics in (("dry", DRY), ("wet", WET), ("ice", ICE)):
        alone[name] = model_of(kind=kind, physics=physics)
        alone[name].load_state_dict({**model.state_dict(), **alone[name].base.state_dict(prefix="base.")})
    states, applied = driven(WET, 1.0)
    actions = applied[:, :20] * 0.8
    for name, share in (("dry", [0.0, 0.0]), ("wet", [1.0, 0.0]), ("ice", [0.0, 1.0])):
        with torch.no_grad():
            other = alone[name]
            begin = other.start(states, EVERYTHING, applied)
            memory = torch.cat([begin[:, 8:].reshape(1, 2, -1), torch.tensor(share).double().expand(1, 2, 2)], dim=-1)
            found = rollout(model, torch.cat([begin[:, :8], memory.flatten(1)], dim=1), actions)
            torch.testing.assert_close(found[..., :8], rollout(other, begin, actions)[..., :8])


@pytest.mark.parametrize("observed", [EVERYTHING, EVERYTHING & (torch.arange(8) < 6)], ids=["all", "no actuators"])
def test_the_driving_before_a_start_tells_the_regime(observed):
    model = model_of(WET, ICE)
    for friction, expected in ((DRY, [0.0, 0.0]), (WET, [1.0, 0.0]), (ICE, [0.0, 1.0])):
        states, applied = driven(friction, 2.0)
        assert shares(model, states, applied, observed) == pytest.approx(expected, abs=0.02)


def test_straight_driving_tells_nothing_and_no_driving_neither():
    model = model_of(WET)
    assert shares(model, *driven(WET, 2.0, swing=0.0)) == pytest.approx([0.5], abs=0.01)
    states, applied = driven(WET, 2.0)
    assert shares(model, states[:, -1:], applied[:, :0]) == [0.5]
    blind = EVERYTHING & (torch.arange(8) < 4)
    assert shares(model, states, applied, blind) == pytest.approx([0.5], abs=0.05)


def test_more_driving_than_the_memory_wants_changes_the_shares_alone():
    model = model_of(WET)
    states, applied = driven(WET, 2.0)
    with torch.no_grad():
        long, short = (model.prepare(states[:, -n - 1 :], EVERYTHING, applied[:, -n:]) for n in (50, 10))
        begun = start(model, states, EVERYTHING, applied)
    assert long.inputs.shape == short.inputs.shape == (1, 10, 13)
    assert long.shares > short.shares
    assert model.history_s == 2.0
    assert begun.shape == (1, len(model.state_layout)) == (1, 8 + 2 * 5)
    assert begun[0, [12, 17]].tolist() == long.shares[0].expand(2).tolist()


def test_a_passport_keeps_them(tmp_path):
    model = model_of(WET, ICE)
    passport.save(model, tmp_path / "model", passport.Provenance())
    loaded = passport.load(tmp_path / "model").model
    assert loaded.config == model.config
    states, applied = driven(ICE, 2.0)
    torch.testing.assert_close(*(m.start(states, EVERYTHING, applied) for m in (loaded, model)))


def test_regimes_that_make_no_sense_are_refused():
    with pytest.raises(ModelError, match="the kinematic_bicycle model has no friction_front, friction_rear"):
        model_of(WET, base="kinematic_bicycle")
    with pytest.raises(ModelError, match="a model on inertia has no physics"):
        model_of(WET, base="inertia")
    with pytest.raises(ModelError, match="friction_front"):
        model_of({"friction_front": 50.0})
    for others, surprise, reason in (
        ((), (1.0, 1.0), "must name parameters"),
        ((WET, {"friction_front": 1.0}), (1.0, 1.0), "all of them the same"),
        ((WET,), (0.0, 1.0), "surprise"),
        ((WET,), (1.0, float("nan")), "surprise"),
        ((WET,), (1.0, 1.0, 1.0), "surprise"),
        (({"steering_delay": 0.1},), (1.0, 1.0), "steering_delay cannot differ"),
    ):
        with pytest.raises(ModelError, match=reason):
            Regimes(others, 2.0, surprise)
    with pytest.raises(ModelError, match="history_s is 0"):
        Regimes((WET,), 0.0, (1.0, 1.0))
