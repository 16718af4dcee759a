"""The fused kernels, compiled for this processor, against the torch equations; and on a GPU, where there is one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import delayed
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, Regimes, build_base
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build, build_for
from mbrl_ros.models.stepping import Held
from mbrl_ros.planning.cuda import device
from mbrl_ros.planning.cuda.host import HostKernels
from mbrl_ros.planning.cuda.kernels import Launch
from mbrl_ros.planning.cuda.problem import KernelProblem, UnfitError
from mbrl_ros.planning.cuda.update import FusedUpdate, Guess
from mbrl_ros.planning.members import EachMember
from mbrl_ros.planning.noise import coloured_noise, spline_noise, white_noise
from mbrl_ros.planning.weighting import effective_sample_size, weigh

HORIZON, DT = 40, 0.05
STD = np.array([0.15, 2.0])
SPLINE = spline_noise(HORIZON, DT, 0.25)
AGREEMENT = {"rtol": 1e-3, "atol": 1e-3}
"""Of costs after 40 steps, single against double precision: roundings grow by the sensitivity of the car."""

GUARD = Guard((3.0, 3.0, 5.0), 8.0, 9.0, 0.8)
EXTRAS = {
    "kinematic_bicycle": {"understeer": 0.02, "steering_lag": 0.1, "steering_rate_limit": 3.0, "drag": 0.01},
    "single_track": {
        "curvature_front": -0.7,
        "curvature_rear": 0.4,
        "cg_height_ratio": 0.2,
        "cornering_drag": 0.4,
        "rolling_resistance": 0.2,
        "drive_lag": 0.15,
        "drive_rate_limit": 30.0,
        "heading_offset": 0.03,
        "velocity_scale": 1.05,
        "steering_delay": 0.12,
        "drive_delay": 0.05,
    },
}


def learned(physics, seed=0, regimes=None):
    """Physics and a random residual of three members, two of which count; two of its steps make one of the plan."""
    torch.manual_seed(seed)
    network = Network("mlp", members=3, hidden=24, sees="predicted", elites=(0, 2), probabilistic=True)
    config = Config(DT / 2, "cg", Base("single_track", "acceleration", integrator="heun"), network, GUARD, regimes)
    base = build_base(config, physics.values())
    mean, std = torch.tensor([3.0, 0.0, 0.0, 0.1, 0.5, 0.0, 0.0]), torch.full((7,), 1.5)
    model = LearnedModel(base, config, mean, std).double()
    torch.nn.init.normal_(model.head.layers[-1].weight, std=0.5)
    return Held(model, 2)


SLIPPERY = Regimes(({"friction_front": 0.3, "friction_rear": 0.35},), 2.0, (1.0, 1.0))

MODELS = {
    "kinematic": lambda car: build_for(car, "kinematic_bicycle", dt=DT),
    "kinematic, all of it": lambda car: build(
        "kinematic_bicycle",
        EXTRAS["kinematic_bicycle"],
        dt=DT,
        integrator="euler",
        substeps=2,
        reference_point="rear_axle",
    ),
    "single track": lambda car: build_for(car, "single_track", dt=DT),
    "single track, all of it": lambda car: build("single_track", EXTRAS["single_track"], dt=DT),
    "residual": lambda car: learned(build_for(car, "single_track", dt=DT)),
    "residual, in regimes": lambda car: learned(build_for(car, "single_track", dt=DT), regimes=SLIPPERY),
}


def begun(model, start):
    """The state that a rollout begins with: half and more on ice where the model knows of it."""
    return torch.cat([start, 0.6 * torch.ones(len(model.state_layout) - len(start))])


@dataclass
class Planned:
    """An update, and what it began with."""

    model: object
    task: object
    update: FusedUpdate
    guess: Guess


def guess_at(start, past=4, seed=0, **changes):
    """A plan about which to sample; of the samples some are at a bound."""
    rng = np.random.default_rng(seed)
    sequence = lambda: (np.cumsum(rng.normal(size=(HORIZON, 2)), axis=0) * 0.1 * STD).astype(np.float32)  # noqa: E731
    given = {
        "state": start.double().numpy(),
        "nominal": sequence(),
        "previous": sequence(),
        "past": rng.normal(size=(past, 2)) * STD,
        "pull": 0.02 * rng.normal(size=(HORIZON, 2)),
        "temperature": 0.3,
        "effective_share": 0.1,
    }
    return Guess(**{**given, **changes})


def planned(model, task, start, *, shapes=(SPLINE, SPLINE), rollouts=203, kernels=HostKernels, key=0, **changes):
    problem = KernelProblem(model, task, shapes)
    update = FusedUpdate(problem, kernels(problem.source()), rollouts, STD, key)
    return Planned(model, task, update, guess_at(begun(model, start), **changes))


@pytest.fixture
def kinematic(vehicle, race, start):
    return planned(MODELS["kinematic"](vehicle), race, start)


def reference_costs(one):
    """Costs of the update's samples, in torch and double precision."""
    commands = torch.tensor(one.update.commands()).double()
    with torch.no_grad():
        applied = delayed(commands, one.model.delay / DT, len(one.guess.past), dim=-3).permute(2, 0, 1)
        states = rollout(one.model, torch.tensor(one.guess.state).expand(len(applied), -1), applied)
        return -one.task.reward(states[:, :-1], applied, states[:, 1:]).sum(dim=1)


