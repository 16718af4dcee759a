"""Ensembles and recurrent models without physics, really trained on a minute of driving."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.config import parse_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.evaluation.fitting import held_out_scores, training_parts
from mbrl_ros.learning.driving import find_stretches
from mbrl_ros.learning.examples import examples_for
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.training import train
from mbrl_ros.models.learned.propagation import sampled_rollout

SPLIT = "time:0.75"
ENSEMBLE = {
    "physics": None,
    "identification": {"horizon_s": 1.0, "max_windows": 30},
    "network": {"kind": "mlp", "members": 4, "elites": 2, "probabilistic": True, "hidden": 32, "history_s": 0.2},
    "training": {
        "horizon_s": 0.0, "start_every_s": 0.05, "epochs": 40, "batch": 32, "learning_rate": 0.01, "bootstrap": True,
        "gradient_norm": 10.0, "block_s": 4,
    },
}  # fmt: skip
RECURRENT = {
    "physics": None,
    "identification": {"horizon_s": 1.0, "max_windows": 30},
    "network": {"kind": "lstm", "members": 1, "hidden": 12, "history_s": 0.5},
    "training": {
        "horizon_s": 1.0, "start_every_s": 0.25, "epochs": 8, "batch": 32, "learning_rate": 0.01, "block_s": 4,
    },
}  # fmt: skip


def learn(drive, work: Path, recipe):
    return train(training_parts([drive], SPLIT), Recipe.model_validate(recipe), work).model


def error(model, drive):
    (score,), _ = held_out_scores(model, [drive], SPLIT, (1.0,))
    return score.ade_m


def test_ensemble(hilly_drive, tmp_path):
    model = learn(hilly_drive, tmp_path, ENSEMBLE)
    assert model.kind == "nonparametric"
    assert len(model.config.network.elites) == 2
    standing_still = model.double()
    with torch.no_grad():
        learned = error(model, hilly_drive)
        standing_still.head.layers[-1].weight.zero_()
        standing_still.head.layers[-1].bias.zero_()
    assert learned < 0.5 * error(standing_still, hilly_drive)


def test_products_in_bfloat16_learn_as_well(hilly_drive, tmp_path):
    exact = error(learn(hilly_drive, tmp_path / "exact", ENSEMBLE), hilly_drive)
    short = {**ENSEMBLE, "training": {**ENSEMBLE["training"], "bfloat16": True}}
    model = learn(hilly_drive, tmp_path / "short", short)
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())
    assert error(model, hilly_drive) < 1.2 * exact


def test_members_learn_from_draws_of_their_own_and_are_compared_on_the_same(hilly_drive, tmp_path):
    recipe = Recipe.model_validate({**ENSEMBLE, "training": {**ENSEMBLE["training"], "epochs": 1}})
    model = train(training_parts([hilly_drive], SPLIT), recipe, tmp_path).model
    stretches = find_stretches([hilly_drive], torch.zeros(2), 0.2, recipe.training)
    examples = examples_for(model, stretches, recipe.training, tmp_path)
    weight, held_out = examples.weight, examples.held_out
    assert (held_out == held_out[0]).all()
    assert not weight[held_out].any()
    assert weight.sum(dim=1).tolist() == (~held_out).sum(dim=1).tolist()
    assert 0.55 < float((weight[~held_out] > 0).float().mean()) < 0.72  # 1 - 1 / e
    assert len({tuple(row.tolist()) for row in weight}) == 4


def test_it_knows_how_uncertain_it_is(hilly_drive, tmp_path):
    """Of recorded steps as many lie within one standard deviation as should, give or take."""
    model = learn(hilly_drive, tmp_path, ENSEMBLE)
    recipe = Recipe.model_validate(ENSEMBLE)
    (_, held_out) = np.split(np.array([hilly_drive.start_s, hilly_drive.end_s]), 2)
    part = hilly_drive.between(hilly_drive.start_s + 0.75 * (held_out[0] - hilly_drive.start_s), held_out[0])
    stretches = find_stretches([part], torch.zeros(2), 0.2, recipe.training)
    examples = examples_for(model, stretches, recipe.training, tmp_path)
    samples = sampled_rollout(
        model, examples.car[0].double(), examples.applied[0].double(), samples=200, mode="tsinf",
        generator=torch.Generator().manual_seed(0),
    )[:, :, 1, 3]  # fmt: skip
    inside = (examples.driven[0, :, 0, 3] - samples.mean(dim=0)).abs() < samples.std(dim=0)
    assert 0.45 < float(inside.double().mean()) < 0.95


def test_learning_many_steps_beats_learning_single_ones(hilly_drive, tmp_path):
    single = {**RECURRENT, "training": {**RECURRENT["training"], "horizon_s": 0.0}}
    many, one = (error(learn(hilly_drive, tmp_path / n, r), hilly_drive) for n, r in (("m", RECURRENT), ("o", single)))
    assert many < 0.85 * one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": None}, "nothing to train"),
        ({"network": {**ENSEMBLE["network"], "kind": "gru"}}, "a probabilistic network is an mlp"),
        ({"training": {"horizon_s": 1.0}}, "a probabilistic network is an mlp"),
        ({"network": {**ENSEMBLE["network"], "elites": 5}}, "5 elites of 4 members"),
    ],
)
def test_recipes_that_make_no_sense(change, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings({**ENSEMBLE, **change}, Recipe, "recipe.yaml")
