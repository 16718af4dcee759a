"""From a recording to a model that predicts better than its physics, whatever happens on the way."""

import copy

import numpy as np
import pytest
import safetensors.torch
import torch

from mbrl_ros.core.errors import ConfigError, DataError, ModelError
from mbrl_ros.core.layout import VX, VY, YAW, YAW_RATE, Y
from mbrl_ros.evaluation.fitting import held_out_scores, training_parts
from mbrl_ros.learning.driving import find_stretches
from mbrl_ros.learning.examples import examples_for, held_out_windows
from mbrl_ros.learning.objective import MultiStep
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.trainer import CHECKPOINT_FILE
from mbrl_ros.learning.training import Progress, train
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build

SPLIT = "time:0.75"
QUICK = {
    "physics": "kinematic_bicycle",
    "identification": {"horizon_s": 1.0, "max_windows": 40},
    "network": {"kind": "gru", "members": 2, "hidden": 8, "history_s": 0.5},
    "training": {
        "horizon_s": 1.0, "start_every_s": 0.25, "epochs": 4, "batch": 32, "learning_rate": 0.01, "block_s": 4,
    },
}  # fmt: skip
"""A recipe of seconds."""


def recipe(**changes):
    parts = {name: {**QUICK[name], **changes.pop(name, {})} for name in ("identification", "network", "training")}
    return Recipe.model_validate({**QUICK, **parts, **changes})


def learn(drive, work, how=None, **listening):
    return train(training_parts([drive], SPLIT), how or recipe(), work, Progress(**listening)).model


@pytest.fixture(scope="module")
def trained(hilly_drive, tmp_path_factory):
    epochs = []
    work = tmp_path_factory.mktemp("work")
    model = learn(hilly_drive, work, trained=epochs.append)
    return model, work, epochs


def untrained(model):
    """The same with a residual of zero: its base."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.head.layers[-1].parameters():
            parameter.zero_()
    return twin


def error(model, drive):
    (score,), _ = held_out_scores(model, [drive], SPLIT, (1.0,))
    return score.ade_m


def name_of(model):
    return passport.model_id(*passport.to_bytes(model))


def test_it_predicts_what_physics_cannot(trained, hilly_drive):
    model, _, _ = trained
    assert error(model, hilly_drive) < 0.6 * error(untrained(model), hilly_drive)


def test_progress_is_told(trained):
    _, _, epochs = trained
    assert [(epoch.number, epoch.of) for epoch in epochs] == [(k, 4) for k in (1, 2, 3, 4)]
    assert epochs[-1].loss < epochs[0].loss
    assert all(len(epoch.held_out) == 2 for epoch in epochs)
    assert epochs[-1].best == tuple(np.min([epoch.held_out for epoch in epochs], axis=0))


def test_killed_after_any_epoch_it_goes_on_to_the_same_end(trained, hilly_drive, tmp_path):
    def killed(epoch):
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            learn(hilly_drive, tmp_path, trained=killed)
    epochs = []
    model = learn(hilly_drive, tmp_path, trained=epochs.append)
    assert [epoch.number for epoch in epochs] == [4]
    assert name_of(model) == name_of(trained[0])  # and thereby: the same seed gives the same weights


def test_done_it_is_not_done_again(trained, hilly_drive):
    model, work, _ = trained
    epochs = []
    assert name_of(learn(hilly_drive, work, trained=epochs.append)) == name_of(model)
    assert epochs == []


def test_another_seed_gives_another_model(trained, hilly_drive, tmp_path):
    assert name_of(learn(hilly_drive, tmp_path, recipe(training={"seed": 1, "epochs": 1}))) != name_of(trained[0])


def test_another_training_is_not_gone_on_with(trained, hilly_drive):
    _, work, _ = trained
    with pytest.raises(ConfigError, match="belongs to a training with another recipe"):
        learn(hilly_drive, work, recipe(training={"epochs": 9}))


def test_a_damaged_checkpoint_is_named(trained, hilly_drive, tmp_path):
    (tmp_path / CHECKPOINT_FILE).write_bytes((trained[1] / CHECKPOINT_FILE).read_bytes()[:1000])
    with pytest.raises(ConfigError, match="damaged"):
        learn(hilly_drive, tmp_path)


def test_members_are_kept_at_their_own_best(hilly_drive, tmp_path):
    """With a learning rate that is too high, the model is that of its members' best epochs."""
    epochs = []
    model = learn(hilly_drive, tmp_path, recipe(training={"learning_rate": 0.1}), trained=epochs.append)
    kept = safetensors.torch.load_file(tmp_path / CHECKPOINT_FILE)
    assert kept["errors"].tolist() == pytest.approx(np.min([epoch.held_out for epoch in epochs], axis=0))
    assert torch.equal(kept["best.head.layers.0.weight"].double(), model.head.layers[0].weight)


