"""A compiled step is the step of plain torch, forward and back, for whole batches and for what is left of them."""

import pytest
import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.learning import unrolling
from mbrl_ros.learning.driving import find_stretches
from mbrl_ros.learning.examples import examples_for
from mbrl_ros.learning.group import Group
from mbrl_ros.learning.objective import MultiStep
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.learning.unrolling import CompiledPredictions, compiled, predictions, predictions_for
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network
from mbrl_ros.models.parametric import build

DT = 0.05
SETTINGS = TrainingSettings(horizon_s=0.5, start_every_s=0.5, batch=16, epochs=2, block_s=4)


NETWORKS = {
    "gru": ("kinematic_bicycle", Network("gru", members=2, hidden=4, history_s=0.5), 13),
    "mlp": ("single_track", Network("mlp", members=1, hidden=4, history_s=0.5), 7),
}


@pytest.fixture(scope="module", params=NETWORKS)
def car(request):
    """A residual that corrects: fresh ones put out nothing, and gradients stop at their last layer."""
    kind, network, seen = NETWORKS[request.param]
    physics = build(kind, {"wheelbase": 0.33}, dt=DT, integrator="euler")
    config = Config(
        dt=DT, reference_point=physics.reference_point, base=Base(kind, "acceleration"), network=network,
        guard=Guard((3.0, 3.0, 3.0), 10.0, 12.0, 0.5),
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LearnedModel(physics, config, torch.zeros(seen), torch.ones(seen)).float()
        model.base.requires_grad_(False)
        for parameter in model.head.layers[-1].parameters():
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


@pytest.mark.parametrize(
    ("view", "count"), [(0, 16), (1, 16), (0, 5), (1, 37), (0, 0)], ids=["whole", "mirror", "few", "many", "none"]
)
def test_losses_and_gradients_are_those_of_plain_torch(car, examples, fast, view, count):
    rows = torch.arange(count) * 2 + 1
    plain, quick = (MultiStep(car, examples, 0.3, predict) for predict in (predictions, fast))
    wanted, slopes = derived(car, plain, view, rows)
    found, gradients = derived(car, quick, view, rows)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert gradients.keys() == slopes.keys()
    assert not count or min(float(slope.abs().max()) for slope in slopes.values()) > 0
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


def test_short_trainings_and_those_in_bfloat16_are_not_compiled(car, examples):
    assert predictions_for(car, examples, SETTINGS) == (predictions, ())
    half = SETTINGS.model_copy(update={"epochs": 1000, "bfloat16": True})
    assert predictions_for(car, examples, half) == (predictions, ())


def test_a_process_of_several_compiles_its_share_of_the_largest_batch(car, examples, monkeypatch):
    monkeypatch.setattr(unrolling, "compiled", lambda model, examples, width: CompiledPredictions(model.advance, width))
    long = SETTINGS.model_copy(update={"epochs": 1000})
    monkeypatch.setattr(Group, "sum", lambda self, values: values * self.size)
    largest = max(len(rows) for rows in torch.arange(examples.count).chunk(examples.count // 16))
    assert predictions_for(car, examples, long)[0].width == largest
    assert predictions_for(car, examples, long, Group(1, 2))[0].width == (largest + 1) // 2


def test_without_a_compiler_a_long_training_goes_on_in_plain_torch_and_says_so(car, examples, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    predict, (note,) = predictions_for(car, examples, SETTINGS.model_copy(update={"epochs": 1000}))
    assert predict is predictions
    assert "no-such-compiler" in note
    assert "install" in note


def test_a_compiler_that_ends_with_the_training_is_not_complained_of(car, examples, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    long = SETTINGS.model_copy(update={"epochs": 1000})
    assert predictions_for(car, examples, long, stop=lambda: True) == (predictions, ())


def test_a_process_whose_neighbour_cannot_compile_goes_on_like_it(car, examples, monkeypatch):
    monkeypatch.setattr(unrolling, "compiled", lambda model, examples, width: CompiledPredictions(model.advance, width))
    monkeypatch.setattr(Group, "sum", lambda self, values: values + 1)  # the other process failed
    predict, (note,) = predictions_for(car, examples, SETTINGS.model_copy(update={"epochs": 1000}), Group(0, 2))
    assert predict is predictions
    assert "another process" in note


def test_compiling_is_told_of(car, examples, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    said = []
    long = SETTINGS.model_copy(update={"epochs": 1000})
    predictions_for(car, examples, long, tell=lambda what, share: said.append((what, share)))
    assert said == [("compiling the step", 0.0)]


def test_what_torch_cannot_compile_is_said_with_its_reason(car, examples, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("no room\nfor this")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refused)
    with pytest.raises(ModelError, match=r"cannot compile a step: RuntimeError: no room$"):
        compiled(car, examples, 16)
