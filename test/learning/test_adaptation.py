"""Grip that drops: what an adaptation makes of it, and what it must not forget."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.learning.adaptation import AdaptationSettings, adapt
from mbrl_ros.learning.recipe import Recipe, TrainingSettings
from mbrl_ros.learning.regimes import with_regime, without_regimes
from mbrl_ros.learning.training import train
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build

DT = 0.05
CAR = {"wheelbase": 0.33, "stiffness_front": 5.0, "stiffness_rear": 6.0, "steering_delay": 0.05}
RECIPE = {
    "physics": "single_track",
    "identification": {"horizon_s": 0.5, "max_windows": 30, "parameters": CAR},
    "network": {"kind": "gru", "members": 1, "hidden": 8, "history_s": 0.5},
    "training": {"horizon_s": 0.5, "start_every_s": 0.25, "epochs": 3, "batch": 32, "block_s": 4},
}  # fmt: skip
QUICK = {"horizon_s": 1.0, "start_every_s": 0.25}


def model_of(friction, **config):
    return build("single_track", {**CAR, "friction_front": friction, "friction_rear": friction}, dt=DT, **config)


def driven(friction, seconds, swing, seed):
    """A car on tyres of that ``friction``, weaving with ``swing`` rad, its sensors a little noisy."""
    car, rng = model_of(friction, substeps=2), np.random.default_rng(seed)
    time_s = DT * np.arange(round(seconds / DT))
    first, second = rng.uniform(0, 2 * np.pi, 2)
    steering = swing * (0.7 * np.sin(0.9 * time_s + first) + 0.4 * np.sin(2.3 * time_s + second))
    state, rows, actions = torch.zeros(8, dtype=torch.float64), [], []
    state[3] = 4.0
    for k, asked in enumerate(steering):
        action = np.array([asked, 2 * (4.0 - float(state[3]))])
        rows.append(state.numpy().copy())
        actions.append(action)
        acting = torch.tensor([steering[max(k - 1, 0)], action[1]])
        with torch.no_grad():
            state = car(state, acting)
    states = np.stack(rows) + rng.normal(size=(len(rows), 8)) * [0.003, 0.003, 0.002, 0.01, 0.01, 0.01, 0.002, 0.01]
    segment = Segment(1000 + time_s, states, np.stack(actions), ACTIONS["acceleration"])
    return Drive((segment,), DT, "cg", f"mu {friction}, seed {seed}", f"{friction}-{seed}")


def loaded(model):
    return passport.in_memory(model)


def test_lost_grip_is_found_and_gentle_driving_not_forgotten():
    new, old = driven(0.7, 20, swing=0.22, seed=1), driven(1.0, 25, swing=0.06, seed=2)
    adapted = adapt(loaded(model_of(1.0)), [new], [old], AdaptationSettings(**QUICK))
    assert adapted.after.new_m < 0.5 * adapted.before.new_m
    assert adapted.after.old_m < 1.2 * adapted.before.old_m
    assert adapted.model.values()["friction_front"] == pytest.approx(0.7, abs=0.08)
    assert adapted.changed["friction_rear"] == (1.0, adapted.model.values()["friction_rear"])


def test_what_replayed_driving_contradicts_is_not_learned():
    new, old = driven(0.7, 20, swing=0.22, seed=1), driven(1.0, 25, swing=0.22, seed=2)
    settings = AdaptationSettings(**QUICK)
    adapted = adapt(loaded(model_of(1.0)), [new], [old], settings)
    assert adapted.after.old_m <= settings.most_m(adapted.before.old_m)
    careless = adapt(loaded(model_of(1.0)), [new], [old], settings.model_copy(update={"forgetting_floor_m": 10.0}))
    assert careless.after.new_m < 0.5 * adapted.after.new_m
    assert careless.after.old_m > 1.2 * careless.before.old_m


def test_millimetres_are_no_forgetting():
    settings = AdaptationSettings(forgetting=0.1, forgetting_floor_m=0.001)
    assert settings.most_m(0.002) == pytest.approx(0.003)
    assert settings.most_m(0.010) == pytest.approx(0.011)
    assert settings.most_m(0.100) == pytest.approx(0.110)


def test_no_step_is_longer_than_allowed():
    new, old = driven(0.7, 20, swing=0.22, seed=1), driven(1.0, 25, swing=0.06, seed=2)
    adapted = adapt(loaded(model_of(1.0)), [new], [old], AdaptationSettings(**QUICK, friction_step=0.1))
    assert adapted.after.new_m < adapted.before.new_m
    assert min(adapted.model.values()[name] for name in ("friction_front", "friction_rear")) >= 0.9 - 1e-9


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    trained = train([driven(1.0, 40, swing=0.2, seed=3)], Recipe.model_validate(RECIPE), tmp_path_factory.mktemp("w"))
    return passport.in_memory(trained.model, trained.provenance)


def test_a_residual_learns_the_new_and_keeps_the_old(learned):
    new, old = driven(0.6, 15, swing=0.22, seed=1), driven(1.0, 15, swing=0.2, seed=2)
    settings = AdaptationSettings(horizon_s=0.5, start_every_s=0.25, epochs=30, learning_rate=0.02)
    adapted = adapt(learned, [new], [old], settings)
    assert adapted.after.new_m < 0.5 * adapted.before.new_m
    assert adapted.after.old_m <= settings.most_m(adapted.before.old_m)
    assert adapted.provenance.notes[-1] == f"adapted from {learned.id}"
    assert adapted.provenance.uncertainty != learned.passport.uncertainty  # calibrated on both


def test_tyres_that_replayed_driving_contradicts_become_another_regime(learned):
    new, old = driven(0.5, 20, swing=0.22, seed=1), driven(1.0, 20, swing=0.22, seed=2)
    settings = AdaptationSettings(horizon_s=1.0, start_every_s=0.25, epochs=1, learning_rate=1e-6, regime_s=2.0)
    adapted = adapt(learned, [new], [old], settings)
    assert adapted.regime["friction_front"] == pytest.approx(0.5, abs=0.08)
    assert adapted.changed == {}
    assert adapted.after.new_m < 0.4 * adapted.before.new_m
    assert adapted.after.old_m < 1.05 * adapted.before.old_m
    alone = adapt(learned, [new], [old], settings.model_copy(update={"regimes": 1}))
    assert alone.regime == {}
    assert adapted.after.new_m < 0.6 * alone.after.new_m


def test_a_regime_that_is_known_is_replaced_and_of_too_many_the_nearest_make_place(learned):
    settings = TrainingSettings(horizon_s=1.0, start_every_s=0.25)
    drives, history_s = [[driven(0.6, 20, swing=0.2, seed=1)]], 2.0

    def told(model, mu, most):
        return with_regime(model, mus(mu), drives, settings, most=most, history_s=history_s)

    def mus(mu):
        return {"friction_front": mu, "friction_rear": mu}

    own, wet, ice = learned.model.base.values(), mus(0.6), mus(0.3)
    one = told(learned.model, 0.6, 3)
    two = told(one, 0.3, 3)
    assert sorted(two.config.regimes.others, key=lambda other: other["friction_front"]) == [ice, wet]
    assert told(two, 0.29, 3).config.regimes.others == (wet, mus(0.29))  # the same ice
    assert told(two, 0.4, 3).config.regimes.others == (wet, mus(0.4))  # by a quarter of it nearer than wet
    assert told(two, 0.4, 2).config.regimes.others == (mus(0.4),)
    same = {name: 1.02 * own[name] for name in wet}
    unchanged = with_regime(two, same, drives, settings, most=3, history_s=history_s)
    assert unchanged.config == two.config
    # In stretches on that friction its own physics is surprised by noise alone, which the others would not be.
    assert two.config.regimes.surprise == pytest.approx(one.config.regimes.surprise, rel=0.2)
    assert without_regimes(two).state_layout == learned.model.state_layout


def test_driving_at_another_rate_is_refused():
    drive = driven(1.0, 20, swing=0.1, seed=1)
    with pytest.raises(ModelError, match="--rate 40"):
        adapt(loaded(build("single_track", CAR, dt=0.025)), [drive], [drive])
