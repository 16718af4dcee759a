"""What a model begins to predict with, from the driving before."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.state_history import StateHistory
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build
from mbrl_ros.models.starting import start, start_now

DT, PAST, NOW = 0.02, 10, 7.0


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Config(
        DT,
        "cg",
        Base("kinematic_bicycle", "acceleration"),
        Network("gru", members=2, hidden=4, history_s=PAST * DT),
        Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0),
    )
    values = {"wheelbase": 0.33, "steering_delay": 0.05}
    return LearnedModel(build_base(config, values), config, torch.zeros(13), torch.ones(13)).double()


@pytest.fixture(scope="module")
def driving():
    """A weaving car that is not quite the model's: its states [21, 8], the newest at NOW, and what was sent."""
    car = build("kinematic_bicycle", {"wheelbase": 0.4}, dt=DT)
    sent = np.stack([0.2 * np.sin(np.arange(40)), np.cos(np.arange(40))], axis=1)
    begin = torch.tensor([1.0, 2.0, 3.1, 3.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    with torch.no_grad():
        states = rollout(car, begin, torch.from_numpy(sent[-20:])).numpy()
    commands = CommandHistory(np.zeros(2), keep_s=5.0)
    for k, command in enumerate(sent):
        commands.append(NOW + (k - 40) * DT, command)
    return states, sent, commands


def driven(states):
    history = StateHistory()
    for k, state in enumerate(states):
        history.append(NOW + (k + 1 - len(states)) * DT, state)
    return history


def test_memory_is_filled_from_the_driving_with_what_acted_then(model, driving):
    states, sent, commands = driving
    with torch.no_grad():
        found, share = start_now(model, states[-1], NOW, commands, driven(states))
        # A delay of 2.5 steps: half of the command two steps ago, half of that three steps ago.
        steering = (sent[-12:-2, 0] + sent[-13:-3, 0]) / 2
        applied = torch.from_numpy(np.stack([steering, sent[-10:, 1]], axis=1))
        everything = torch.ones(1, 8, dtype=torch.bool)
        expected = start(model, torch.from_numpy(states[None, -PAST - 1 :]), everything, applied[None])[0]
    assert share == 1.0
    torch.testing.assert_close(found, expected)
    assert found[8:].abs().max() > 0.01


@pytest.mark.parametrize(("known", "share"), [(5, 0.4), (1, 0.0), (0, 0.0)])
def test_with_less_driving_it_begins_with_what_there_is_and_says_so(model, driving, known, share):
    states, _, commands = driving
    with torch.no_grad():
        found, said = start_now(model, states[-1], NOW, commands, driven(states[len(states) - known :]))
    assert said == pytest.approx(share)
    assert found.shape == (16,)
    torch.testing.assert_close(found[:8], torch.from_numpy(states[-1]))
    assert bool(found[8:].any()) == (share > 0)


def test_a_model_without_memory_begins_with_the_state(driving):
    states, _, commands = driving
    found, share = start_now(
        build("kinematic_bicycle", {"wheelbase": 0.33}, dt=DT), states[-1], NOW, commands, driven([])
    )
    assert (found.tolist(), share) == (states[-1].tolist(), 1.0)


def test_driving_of_which_all_is_known_is_read_as_driving_of_which_only_part_is(model, driving):
    """All steps at once and one by one are the same."""
    states = torch.from_numpy(driving[0])[None, -PAST - 1 :]
    applied = torch.zeros(1, PAST, 2, dtype=torch.float64)
    known, partly = torch.ones(1, 8, dtype=torch.bool), torch.ones(1, 8, dtype=torch.bool)
    partly[0, 4] = False  # of this base, the sideways velocity is always what it predicts
    with torch.no_grad():
        states[..., 4] = 0.0
        at_once = model.prepare(states, known, applied)
        mixed = torch.cat([known, partly])
        one_by_one = model.prepare(states.expand(2, -1, -1), mixed, applied.expand(2, -1, -1))
    torch.testing.assert_close(at_once.inputs[0], one_by_one.inputs[0])
    torch.testing.assert_close(at_once.car[0], one_by_one.car[0])
