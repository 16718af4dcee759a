"""MPPI by the fused kernels, which a processor runs as a GPU would, beside MPPI in torch; and when they are chosen."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning import building, fused
from mbrl_ros.planning.cuda.host import HostKernels
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import PlanningError, Problem

DT = 0.05


def planner(model, task, backend, **changes):
    given = {"rollouts": 512, "horizon": 30, "dt_s": DT, "steering_std_rad": 0.08, "acceleration_std_mps2": 1.5}
    made = MPPI(model, task, MPPISettings(**{**given, "backend": backend, **changes}))
    if made._fused is not None:
        made._fused.warm_up()
    return made


def drive(made, model, task, start, steps=30):
    """[steps, 8] states of a car that is the model, from ``start``, without delays."""
    history, state, states = CommandHistory(np.zeros(2)), start.double(), []
    for step in range(steps):
        plan = made.plan(Problem(state.numpy(), DT * step, history))
        history.append(DT * step, plan.actions[0])
        with torch.no_grad():
            state = model(state, torch.tensor(plan.actions[0]))
        states.append(state.numpy())
    return np.array(states), plan


@pytest.fixture
def prompt(vehicle):
    """The kinematic bicycle without delays."""
    return build_for(vehicle, "kinematic_bicycle", dt=DT).with_parameters({"steering_delay": 0.0, "drive_delay": 0.0})


@pytest.mark.timeout(900)  # the first test on a machine compiles
def test_a_car_driven_by_the_kernels_goes_as_far_as_one_driven_by_torch(prompt, race, track, start):
    covered = {}
    for backend in ("fused", "compiled"):
        made = planner(prompt, race, backend, effective_share=0.05, control_cost_share=0.0)
        made.warm_up()
        assert made.backend == backend and not made.hindered
        assert made.rollouts.backend == ("compiled" if backend == "compiled" else "eager")  # as little as is needed
        states, plan = drive(made, prompt, race, start)
        with torch.no_grad():
            assert not race.terminal(torch.tensor(states)).any()
        s = track.project(states[:, :2]).s
        covered[backend] = track.difference(s[1:], s[:-1]).sum()
        assert plan.diagnostics["effective_sample_size"] == pytest.approx(0.05 * 512, rel=0.1)
        assert plan.diagnostics["non_finite_share"] == 0.0
    assert covered["fused"] == pytest.approx(covered["compiled"], rel=0.12)  # other random numbers
    assert covered["fused"] > 3.0


def test_one_iteration_by_the_kernels_is_the_torch_update_of_the_same_samples(car, race, start, monkeypatch):
    """Delays, control cost and the adapted temperature included: torch is given the kernels' samples."""
    settings = {"effective_share": 0.1, "control_cost_share": 1.0}
    by_kernels, by_torch = (planner(car, race, backend, **settings) for backend in ("fused", "eager"))
    history = CommandHistory(np.array([0.05, 0.3]))
    problem = Problem(start.double().numpy(), 0.0, history)
    for planned in range(2):  # the second begins with a plan
        problem = Problem(problem.state, DT * planned, history)
        ours = by_kernels.plan(problem)
        commands, _ = by_kernels._fused.samples()
        past = len(commands) - 30
        monkeypatch.setattr(
            by_torch._sampler, "draw", lambda *given, c=commands[past:]: (given[3].copy_(c), 0.0)[1], raising=True
        )
        theirs = by_torch.plan(problem)
        np.testing.assert_allclose(ours.actions, theirs.actions, atol=2e-3)
        for figure in ("temperature", "effective_sample_size", "total_cost"):
            assert ours.diagnostics[figure] == pytest.approx(theirs.diagnostics[figure], rel=1e-2, abs=1e-2)
        states, costs = by_kernels.candidates(20)
        assert states.shape == (20, 31, 8) and (np.diff(costs) >= 0).all()
        by_torch.reset(ours)


@pytest.mark.parametrize(
    "changes", [{"sampler": "coloured", "antithetic": True}, {"sampler": "derivative", "iterations": 2}]
)
def test_other_samplers_run_and_the_same_seed_gives_the_same_plans(prompt, race, start, changes):
    made = planner(prompt, race, "fused", **changes)
    problem = Problem(start.double().numpy(), 0.0, CommandHistory(np.zeros(2)))
    first = made.plan(problem).actions
    assert made.backend == "fused"
    made.reset()
    np.testing.assert_array_equal(made.plan(problem).actions, first)


def test_without_a_finite_rollout_there_is_no_plan(prompt, race, start):
    start[2] = torch.nan
    made = planner(prompt, race, "fused")
    with pytest.raises(PlanningError, match=r"no plan at 0\.000 s: of 512 rollouts none has a finite cost"):
        made.plan(Problem(start.double().numpy(), 0.0, CommandHistory(np.zeros(2))))


@pytest.mark.parametrize(("missing", "where"), [("CuPy is not installed", "HostKernels"), ("", "DeviceKernels")])
def test_auto_takes_the_kernels_wherever_it_is(prompt, race, monkeypatch, missing, where):
    monkeypatch.setattr(fused, "missing_gpu", lambda: missing)
    built = []
    monkeypatch.setattr(fused, where, lambda *given: (built.append(where), HostKernels(*given))[1])
    made = planner(prompt, race, "auto")
    assert built == [where]
    assert (made.backend, made.hindered, made.note) == ("fused", False, "")


