"""Steps of the training loop itself, on an objective that is an equation."""

from types import SimpleNamespace

import pytest
import torch

from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.learning.trainer import Trainer
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base

RATE = 0.01
USUAL = torch.tensor([0.01, 0.1, 1.0])


class Toy:
    """Outputs are to be large: every gradient of the last layer has the same sign at every step."""

    usual = USUAL

    def __init__(self, count, better=True):
        self.better = better
        self.examples = SimpleNamespace(
            count=count, views=1, held_out=torch.zeros(1, count, dtype=torch.bool), weight=torch.ones(1, count)
        )
        self.batches = []

    def losses(self, model, view, rows):
        self.batches.append(rows)
        outputs = model.head(torch.ones(1, len(model.mean), len(rows)))
        return SimpleNamespace(loss=-outputs.sum(dim=1))

    def held_out(self, model, group):
        done = torch.tensor([float(len(self.batches))])
        return -done if self.better else done


@pytest.fixture
def model():
    network = Network("mlp", hidden=4, layers=1)
    guard = Guard((3.0, 3.0, 3.0), 10.0, 10.0, 1.0)
    config = Config(0.05, "cg", Base("kinematic_bicycle", "acceleration"), network, guard)
    made = LearnedModel(build_base(config, {}), config, torch.zeros(7), torch.ones(7)).float()
    made.base.requires_grad_(False)
    return made


def run(model, folder, count=8, better=True, **changes):
    toy = Toy(count, better)
    settings = TrainingSettings(epochs=1, learning_rate=RATE, weight_decay=0.0, batch=8, **changes)
    Trainer(model, toy, settings, folder, "toy").run()
    return toy


@pytest.mark.parametrize(("in_proportion", "reach"), [(True, RATE * USUAL.sqrt()), (False, torch.full((3,), RATE))])
def test_the_last_layer_moves_as_far_as_is_usual_or_all_alike(model, tmp_path, in_proportion, reach):
    run(model, tmp_path, in_proportion=in_proportion)  # Adam's first step is the learning rate
    torch.testing.assert_close(model.head.layers[-1].bias[0, 0], reach, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("least", "steps"), [(1, 3), (4, 6), (6, 6)])
def test_few_examples_are_passed_over_until_an_epoch_has_its_steps(model, tmp_path, least, steps):
    toy = run(model, tmp_path, count=24, epoch_steps=least)
    assert len(toy.batches) == steps
    passed = torch.cat(toy.batches).view(steps // 3, 24).sort(dim=1).values
    assert (passed == torch.arange(24)).all()


def test_what_never_gets_better_than_physics_stays_physics(model, tmp_path):
    toy = run(model, tmp_path, better=False)
    assert toy.batches
    assert not model.head.layers[-1].bias.any()
