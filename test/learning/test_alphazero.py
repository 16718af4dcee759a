"""Policy and value that learn from their own searches."""

import math

import pytest
import torch

from mbrl_ros.learning.alphazero import AlphaZeroSettings, PolicyValue, evaluate, train
from mbrl_ros.learning.alphazero.train import returns


class Point:
    """A point on a line that should be at zero and can go 0.5 a step; ends beyond 3."""

    action_low, action_high = (-0.5,), (0.5,)
    observed, discount, steps, reward_scale = 1, 0.9, 8, 0.5

    def reset(self, count, generator):
        return 4 * torch.rand(count, 1, generator=generator) - 2

    def observe(self, state):
        return state

    def step(self, state, action):
        following = state + action
        distance = following[..., 0].abs()
        return following, -distance, distance > 3


def test_density_integrates_to_one_over_the_bounds():
    network = PolicyValue(1, (-2.0,), (3.0,))
    raw = torch.linspace(-12, 12, 20001)[:, None]
    mean, log_std = torch.tensor([0.7]), torch.tensor([-0.4])
    density = network.log_density(raw, mean, log_std).exp()
    # up to the constant that the bounds decide: tanh maps to an interval of length 2
    actions = torch.tanh(raw[:, 0])
    assert float(torch.trapezoid(density, actions)) == pytest.approx(1.0, abs=1e-3)
    squashed = network.squash(raw)
    assert -2.0 <= float(squashed.min()) < float(squashed.max()) <= 3.0


def test_returns_count_rewards_then_trust_the_value():
    settings = AlphaZeroSettings(bootstrap_steps=2)
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    values = torch.tensor([[10.0], [20.0], [30.0], [40.0]])
    goes_on = torch.ones(3, 1, dtype=torch.bool)
    expected = [1 + 0.5 * 2 + 0.25 * 30, 2 + 0.5 * 4 + 0.25 * 40, 4 + 0.5 * 40]
    assert returns(rewards, goes_on, values, 0.5, settings)[:, 0].tolist() == expected


def test_returns_end_with_the_episode():
    settings = AlphaZeroSettings(bootstrap_steps=5)
    goes_on = torch.tensor([[True], [False], [True]])
    result = returns(torch.ones(3, 1), goes_on, torch.full((4, 1), 100.0), 0.5, settings)[:, 0]
    assert result.tolist() == [1.5, 1.0, 1 + 0.5 * 100]


def test_learns_to_go_to_the_middle():
    settings = AlphaZeroSettings(rounds=4, episodes=16, simulations=12, candidates=6, hidden=32, updates=12)
    seen = []
    network = train(Point(), settings, seen.append)
    assert [each.episodes for each in seen] == [16, 32, 48, 64]
    assert all(math.isfinite(each.loss) for each in seen)
    learned = evaluate(Point(), network, settings, 32, seed=1).mean()
    untrained = evaluate(Point(), PolicyValue(1, (-0.5,), (0.5,), 32), settings, 32, seed=1).mean()
    assert learned > untrained + 0.3
    # what the policy alone would do: go to the middle from both sides
    _, mean, _ = network(torch.tensor([[-1.5], [1.5]]))
    assert mean[0, 0] > 0 > mean[1, 0]


def test_the_same_seed_learns_the_same():
    settings = AlphaZeroSettings(rounds=1, episodes=4, simulations=4, candidates=3, hidden=8)
    first, second = (train(Point(), settings).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
