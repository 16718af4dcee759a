"""Probabilistic ensembles: what members say, how uncertain they are, and trajectories that believe them."""

import dataclasses

import pytest
import torch

from mbrl_ros.core.layout import VX, YAW_RATE
from mbrl_ros.models import passport
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.learned.propagation import sampled_rollout


@pytest.fixture
def ensemble(make):
    return make("inertia", "mlp", members=5, elites=(0, 2, 3), probabilistic=True)


def generator():
    return torch.Generator().manual_seed(0)


def test_elites_act(ensemble, cars):
    state, action = cars()
    before = ensemble(state, action)
    with torch.no_grad():
        ensemble.head.layers[-1].weight[[1, 4]] += 1.0
    assert torch.equal(ensemble(state, action), before)
    with torch.no_grad():
        ensemble.head.layers[-1].weight[3] += 1.0
    assert not torch.equal(ensemble(state, action), before)


def test_round_trip(ensemble, tmp_path):
    passport.save(ensemble, tmp_path / "car")
    loaded = passport.load(tmp_path / "car").model
    assert loaded.config.network.elites == (0, 2, 3)
    assert torch.equal(loaded.elites, ensemble.elites)
    assert torch.equal(loaded.highest, ensemble.highest)


def test_log_variances_stay_between_their_bounds(ensemble):
    said = torch.linspace(-100, 100, 21, dtype=torch.float64).reshape(1, -1, 1).expand(5, -1, 6)
    found = ensemble.log_variance(said)
    assert (found > -10.0 - 1e-9).all()
    assert (found < 0.5 + 1e-4).all()
    assert (found.diff(dim=1) >= 0).all()


@pytest.mark.parametrize("mode", ["ts1", "tsinf"])
def test_samples_spread_about_what_members_say(ensemble, cars, mode):
    state, action = cars(3)
    found = sampled_rollout(ensemble, state, action[:, None], samples=4000, mode=mode, generator=generator())
    assert found.shape == (4000, 3, 2, 8)
    rates = (found[:, :, 1, VX : YAW_RATE + 1] - state[:, VX : YAW_RATE + 1]) / ensemble.dt
    mean, log_variance, _ = ensemble.outputs(state, state.new_zeros(5, 3, 0), action)
    mean, variance = (mean * ensemble.limits)[ensemble.elites], log_variance.exp()[ensemble.elites] * ensemble.limits**2
    expected = torch.sqrt(variance.mean(dim=0) + mean.var(dim=0, correction=0))
    torch.testing.assert_close(rates.mean(dim=0), mean.mean(dim=0), rtol=0, atol=4 * float(expected.max()) / 4000**0.5)
    torch.testing.assert_close(rates.std(dim=0), expected, rtol=0.06, atol=0)


def still(ensemble):
    """The same, certain of what it says."""
    config = dataclasses.replace(
        ensemble.config, network=dataclasses.replace(ensemble.config.network, probabilistic=False)
    )
    twin = LearnedModel(ensemble.base, config, ensemble.mean, ensemble.std).double()
    with torch.no_grad():
        for ours, theirs in zip(twin.head.layers, ensemble.head.layers, strict=True):
            ours.weight.copy_(theirs.weight[..., : ours.weight.shape[-1]])
            ours.bias.copy_(theirs.bias[..., : ours.bias.shape[-1]])
    return twin


def test_tsinf_keeps_to_a_member_and_ts1_does_not(ensemble, cars):
    state, action = cars(1)
    actions = action[:, None].expand(-1, 6, -1)
    kept, mixed = (
        sampled_rollout(still(ensemble), state, actions, samples=60, mode=mode, generator=generator())
        for mode in ("tsinf", "ts1")
    )
    assert len(torch.unique(kept[:, 0, -1, VX])) == 3
    assert len(torch.unique(mixed[:, 0, -1, VX])) > 20


def test_the_same_seed_draws_the_same(ensemble, cars):
    state, action = cars(4)
    one, other = (
        sampled_rollout(ensemble, state, action[:, None], samples=3, mode="ts1", generator=generator())
        for _ in range(2)
    )
    assert torch.equal(one, other)
