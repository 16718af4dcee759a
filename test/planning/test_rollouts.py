"""Rollouts: eager ones against the model and the task themselves, compiled ones against eager ones."""

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.training import train
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, Regimes, build_base
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning import packages
from mbrl_ros.planning.rollouts import Rollouts

pytestmark = pytest.mark.timeout(900)  # the first test on a machine compiles

AGREEMENT = {"rtol": 2e-3, "atol": 2e-3}
"""Compiled against eager after 50 steps in single precision; other roundings grow by the sensitivity of the car."""


def test_costs_are_the_negative_sum_of_rewards_along_the_models_rollout(car, race, start, actions):
    rollouts = Rollouts(car, race, "eager")
    with torch.no_grad():
        trace, costs = rollouts.trace(start, actions), rollouts.evaluate(start, actions)
        states = rollout(car, start.double().expand(len(actions), 8), actions.double())
        terms = race.terms(states[:, :-1], actions.double(), states[:, 1:])
    torch.testing.assert_close(trace.states.double(), states, rtol=1e-3, atol=1e-3)
    expected = -torch.stack([terms[name].sum(dim=1) for name in race.term_names], dim=1)
    torch.testing.assert_close(trace.costs.double(), expected, rtol=5e-3, atol=5e-3)
    torch.testing.assert_close(costs, trace.costs.sum(dim=1), rtol=1e-4, atol=1e-4)


def test_compiled_rollouts_agree_with_eager_ones(compiled, car, race, start, actions):
    eager = Rollouts(car, race, "eager")
    with torch.no_grad():
        ours, theirs = compiled.trace(start, actions), eager.trace(start, actions)
        costs = compiled.evaluate(start, actions)
    torch.testing.assert_close(ours.states, theirs.states, **AGREEMENT)
    torch.testing.assert_close(ours.costs, theirs.costs, **AGREEMENT)
    torch.testing.assert_close(costs, ours.costs.sum(dim=1), rtol=1e-4, atol=1e-4)


def test_one_package_serves_other_parameters_weights_and_tracks(compiled, vehicle, start, actions, monkeypatch):
    """Nothing of the kind is compiled in: with building forbidden, a car of other values on another track is found."""
    monkeypatch.setattr(packages, "_build", lambda *_: pytest.fail("compiled again"))
    other = build_for(vehicle, "kinematic_bicycle", dt=0.05).with_parameters({"wheelbase": 0.4, "steering_lag": 0.1})
    elsewhere = generate_track(3, TrackSettings(length_m=45.0, corners=7))
    race = RacingTask(elsewhere, vehicle, RacingSettings(acceleration_limit_mps2=3.0, slip_weight=7.0), dt=0.05)
    rollouts, eager = Rollouts(other, race), Rollouts(other, race, "eager")
    rollouts.warm_up()
    assert (rollouts.backend, rollouts.note) == ("compiled", "")
    with torch.no_grad():
        torch.testing.assert_close(rollouts.trace(start, actions).costs, eager.trace(start, actions).costs, **AGREEMENT)


@pytest.mark.parametrize("backend", ["eager", "compiled"])
def test_changes_in_place_take_effect_at_once(compiled, car, race, start, actions, backend):
    rollouts = compiled if backend == "compiled" else Rollouts(car, race, "eager")
    with torch.no_grad():
        before = rollouts.trace(start, actions[:3])
        race.progress_weight.mul_(2)
        car.wheelbase.fill_(0.5)
        after = rollouts.trace(start, actions[:3])
    assert not torch.allclose(after.states[..., 2], before.states[..., 2], atol=1e-2)
    fresh = Rollouts(car, race, "eager")
    with torch.no_grad():
        torch.testing.assert_close(after.costs, fresh.trace(start, actions[:3]).costs, **AGREEMENT)


@pytest.mark.parametrize("entry", range(8))
def test_a_state_that_is_not_finite_costs_what_is_not_finite(compiled, start, actions, entry):
    """And a position off every map must not end the process: table indices are held inside."""
    for value in (float("nan"), float("inf")):
        broken = start.clone()
        broken[entry] = value
        with torch.no_grad():
            costs = compiled.evaluate(broken, actions[:5])
        if entry in (0, 1, 2, 3) and value != value:
            assert not torch.isfinite(costs).any()


def test_a_rollout_that_is_not_finite_leaves_its_neighbours_alone(compiled, start, actions):
    with torch.no_grad():
        good = compiled.evaluate(start, actions)
        actions[7, 20, 0] = torch.nan
        mixed = compiled.evaluate(start, actions)
    assert torch.isnan(mixed[7])
    others = torch.arange(len(actions)) != 7
    torch.testing.assert_close(mixed[others], good[others], rtol=1e-4, atol=1e-4)


class MatrixIntegrator(DoubleIntegrator):
    """The same as one matrix product, so that rollouts come out row by row."""

    def forward(self, state, action):
        a, b = torch.tensor([[1.0, self.dt], [0.0, 1.0]]), torch.tensor([[self.dt**2 / 2], [self.dt]])
        return state @ a.T + action @ b.T / self.mass