@pytest.mark.parametrize("name", MODELS)
def test_costs_are_those_of_the_torch_model_and_task(name, vehicle, race, start):
    """Whatever parameters, delays, integrator and weights."""
    for seed, speed in enumerate((3.0, 0.2)):
        begin = start.clone()
        begin[3:] = torch.tensor([speed, 0.1, -0.4, 0.1, 0.5])
        one = planned(MODELS[name](vehicle), race, begin, seed=seed)
        one.update(one.guess)
        costs = torch.tensor(one.update.costs()).double()
        torch.testing.assert_close(costs, reference_costs(one), **AGREEMENT)
        assert costs.std() > 1.0


@pytest.mark.parametrize("name", MODELS)
def test_traces_are_those_of_the_torch_model_and_task_term_by_term(name, vehicle, race, start):
    one = planned(MODELS[name](vehicle), race, start)
    applied = np.random.default_rng(1).normal(size=(37, HORIZON, 2)) * STD  # more than are traced at a time
    begin = begun(one.model, start)
    states, costs = one.update.trace(begin.numpy(), applied)
    with torch.no_grad():
        actions = torch.tensor(applied)
        expected = rollout(one.model, begin.double().expand(37, -1), actions)
        terms = race.terms(expected[:, :-1], actions, expected[:, 1:])
    np.testing.assert_allclose(states, expected[..., :8].numpy(), rtol=1e-3, atol=2e-3)
    by_term = torch.stack([-terms[term].sum(dim=1) for term in race.term_names], dim=1)
    np.testing.assert_allclose(costs, by_term.numpy(), **AGREEMENT)


def test_changes_in_place_take_effect_at_once(kinematic):
    kinematic.update(kinematic.guess)
    before = kinematic.update.costs().copy()
    with torch.no_grad():
        kinematic.model.wheelbase.fill_(0.5)
        kinematic.task.progress_weight.mul_(2.0)
        kinematic.task.forward_demand.fill_(3.0)
        kinematic.task.braking_demand.fill_(2.0)
        kinematic.task.cap_speed(2.0)
    kinematic.update.restart()
    kinematic.update(kinematic.guess)
    after = torch.tensor(kinematic.update.costs()).double()
    torch.testing.assert_close(after, reference_costs(kinematic), **AGREEMENT)
    assert np.abs(after.numpy() - before).max() > 1.0


