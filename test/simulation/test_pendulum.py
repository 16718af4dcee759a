"""The pendulum that searches look ahead with is the one that Gymnasium swings."""

import gymnasium
import numpy as np
import pytest
import torch

from mbrl_ros.simulation.pendulum import Pendulum


def test_equals_gymnasium():
    environment, pendulum, rng = gymnasium.make("Pendulum-v1").unwrapped, Pendulum(), np.random.default_rng(0)
    environment.reset(seed=0)
    for _ in range(200):
        angle, rate = environment.state = rng.uniform([-7.0, -8.0], [7.0, 8.0])
        torque = rng.uniform(-2.5, 2.5, size=1)
        state = torch.tensor([[angle, rate]])
        following, reward, ended = pendulum.step(state, torch.from_numpy(torque)[None])
        observation, expected, *_ = environment.step(torque)
        np.testing.assert_allclose(following[0].numpy(), environment.state, atol=1e-12)
        np.testing.assert_allclose(pendulum.observe(following)[0].numpy(), observation, atol=1e-6)
        assert float(reward) == pytest.approx(float(expected), abs=1e-9)
        assert not ended.any()


def test_episodes_begin_as_gymnasiums_do():
    start = Pendulum().reset(2000, torch.Generator().manual_seed(0))
    assert start.abs().amax(dim=0).tolist() == pytest.approx([np.pi, 1.0], abs=0.02)
    assert start.mean(dim=0).abs().max() < 0.1