def test_states_that_a_model_keeps_row_by_row_go_into_the_next_step_as_they_should():
    compiled, eager = (Rollouts(MatrixIntegrator(), Regulate(), backend) for backend in ("compiled", "eager"))
    compiled.warm_up()
    assert compiled.backend == "compiled", compiled.note
    state, actions = torch.tensor([1.0, -0.5]), torch.randn(40, 10, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = compiled.trace(state, actions), eager.trace(state, actions)
    torch.testing.assert_close(ours.states, theirs.states)
    torch.testing.assert_close(ours.costs, theirs.costs)


def learned(dt, seed=0, kind="gru", physics="kinematic_bicycle", regimes=None):
    """A model whose weights are all random, with memory unless it is of another kind."""
    torch.manual_seed(seed)
    network = Network(kind, members=2, hidden=16)
    guard = Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0)
    config = Config(dt, "cg", Base(physics, "acceleration"), network, guard, regimes)
    seen = 7 if kind == "mlp" else 13
    model = LearnedModel(build_base(config, {"wheelbase": 0.33}), config, torch.zeros(seen), torch.ones(seen)).double()
    torch.nn.init.normal_(model.head.layers[-1].weight, std=0.3)
    return model


def test_memory_travels_along_in_rollouts(race, start, actions):
    """A model with memory plans as it predicts: its memory stands behind the eight entries that tasks read."""
    model = learned(race.dt)
    begin = torch.cat([start, 0.5 * torch.ones(32)])
    rollouts = Rollouts(model, race, "eager")
    with torch.no_grad():
        trace = rollouts.trace(begin, actions)
        states = rollout(model, begin.double().expand(len(actions), -1), actions.double())
        costs = rollouts.evaluate(begin, actions)
    torch.testing.assert_close(trace.states.double(), states, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(costs, trace.costs.sum(dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_compiled_rollouts_of_a_model_that_tells_regimes_apart_agree_with_eager_ones(kind, race, start, actions):
    regimes = Regimes(({"friction_front": 0.3, "friction_rear": 0.35},), 2.0, (1.0, 1.0))
    model = learned(race.dt, kind=kind, physics="single_track", regimes=regimes)
    slippery = [compiled_and_eager(model, race, begun(model, start, share), actions) for share in (0.0, 1.0)]
    assert (slippery[0] - slippery[1])[..., :2].abs().max() > 0.05


def begun(model, start, share):
    """A state with some memory, in a further regime with that ``share``."""
    memory = 0.3 * torch.ones(2, (len(model.state_layout) - len(start)) // 2)
    memory[:, -1] = share
    return torch.cat([start, memory.flatten()])


def trained(vehicle, dt, work):
    """A model of the same structure, trained on a car with tyres that the bicycle under it knows nothing of."""
    car, rng = build_for(vehicle, "single_track", dt=dt), np.random.default_rng(0)
    time_s = dt * np.arange(400)
    swing = 0.25 * np.sin(0.9 * time_s) + 0.1 * np.sin(2.3 * time_s)
    state, rows, actions = torch.tensor([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64), [], []
    for steering in swing:
        action = np.array([steering, 2.0 * (3.0 - float(state[3]))])
        rows.append(state.numpy() + rng.normal(size=8) * [0.003, 0.003, 0.002, 0.01, 0.01, 0.01, 0.002, 0.01])
        actions.append(action)
        with torch.no_grad():
            state = car(state, torch.from_numpy(action))
    segment = Segment(1000 + time_s, np.stack(rows), np.stack(actions), ACTIONS["acceleration"])
    recipe = {
        "physics": "kinematic_bicycle",
        "identification": {"horizon_s": 0.5, "max_windows": 20, "integrator": "euler"},
        "network": {"kind": "gru", "members": 2, "hidden": 16},
        "training": {"horizon_s": 0.5, "start_every_s": 0.2, "epochs": 3, "batch": 32, "learning_rate": 0.01},
    }
    return train([Drive((segment,), dt, "cg", "made")], Recipe.model_validate(recipe), work).model


def test_compiled_rollouts_of_a_trained_model_agree_with_eager_ones_and_so_they_do_whatever_its_weights(
    race, vehicle, start, actions, tmp_path, monkeypatch
):
    """Weights that were learned, with the scaling and the guard that come with them; others need no other package."""
    model = trained(vehicle, race.dt, tmp_path)
    begin = torch.cat([start, 0.3 * torch.ones(32)])
    learned_states = compiled_and_eager(model, race, begin, actions)
    with torch.no_grad():
        alone = Rollouts(model.base, race, "eager").trace(start, actions)
    assert (learned_states[..., :2] - alone.states[..., :2]).abs().max() > 0.05  # what was learned matters

    monkeypatch.setattr(packages, "_build", lambda *_: pytest.fail("compiled again"))
    for seed in (0, 1):
        torch.manual_seed(seed)
        for name, weights in model.named_parameters():
            if not name.startswith("base."):
                torch.nn.init.normal_(weights, std=0.3)
        compiled_and_eager(model, race, begin, actions)


def compiled_and_eager(model, race, begin, actions):
    """[K, H + 1, S] the states of compiled rollouts, which are those of eager ones."""
    compiled, eager = Rollouts(model, race), Rollouts(model, race, "eager")
    compiled.warm_up()
    assert compiled.backend == "compiled", compiled.note
    with torch.no_grad():
        ours, theirs = compiled.trace(begin, actions), eager.trace(begin, actions)
    torch.testing.assert_close(ours.states, theirs.states, **AGREEMENT)
    torch.testing.assert_close(ours.costs, theirs.costs, **AGREEMENT)
    return ours.states
