"""Physics fitted with what a network learned in its place, and turns of both."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.learning.alternation import alternate
from mbrl_ros.learning.driving import find_stretches
from mbrl_ros.learning.group import ALONE
from mbrl_ros.learning.recipe import Recipe, TrainingSettings
from mbrl_ros.learning.reidentification import reidentified
from mbrl_ros.learning.residual import Round, Scaling, learn
from mbrl_ros.learning.training import train
from mbrl_ros.models.identification import Options, identify
from mbrl_ros.models.identification.fit import Knowledge
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import Provenance

DT = 0.05
TRUE = {"wheelbase": 0.33, "understeer": 0.01}
SETTINGS = TrainingSettings(horizon_s=1.0, start_every_s=0.25, block_s=4)


def car(turning=4.0):
    """A bicycle with a residual that is not zero, of ``turning`` rad/s^2 at most: what bends physics alone."""
    torch.manual_seed(0)
    guard = Guard(residual=(2.0, 2.0, turning), longitudinal=12.0, lateral=12.0, sideslip=1.0)
    config = Config(DT, "cg", Base("kinematic_bicycle", "acceleration"), Network("mlp", members=2, hidden=8), guard)
    std = torch.tensor([1.0, 0.3, 2.0, 0.2, 2.0, 0.1, 1.0], dtype=torch.float64)
    mean = torch.tensor([3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    model = LearnedModel(build_base(config, TRUE), config, mean, std).double()
    for parameter in model.head.layers[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def driven(model, seconds=60.0, seed=0):
    """``model`` weaving, its sensors a little noisy."""
    rng = np.random.default_rng(seed)
    time_s = DT * np.arange(round(seconds / DT))
    steering = 0.2 * np.sin(0.9 * time_s) + 0.1 * np.sin(2.3 * time_s + 1.0)
    state, rows, actions = torch.zeros(1, 8, dtype=torch.float64), [], []
    state[0, 3] = 3.0
    for asked in steering:
        action = torch.tensor([[asked, 2.0 * (3.0 - float(state[0, 3]))]], dtype=torch.float64)
        rows.append(state[0].numpy().copy())
        actions.append(action[0].numpy())
        with torch.no_grad():
            state = model(state, action)
    noise = rng.normal(size=(len(rows), 8)) * [0.002, 0.002, 0.001, 0.005, 0.005, 0.005, 0.001, 0.005]
    segment = Segment(1000 + time_s, np.stack(rows) + noise, np.stack(actions), ACTIONS["acceleration"])
    return Drive((segment,), DT, "cg", "made", str(seed))


def knowledge(names, values, reach):
    centre, reach = np.array(values), np.array(reach)
    return Knowledge(names, centre - reach, centre + reach, centre, reach)


def test_with_the_residual_in_place_physics_comes_out_as_it_is_and_alone_it_does_not():
    model = car()
    drive = driven(model)
    wrong = model.with_base(model.base.with_parameters({"wheelbase": 0.36, "understeer": 0.004}))
    wanted = knowledge(("wheelbase", "understeer"), (0.36, 0.004), (0.06, 0.02))
    found = reidentified(wrong, [drive], wanted, SETTINGS, 2)
    assert found["wheelbase"] == pytest.approx(TRUE["wheelbase"], rel=0.03)
    assert found["understeer"] == pytest.approx(TRUE["understeer"], rel=0.1)
    alone = identify([drive], build("kinematic_bicycle", TRUE, dt=DT), Options(horizon_s=1.0, max_windows=60)).model
    assert abs(alone.values()["understeer"] - TRUE["understeer"]) > 5 * abs(found["understeer"] - TRUE["understeer"])
    assert wrong.base.values()["wheelbase"] == 0.36  # nothing changes in place


def test_a_delay_may_be_among_the_parameters():
    model = car()
    drive = driven(model)
    late = model.with_base(model.base.with_parameters({"steering_delay": 0.04}))
    wanted = knowledge(("steering_delay",), (0.04,), (0.04,))
    assert reidentified(late, [drive], wanted, SETTINGS, 1)["steering_delay"] == pytest.approx(0.0, abs=0.005)


RECIPE = {
    "physics": "kinematic_bicycle",
    "identification": {"horizon_s": 1.0, "max_windows": 30},
    "network": {"kind": "mlp", "members": 2, "hidden": 8, "history_s": 0.2},
    "training": {**SETTINGS.model_dump(), "epochs": 5, "batch": 32, "learning_rate": 0.01},
}


def test_a_turn_corrects_physics_that_the_network_may_not_make_up_for(tmp_path):
    """Beside it, the same network trained on for as long on the physics that is wrong."""
    true = car(turning=1.0)
    drive, recipe = driven(true), Recipe.model_validate({**RECIPE, "alternations": 1})
    stretches = find_stretches([drive], true.delay, 0.2, recipe.training)
    wrong = true.base.with_parameters({"wheelbase": 0.39, "understeer": 0.0})
    how = Round(tmp_path, "made", lambda what, share: None, lambda epoch: None, lambda: False, ALONE)
    scaling = Scaling(true.mean, true.std)
    first = learn(wrong, true.config, scaling, stretches, recipe, how)
    on = replace(how, work=tmp_path / "on", fingerprint="on")
    on.work.mkdir()
    control = learn(wrong, true.config, scaling, stretches, recipe, on, begin=first.model)
    names = ("wheelbase", "understeer")
    known = Provenance(std=dict.fromkeys(names, 0.005), identifiable=dict.fromkeys(names, True))
    turned = alternate(first, [drive], stretches, known, recipe, how)
    assert turned.learned.error < 0.95 * control.error
    assert control.error <= first.error
    assert turned.learned.model.base.values()["wheelbase"] < 0.36
    (note,) = turned.notes
    assert f"held-out error {first.error:.4g} to {turned.learned.error:.4g} m" in note


def test_a_recipe_may_ask_for_turns_and_an_interrupted_training_finds_them_again(tmp_path):
    short = {**RECIPE, "training": {**RECIPE["training"], "epochs": 1}, "alternations": 1}
    drive, recipe = driven(car(), seconds=30.0), Recipe.model_validate(short)
    trained = train([drive], recipe, tmp_path)
    assert "turn 1 of physics and network" in " ".join(trained.provenance.notes)
    resumed = train([drive], recipe, tmp_path).model
    pairs = zip(resumed.state_dict().values(), trained.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_without_physics_there_is_nothing_to_alternate_with():
    with pytest.raises(ValueError, match="set them to 0"):
        Recipe.model_validate({**RECIPE, "physics": None, "alternations": 1})