@pytest.mark.parametrize("effective_share", [0.0, 0.02, 0.3])
def test_weights_temperature_and_plan_are_those_of_the_torch_update(vehicle, race, start, effective_share):
    one = planned(MODELS["kinematic"](vehicle), race, start, effective_share=effective_share)
    found = one.update(one.guess)
    costs, commands = torch.tensor(one.update.costs()), torch.tensor(one.update.commands())
    sampled = commands[len(one.guess.past) :]
    pull = torch.tensor(one.guess.pull).float().flatten() @ sampled.flatten(0, 1)
    weights, temperature = weigh(costs, pull, one.guess.temperature, effective_share or None)
    assert found.temperature == pytest.approx(temperature, rel=1e-3)
    torch.testing.assert_close(torch.tensor(one.update.weights()), weights, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(torch.tensor(found.nominal), sampled @ weights, rtol=1e-3, atol=1e-4)
    assert found.effective_size == pytest.approx(effective_sample_size(weights), rel=1e-3)
    assert found.finite_share == 1.0
    low, high = one.task.bounds()
    few = sampled[..., :128]
    met = ((few <= low.float()[:, None]) | (few >= high.float()[:, None])).float().mean()
    assert found.saturation_share == pytest.approx(float(met), abs=1e-6)


def test_the_first_samples_are_the_plans_given_and_the_past_is_in_front(kinematic):
    kinematic.update(kinematic.guess)
    commands, given = kinematic.update.commands(), kinematic.guess
    np.testing.assert_array_equal(commands[4:, :, 0], given.nominal)
    np.testing.assert_array_equal(commands[4:, :, 1], given.previous)
    np.testing.assert_array_equal(commands[:4], np.repeat(given.past.astype(np.float32)[..., None], 203, axis=2))
    low, high = (bound.numpy().astype(np.float32)[:, None] for bound in kinematic.task.bounds())
    assert (commands[4:, :, 2:] >= low).all() and (commands[4:, :, 2:] <= high).all()


def drawn(vehicle, race, start, shapes, rollouts=8000, **options):
    """[H, 2, K] samples in standard deviations from the plan, where no bound is met."""
    problem = KernelProblem(MODELS["kinematic"](vehicle), race, shapes)
    std = np.array([1e-3, 1e-3])
    update = FusedUpdate(problem, HostKernels(problem.source()), rollouts, std, seed=5, **options)
    zeros = np.zeros((HORIZON, 2))
    update(guess_at(start, nominal=zeros, previous=zeros))
    return update.commands()[4:, :, 2:].astype(float) / 1e-3


@pytest.mark.parametrize("shapes", [(SPLINE, coloured_noise(HORIZON, 2.0)), (white_noise(HORIZON),) * 2])
def test_noise_is_normal_with_the_covariance_of_its_shape(vehicle, race, start, shapes):
    noise = drawn(vehicle, race, start, shapes)
    for action, shape in enumerate(shapes):
        one = noise[:, action]
        np.testing.assert_allclose(one @ one.T / one.shape[1], shape.basis @ shape.basis.T, atol=0.08)
        np.testing.assert_allclose((one**4).mean(axis=1), 3.0, atol=0.6)
        np.testing.assert_allclose(np.quantile(one[3], [0.0228, 0.1587, 0.5, 0.8413, 0.9772]), range(-2, 3), atol=0.12)
    apart = np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]
    neighbours = np.corrcoef(noise[..., :-1].ravel(), noise[..., 1:].ravel())[0, 1]
    assert abs(apart) < 0.02 and abs(neighbours) < 0.02


def test_antithetic_samples_come_in_pairs_of_opposite_signs(vehicle, race, start):
    noise = drawn(vehicle, race, start, (SPLINE, SPLINE), rollouts=200, antithetic=True)
    np.testing.assert_array_equal(noise[..., 0::2], -noise[..., 1::2])
    assert len(np.unique(noise[3, 0, 0::2])) == noise.shape[2] // 2


def test_the_same_seed_and_count_of_updates_give_the_same_numbers_on_any_threads(vehicle, race, start):
    model = MODELS["kinematic"](vehicle)
    one, two = (planned(model, race, start, kernels=lambda source, n=n: HostKernels(source, n)) for n in (1, 2))
    first = one.update(one.guess).nominal
    samples = one.update.commands().copy()
    np.testing.assert_array_equal(two.update(two.guess).nominal, first)
    one.update(one.guess)
    assert np.abs(one.update.commands() - samples)[4:, :, 2:].mean() > 0.01
    one.update.restart()
    np.testing.assert_array_equal(one.update(one.guess).nominal, first)
    other = planned(model, race, start, key=2**40)
    other.update(other.guess)
    assert np.abs(other.update.commands() - samples)[4:, :, 2:].mean() > 0.01


