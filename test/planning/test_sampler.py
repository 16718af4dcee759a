"""Drawing action sequences."""

import numpy as np
import pytest
import torch

from mbrl_ros.planning.interpolation import read_at
from mbrl_ros.planning.noise import coloured_noise, derivative_noise, spline_noise, white_noise
from mbrl_ros.planning.sampler import Distribution, Sampler

HORIZON, COUNT = 30, 4096
LOW, HIGH = torch.tensor([-1e3, -1e3]), torch.tensor([1e3, 1e3])
SHAPES = {
    "white": [white_noise(HORIZON)] * 2,
    "spline": [spline_noise(HORIZON, 0.05, 0.2)] * 2,
    "coloured": [coloured_noise(HORIZON, 1.0), coloured_noise(HORIZON, 2.5)],
    "derivative": [derivative_noise(spline_noise(HORIZON, 0.05, 0.2))] * 2,
    "different": [white_noise(HORIZON), spline_noise(HORIZON, 0.05, 0.2)],
}


def source(std=(1.0, 2.0)):
    ramp = torch.linspace(-1.0, 1.0, HORIZON)
    return Distribution(torch.stack([ramp, ramp**2], dim=1), torch.tensor(std).expand(HORIZON, -1))


def draw(sampler, where=None, low=LOW, high=HIGH, count=COUNT, prior=None, share=0.0):
    out = torch.full((HORIZON, 2, count), torch.nan)
    prior = torch.empty(HORIZON, 2, 0) if prior is None else prior
    met = sampler.draw(where or source(), low, high, out, prior, share)
    return out, met


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_samples_have_the_mean_and_the_covariance_of_their_source(name, antithetic):
    sampler = Sampler(SHAPES[name], COUNT, antithetic, seed=0)
    out, met = draw(sampler)
    assert met == 0.0
    for action, shape in enumerate(SHAPES[name]):
        noise = (out[:, action] - source().mean[:, action, None]).double().numpy() / (1.0, 2.0)[action]
        np.testing.assert_allclose(noise.mean(axis=1), 0.0, atol=0.07)
        np.testing.assert_allclose(noise @ noise.T / COUNT, shape.basis @ shape.basis.T, atol=0.15)
    first, second = (out[:, action] - source().mean[:, action, None] for action in (0, 1))
    assert abs(np.corrcoef(first.flatten(), second.flatten())[0, 1]) < 0.05


def test_standard_deviations_may_differ_from_step_to_step():
    std = torch.stack([torch.linspace(0.1, 2.0, HORIZON), torch.ones(HORIZON)], dim=1)
    out, _ = draw(Sampler(SHAPES["spline"], COUNT, False, seed=0), Distribution(source().mean, std))
    torch.testing.assert_close(out.std(dim=-1), std, rtol=0.06, atol=0.0)


@pytest.mark.parametrize("count", [COUNT, 33])
def test_antithetic_pairs_have_opposite_noise(count):
    out, _ = draw(Sampler(SHAPES["coloured"], count, True, seed=0), count=count)
    noise = out - source().mean[..., None]
    pairs = count // 2
    torch.testing.assert_close(noise[..., 0 : 2 * pairs : 2], -noise[..., 1::2], atol=1e-5, rtol=1e-5)
    assert out.isfinite().all()


def test_samples_stay_inside_of_bounds_and_are_counted_there():
    out, met = draw(Sampler(SHAPES["white"], COUNT, False, seed=0), low=-0.1 * torch.ones(2), high=torch.ones(2))
    assert -0.1 - 1e-6 <= out.min() < out.max() <= 1.0
    assert 0.3 < met < 0.95


def test_the_same_seed_draws_the_same_again_after_a_reset():
    sampler = Sampler(SHAPES["spline"], 64, True, seed=5)
    first, _ = draw(sampler, count=64)
    second, _ = draw(sampler, count=64)
    sampler.reset()
    assert torch.equal(draw(sampler, count=64)[0], first)
    assert not torch.equal(second, first)
    assert not torch.equal(draw(Sampler(SHAPES["spline"], 64, True, seed=6), count=64)[0], first)


def test_a_share_of_the_samples_lies_about_each_proposal():
    prior = torch.stack([torch.full((HORIZON, 2), 10.0), torch.full((HORIZON, 2), -20.0)], dim=-1)
    plain, _ = draw(Sampler(SHAPES["spline"], COUNT, False, seed=0))
    out, _ = draw(Sampler(SHAPES["spline"], COUNT, False, seed=0), prior=prior, share=0.25)
    each = COUNT // 8
    torch.testing.assert_close(out[..., : -2 * each], plain[..., : -2 * each])
    means = out[..., -2 * each :].unflatten(-1, (2, each)).mean(dim=-1)
    torch.testing.assert_close(means, prior, rtol=0.0, atol=0.5)


def test_sequences_are_read_later_on():
    sequences, steps = torch.arange(5.0)[:, None] * torch.tensor([1.0, -2.0]), torch.arange(5)
    torch.testing.assert_close(read_at(sequences, steps), sequences)
    expected = torch.tensor([1.25, 2.25, 3.25, 4.0, 4.0])
    torch.testing.assert_close(read_at(sequences, steps + 1.25), expected[:, None] * torch.tensor([1.0, -2.0]))