def test_a_loss_that_is_not_finite_says_what_to_do(hilly_drive, tmp_path):
    with pytest.raises(ModelError, match="loss is not finite in epoch 1: lower learning_rate"):
        learn(hilly_drive, tmp_path, recipe(training={"learning_rate": 1e37}))


def test_too_little_driving_says_what_to_do(hilly_drive, tmp_path):
    little = hilly_drive.between(hilly_drive.start_s, hilly_drive.start_s + 9.0)
    with pytest.raises(DataError, match="too few to learn from"):
        learn(little, tmp_path)


def test_physics_alone(hilly_drive, tmp_path):
    model = learn(hilly_drive, tmp_path, Recipe.model_validate({**QUICK, "network": None}))
    assert model.kind == "kinematic_bicycle"
    assert model.values()["wheelbase"] == pytest.approx(0.33, rel=0.02)


def test_without_physics(hilly_drive, tmp_path):
    model = learn(hilly_drive, tmp_path, recipe(physics=None, training={"epochs": 8}))
    assert model.kind == "nonparametric"
    assert error(model, hilly_drive) < 0.7 * error(untrained(model), hilly_drive)


def test_members_are_stopped_by_different_driving():
    block = np.repeat(np.arange(10), 7)
    held_out = held_out_windows(block, 5, recipe().training).numpy()
    assert held_out.sum(axis=0).tolist() == [1] * 70
    for member in held_out:
        assert len(set(block[member])) == 2
        assert not set(block[member]) & set(block[~member])


def test_the_mirror_image_is_a_left_turn_for_a_right_turn(hilly_drive):
    driving = find_stretches([hilly_drive], torch.tensor([0.0, 0.0]), 0.5, recipe().training).sample()
    mirrored = driving.mirrored
    for column in (Y, YAW, VY, YAW_RATE):
        assert torch.equal(mirrored.states[..., column], -driving.states[..., column])
    assert torch.equal(mirrored.states[..., VX], driving.states[..., VX])
    assert torch.equal(mirrored.applied[..., 0], -driving.applied[..., 0])
    assert torch.equal(mirrored.applied[..., 1], driving.applied[..., 1])
    assert torch.equal(mirrored.mirrored.states, driving.states)


def test_a_car_that_is_off_to_one_side_is_off_to_the_other_in_the_mirror(trained, hilly_drive, tmp_path):
    """Else half of what is learned from is driving that the base gets wrong as no car does."""
    model = copy.deepcopy(trained[0])
    model = model.with_base(model.base.with_parameters({"steering_offset": 0.05, "heading_offset": 0.02}))
    stretches = find_stretches([hilly_drive], model.delay, model.history_s, recipe().training)
    examples = examples_for(model, stretches, recipe().training, tmp_path)
    base = untrained(model).float()
    objective, rows = MultiStep(base, examples, 0.3), torch.arange(examples.count)
    with torch.no_grad():
        seen, mirrored = (objective.losses(base, view, rows).loss for view in range(2))
    torch.testing.assert_close(mirrored, seen, rtol=1e-3, atol=1e-3)
    assert base.mirrored().mirrored().base.values() == base.base.values()


def test_a_parameter_on_its_bound_is_mirrored_in_single_precision_too():
    """Where a bound is further off than rounding takes it, a new check would refuse what was found."""
    car = build("single_track", {"curvature_rear": 0.99, "heading_offset": 0.2}, dt=0.04).float()
    assert car.mirrored().values()["heading_offset"] == pytest.approx(-0.2)
    assert car.mirrored().values()["curvature_rear"] == car.values()["curvature_rear"]
