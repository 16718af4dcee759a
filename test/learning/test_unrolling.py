"""A compiled step is the step of plain torch, forward and back, for whole batches and for what is left of them."""

import pytest
import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.learning import unrolling
from mbrl_ros.learning.driving import find_stretches
from mbrl_ros.learning.examples import examples_for
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.objective import MultiStep
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.learning.unrolling import CompiledPredictions, compiled, predictions, predictions_for
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network
from mbrl_ros.models.parametric import build

DT = 0.05
SETTINGS = TrainingSettings(horizon_s=0.5, start_every_s=0.5, batch=16, epochs=2, block_s=4)


@pytest.fixture(scope="module")
def car():
    """A recurrent residual that corrects: fresh ones put out nothing, and gradients stop at their last layer."""
    physics = build("kinematic_bicycle", {"wheelbase": 0.33}, dt=DT, integrator="euler")
    config = Config(
        dt=DT, reference_point=physics.reference_point, base=Base("kinematic_bicycle", "acceleration"),
        network=Network("gru", members=2, hidden=4, history_s=0.5), guard=Guard((3.0, 3.0, 3.0), 10.0, 12.0, 0.5),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LearnedModel(physics, config, torch.zeros(13), torch.ones(13)).float()
        model.base.requires_grad_(False)
        for parameter in model.head.parameters():
            torch.nn.init.uniform_(parameter, -0.5, 0.5)
    return model


@pytest.fixture(scope="module")
def examples(car, hilly_drive, tmp_path_factory):
    stretches = find_stretches([hilly_drive], car.delay, car.history_s, SETTINGS)
    return examples_for(car.double(), stretches, SETTINGS, tmp_path_factory.mktemp("examples"))


@pytest.fixture(scope="module")
def fast(car, examples):
    return compiled(car.float(), examples, 16)


def derived(model, objective, view, rows):
    model.zero_grad()
    loss = objective.losses(model, view, rows).loss
    loss.sum().backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("view", "count"), [(0, 16), (1, 16), (0, 5), (1, 37)], ids=["whole", "mirror", "few", "many"])
def test_losses_and_gradients_are_those_of_plain_torch(car, examples, fast, view, count):
    rows = torch.arange(count) * 2 + 1
    plain, quick = (MultiStep(car, examples, 0.3, predict) for predict in (predictions, fast))
    wanted, slopes = derived(car, plain, view, rows)
    found, gradients = derived(car, quick, view, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == slopes.keys()
    assert min(float(slope.abs().max()) for slope in slopes.values()) > 0
    for name, slope in slopes.items():
        torch.testing.assert_close(gradients[name], slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()), msg=name)


def test_held_out_errors_are_those_of_plain_torch_and_keep_no_graph(car, examples, fast):
    plain, quick = (MultiStep(car, examples, 0.3, predict) for predict in (predictions, fast))
    torch.testing.assert_close(quick.held_out(car), plain.held_out(car), rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        assert not fast(car, examples, 0, torch.arange(3)).requires_grad


def test_whatever_the_batch_one_version_of_the_step_is_compiled(car, examples, fast):
    """Each further one would take half a minute, and after a few of them torch gives up."""
    with torch.compiler.set_stance("fail_on_recompile"):
        for view, count in ((0, 16), (1, 16), (1, 3), (0, 40)):
            fast(car, examples, view, torch.arange(count)).sum().backward()
        with torch.no_grad():
            fast(car, examples, 0, torch.arange(20))
        with pytest.raises(RuntimeError, match="recompile"):
            CompiledPredictions(fast.advance, 7)(car, examples, 0, torch.arange(7))


def test_short_trainings_are_not_compiled(car, examples):
    assert predictions_for(car, examples, SETTINGS, ALONE) == (predictions, ())


def test_a_process_of_several_compiles_its_share_of_the_largest_batch(car, examples, monkeypatch):
    monkeypatch.setattr(unrolling, "compiled", lambda model, examples, width: CompiledPredictions(model.advance, width))
    long = SETTINGS.model_copy(update={"epochs": 1000})
    largest = max(len(rows) for rows in torch.arange(examples.count).chunk(examples.count // 16))
    assert predictions_for(car, examples, long, ALONE)[0].width == largest
    assert predictions_for(car, examples, long, Group(1, 2))[0].width == (largest + 1) // 2


def test_without_a_compiler_a_long_training_goes_on_in_plain_torch_and_says_so(car, examples, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    predict, (note,) = predictions_for(car, examples, SETTINGS.model_copy(update={"epochs": 1000}), ALONE)
    assert predict is predictions
    assert "no-such-compiler" in note
    assert "install" in note


def test_what_torch_cannot_compile_is_said_with_its_reason(car, examples, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("no room\nfor this")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refused)
    with pytest.raises(ModelError, match=r"cannot compile a step: RuntimeError: no room$"):
        compiled(car, examples, 16)
