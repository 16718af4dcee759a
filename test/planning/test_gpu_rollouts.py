"""Packages on a GPU, recorded as a CUDA graph, against eager rollouts on the processor; and how the place is chosen."""

import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.core.layout import STATE
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.members import EachMember
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.rollouts import Rollouts

AGREEMENT = {"rtol": 2e-3, "atol": 2e-3}
on_a_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no CUDA device (or torch is built without)"
)
pytestmark = pytest.mark.timeout(900)


def learned(vehicle, dt, kind, members=1):
    torch.manual_seed(0)
    config = Config(
        dt, "cg", Base("single_track", "acceleration"), Network(kind, members, hidden=16), Guard((3, 3, 5), 12, 12, 1)
    )
    base = build_base(config, build_for(vehicle, "single_track", dt=dt).values())
    inputs = 7 if kind == "mlp" else 13
    model = LearnedModel(base, config, torch.zeros(inputs), torch.ones(inputs)).double()
    torch.nn.init.normal_(model.head.layers[-1].weight, std=0.3)
    return model


MODELS = {
    "kinematic": lambda vehicle, dt: build_for(vehicle, "kinematic_bicycle", dt=dt),
    "single track": lambda vehicle, dt: build_for(vehicle, "single_track", dt=dt),
    "residual": lambda vehicle, dt: learned(vehicle, dt, "mlp", members=3),
    "with memory": lambda vehicle, dt: learned(vehicle, dt, "gru", members=2),
    "each member": lambda vehicle, dt: EachMember(learned(vehicle, dt, "mlp", members=3)),
}


def both(model, task):
    """The same on the GPU and here."""
    members = model.members if isinstance(model, EachMember) else 1
    there = Rollouts(model, task, members=members, device="cuda")
    there.warm_up()
    assert there.backend == "compiled", there.note
    return there, Rollouts(model, task, "eager", members=members)


def begun(model, start):
    """The state, and memory where the model has one."""
    if isinstance(model, EachMember):
        return model.separate(start)
    return torch.cat([start, 0.3 * torch.ones(len(model.state_layout) - len(STATE))])


def require_same(there, here, begin, actions):
    with torch.inference_mode():
        ours, theirs = there.trace(begin, actions), here.trace(begin, actions)
        torch.testing.assert_close(ours.states, theirs.states, **AGREEMENT)
        torch.testing.assert_close(ours.costs, theirs.costs, **AGREEMENT)
        for _ in range(2):
            torch.testing.assert_close(there.evaluate(begin, actions), here.evaluate(begin, actions), **AGREEMENT)


@on_a_gpu
@pytest.mark.parametrize("name", MODELS)
def test_rollouts_on_a_gpu_are_those_of_this_processor(name, vehicle, race, start, actions):
    model = MODELS[name](vehicle, race.dt)
    there, here = both(model, race)
    require_same(there, here, begun(model, start), actions)
    require_same(there, here, begun(model, start), actions[:17] * 0.5)


@on_a_gpu
def test_what_is_recorded_follows_changes_in_place_and_to_another_track(vehicle, race, start, actions):
    model = MODELS["single track"](vehicle, race.dt)
    there, here = both(model, race)
    with torch.no_grad():
        before = there.evaluate(start, actions)
        model.wheelbase.mul_(1.3)
        race.progress_weight.mul_(2.0)
    require_same(there, here, start, actions)
    assert (there.evaluate(start, actions) - before).abs().max() > 1.0
    longer = generate_track(3, TrackSettings(length_m=45.0, corners=7))
    elsewhere = RacingTask(longer, vehicle, RacingSettings(acceleration_limit_mps2=5.5), dt=race.dt)
    require_same(*both(model, elsewhere), start, actions)


@on_a_gpu
def test_a_planner_rolls_out_on_the_gpu_what_is_not_fused(vehicle, race):
    model, settings = MODELS["with memory"](vehicle, race.dt), {"rollouts": 64, "horizon": 20, "dt_s": race.dt}
    for more, place in (({}, "cuda"), ({"device": "processor"}, "cpu")):
        planner = MPPI(model, race, MPPISettings(**settings, **more))
        planner.warm_up()
        assert planner.rollouts.device == place, planner.note


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_where_the_gpu_cannot_be_had_rollouts_are_compiled_here_and_say_why():
    rollouts = Rollouts(DoubleIntegrator(), Regulate(), device="cuda")
    assert (rollouts.device, rollouts.backend) == ("cpu", "eager")
    rollouts.warm_up()
    assert (rollouts.device, rollouts.backend) == ("cpu", "compiled")
    assert rollouts.note.startswith("Rollouts do not run on the GPU: ")


def test_only_what_is_not_fused_goes_to_the_gpu(vehicle, race, monkeypatch):
    """Beside the kernels nothing else rolls out."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    settings = {"rollouts": 64, "horizon": 20, "dt_s": race.dt}
    fused, apart = MODELS["kinematic"](vehicle, race.dt), MODELS["with memory"](vehicle, race.dt)
    wanted = [
        MPPI(model, race, MPPISettings(**settings, **more)).rollouts.wanted_device
        for model, more in ((fused, {}), (apart, {}), (apart, {"device": "processor"}))
    ]
    assert wanted == ["cpu", "cuda", "cpu"]