def test_philox_gives_the_words_that_its_authors_publish(vehicle, race):
    """Known answers of Random123, kat_vectors, philox4x32 with ten rounds."""
    source = KernelProblem(MODELS["kinematic"](vehicle), race, (SPLINE, SPLINE)).source()
    source += "KERNEL words(uint32_t* w) { *(Words*)w = philox(*(Words*)w, w[4], w[5]); }"
    known = [
        ("00000000 00000000 00000000 00000000 00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ]
    kernels = HostKernels(source)
    for given, expected in known:
        words = kernels.array(np.array([int(word, 16) for word in given.split()], dtype=np.uint32))
        kernels.program([Launch("words", (words,), 1)])()
        assert [f"{word:08x}" for word in kernels.read(words)[:4]] == expected.split()


@pytest.mark.parametrize("entry", [0, 2, 3])
def test_what_is_not_finite_gets_no_weight_and_is_counted(kinematic, start, entry):
    start[entry] = torch.nan
    found = kinematic.update(guess_at(start))
    assert (found.finite_share, found.effective_size) == (0.0, 0.0)
    assert not kinematic.update.weights().any()


def test_a_position_off_every_map_is_held_inside(kinematic, start):
    start[:2] = torch.tensor([torch.inf, -1e30])
    assert kinematic.update(guess_at(start)).effective_size >= 0.0


def test_what_the_kernels_do_not_know_is_refused_with_the_way_out(vehicle, track, race):
    shapes = (SPLINE, SPLINE)
    with pytest.raises(UnfitError, match=r"physics that takes accelerations .* use mppi\.backend: compiled"):
        KernelProblem(build("kinematic_bicycle", dt=DT, drive="speed"), race, shapes)
    config = Config(DT, "cg", Base("kinematic_bicycle", "acceleration"), Network("gru"), Guard((1, 1, 1), 1, 1, 1))
    gru = LearnedModel(build_base(config, {}), config, torch.zeros(13), torch.ones(13))
    with pytest.raises(UnfitError, match=r"a network with memory \(gru\)"):
        KernelProblem(gru, race, shapes)
    wide = Network("mlp", hidden=128)
    config = Config(DT, "cg", Base("kinematic_bicycle", "acceleration"), wide, Guard((1, 1, 1), 1, 1, 1))
    large = LearnedModel(build_base(config, {}), config, torch.zeros(7), torch.ones(7))
    with pytest.raises(UnfitError, match="17923 weights is too large"):
        KernelProblem(large, race, shapes)
    with pytest.raises(UnfitError, match="int is no task"):
        KernelProblem(MODELS["kinematic"](vehicle), 3, shapes)
    apart = EachMember(learned(build_for(vehicle, "single_track", dt=DT)).model)
    with pytest.raises(UnfitError, match=r"members each go their own way \(tail_share"):
        KernelProblem(Held(apart, 2), race, shapes)
    cluttered = RacingTask(track, vehicle, RacingSettings(acceleration_limit_mps2=5.5, obstacles=2), dt=DT)
    with pytest.raises(UnfitError, match="a task with obstacles"):
        KernelProblem(MODELS["kinematic"](vehicle), cluttered, shapes)


def test_without_cupy_the_reason_and_the_remedy_are_said(monkeypatch):
    monkeypatch.setattr(device, "find_spec", lambda _: None)
    assert device.missing_gpu() == (
        "CuPy is not installed; on a machine with a CUDA device, install with MBRL_CUDA=1 make setup"
    )


def test_a_driver_that_fails_without_a_word_is_no_gpu(monkeypatch):
    def silent():
        raise OSError

    runtime = SimpleNamespace(getDeviceCount=silent)
    monkeypatch.setattr(device, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    assert device.missing_gpu() == "CuPy finds no CUDA device (OSError); check that nvidia-smi lists one"


@pytest.mark.skipif(bool(device.missing_gpu()), reason=device.missing_gpu())
@pytest.mark.parametrize("name", MODELS)
def test_on_a_gpu_costs_and_plans_are_those_of_this_processor(name, vehicle, race, start):
    model = MODELS[name](vehicle)
    host, gpu = (planned(model, race, start, kernels=kernels) for kernels in (HostKernels, device.DeviceKernels))
    for _ in range(3):
        theirs, ours = host.update(host.guess), gpu.update(gpu.guess)
        np.testing.assert_allclose(gpu.update.commands(), host.update.commands(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(gpu.update.costs(), host.update.costs(), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(ours.nominal, theirs.nominal, rtol=1e-2, atol=1e-3)
        actions = np.moveaxis(host.update.commands()[4:, :, :20], -1, 0)
        shown, expected = (one.update.trace(begun(model, start).numpy(), actions) for one in (gpu, host))
        np.testing.assert_allclose(shown[0], expected[0], rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(shown[1], expected[1], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(torch.tensor(gpu.update.costs()).double(), reference_costs(gpu), rtol=2e-3, atol=2e-3)