def test_a_few_eager_rollouts_serve_until_the_kernels_are_there(prompt, race, start, monkeypatch):
    may_compile = threading.Event()

    def waits(*given):
        assert may_compile.wait(30)
        return HostKernels(*given)

    monkeypatch.setattr(fused, "missing_gpu", lambda: "CuPy is not installed")
    monkeypatch.setattr(fused, "HostKernels", waits)
    settings = MPPISettings(rollouts=512, horizon=30, dt_s=DT, eager_rollouts=16)
    made, problem = MPPI(prompt, race, settings), Problem(start.double().numpy(), 0.0, CommandHistory(np.zeros(2)))
    made.warm_up(beside=True, wait=False)
    assert (made.backend, made.hindered) == ("eager", True)
    assert made.note == "16 of 512 rollouts until these are compiled"
    assert np.isfinite(made.plan(problem).actions).all()
    assert len(made.candidates(1000)[1]) == 16
    made.settings = settings.model_copy(update={"iterations": 3})
    evaluate, counts = made.rollouts.evaluate, []

    def ready_meanwhile(state, actions):
        counts.append(len(actions))
        may_compile.set()
        made._warming.join(30)
        return evaluate(state, actions)

    monkeypatch.setattr(made.rollouts, "evaluate", ready_meanwhile)
    made.plan(problem)
    assert counts == [16, 16, 16]  # kernels that come within a plan begin with the next
    assert (made.backend, made.hindered, made.note) == ("fused", False, "")
    assert np.isfinite(made.plan(problem).actions).all()
    assert len(made.candidates(1000)[1]) == 512


def test_kernels_that_fail_in_the_background_are_followed_by_what_torch_compiles(
    prompt, race, start, monkeypatch, tmp_path
):
    """While plans are found in plain torch: it must not be compiled in this process."""
    may_fail, ordered = threading.Event(), []

    def broken(*given):
        assert may_fail.wait(30)
        raise RuntimeError("no space left on device")

    monkeypatch.setattr(fused, "missing_gpu", lambda: "CuPy is not installed")
    monkeypatch.setattr(fused, "HostKernels", broken)
    made = MPPI(prompt, race, MPPISettings(rollouts=512, horizon=30, dt_s=DT, eager_rollouts=16))
    monkeypatch.setattr(building, "build_elsewhere", ordered.append)
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path))
    made.warm_up(beside=True, wait=False)
    problem = Problem(start.double().numpy(), 0.0, CommandHistory(np.zeros(2)))
    made.plan(problem)
    assert ordered == []
    may_fail.set()
    made._warming.join(30)
    assert [(order.members, order.device) for order in ordered] == [(1, "cpu")]
    fused_note, compiled_note, few = made.note.split(". ")
    assert fused_note == "Rollouts are not fused: RuntimeError: no space left on device"
    assert compiled_note.startswith("Rollouts are not compiled: no ")
    assert few == "16 of 512 rollouts"
    made.plan(problem)
    assert (made.backend, len(made.candidates(1000)[1])) == ("eager", 16)


def test_auto_compiles_what_the_kernels_do_not_know_and_says_nothing(prompt, race, monkeypatch):
    monkeypatch.setattr(fused, "missing_gpu", lambda: "CuPy is not installed")
    made = planner(prompt, race, "auto", update="cem")
    assert (made.rollouts.wanted, made.note) == ("compiled", "")


def test_asked_for_without_a_gpu_they_run_on_the_processor_and_say_so(prompt, race, monkeypatch):
    monkeypatch.setattr(fused, "missing_gpu", lambda: "CuPy is not installed")
    made = planner(prompt, race, "fused")
    assert made.backend == "fused"
    assert made.note == "The fused kernels run on this processor: CuPy is not installed"


def test_kernels_that_do_not_compile_leave_planning_to_torch(prompt, race, start, monkeypatch):
    def broken(source):
        raise RuntimeError("NVRTC has no such architecture\nand more")

    monkeypatch.setattr(fused, "missing_gpu", lambda: "")
    monkeypatch.setattr(fused, "DeviceKernels", broken)
    made = planner(prompt, race, "auto")
    assert (made.backend, made.hindered) == ("eager", True)
    assert made.note == "Rollouts are not fused: RuntimeError: NVRTC has no such architecture"
    made.plan(Problem(start.double().numpy(), 0.0, CommandHistory(np.zeros(2))))


@pytest.mark.parametrize(
    ("make", "changes", "why"),
    [
        (lambda car, race: (car, race), {"update": "cem"}, "no update but mppi"),
        (lambda *_: (DoubleIntegrator(DT), Regulate(DT)), {}, "Regulate is no task of the fused kernels"),
    ],
)
def test_what_the_kernels_cannot_do_is_said_and_done_by_torch(car, race, make, changes, why):
    model, task = make(car, race)
    made = MPPI(
        model,
        task,
        MPPISettings(rollouts=16, horizon=10, dt_s=DT, backend="fused", **changes),
        noise_std=[0.1] * len(model.action_layout),
    )
    assert why in made.note and made.backend == "eager" and made.hindered
