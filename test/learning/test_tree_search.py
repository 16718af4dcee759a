"""Policy, value and latent model that learn from their own searches."""

import math

import pytest
import torch

from mbrl_ros.learning.tree_search import Agent, Judgement, TreeSearchSettings, build, evaluate, train
from mbrl_ros.learning.tree_search.experience import Experience, play, returns
from mbrl_ros.learning.tree_search.latent import LatentModel, normalised
from mbrl_ros.learning.tree_search.network import Bounds
from mbrl_ros.learning.tree_search.objective import loss
from mbrl_ros.planning.mcts import ROOT

SMALL = TreeSearchSettings(rounds=1, episodes=4, simulations=4, candidates=3, hidden=8, latent=4, unroll_steps=3)


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


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def experience(steps=6, columns=5, actions=1, candidates=3):
    """Random numbers of the right shapes; nothing ends."""
    draw, rows = generator(), (steps, columns)
    return Experience(
        state=torch.randn(*rows, 1, generator=draw),
        raw=torch.randn(*rows, actions, generator=draw),
        candidates=torch.randn(*rows, candidates, actions, generator=draw),
        shares=torch.softmax(torch.randn(*rows, candidates, generator=draw), dim=-1),
        reward=torch.randn(*rows, generator=draw),
        goes_on=torch.ones(rows, dtype=torch.bool),
        target=torch.randn(*rows, generator=draw),
    )


def as_doubles(what):
    return Experience(*(v.double() if v.is_floating_point() else v for v in vars(what).values()))


def test_density_integrates_to_one_over_the_bounds():
    raw = torch.linspace(-12, 12, 20001)[:, None]
    known = Judgement(torch.zeros(1), torch.tensor([[0.7]]), torch.tensor([[-0.4]]))
    density = known.log_density(raw[None])[0].exp()
    # up to the constant that the bounds decide: tanh maps to an interval of length 2
    assert float(torch.trapezoid(density, torch.tanh(raw[:, 0]))) == pytest.approx(1.0, abs=1e-3)
    squashed = Bounds((-2.0,), (3.0,))(raw)
    assert -2.0 <= float(squashed.min()) < float(squashed.max()) <= 3.0


def test_returns_count_rewards_then_trust_the_value():
    rewards = torch.tensor([[1.0], [2.0], [4.0]])
    values = torch.tensor([[10.0], [20.0], [30.0], [40.0]])
    goes_on = torch.ones(3, 1, dtype=torch.bool)
    expected = [1 + 0.5 * 2 + 0.25 * 30, 2 + 0.5 * 4 + 0.25 * 40, 4 + 0.5 * 40]
    assert returns(rewards, goes_on, values, 0.5, 2)[:, 0].tolist() == expected


def test_returns_end_with_the_episode():
    goes_on = torch.tensor([[True], [False], [True]])
    result = returns(torch.ones(3, 1), goes_on, torch.full((4, 1), 100.0), 0.5, 5)[:, 0]
    assert result.tolist() == [1.5, 1.0, 1 + 0.5 * 100]


def test_windows_are_stretches_of_one_column():
    rows = torch.arange(6.0)[:, None] + 100 * torch.arange(5)
    every = Experience(*(rows[..., None] if v.dim() > 2 else rows for v in vars(experience()).values()))
    windows = every.windows(200, 3, generator())
    assert windows.state.shape == (3, 200, 1)
    assert torch.equal(windows.reward.diff(dim=0), torch.ones(2, 200))
    assert set(windows.reward[0].tolist()) == set(rows[:4].flatten().tolist())
    with pytest.raises(ValueError, match="window of 7 steps does not fit into 6"):
        every.windows(1, 7, generator())


def test_the_loss_of_a_window_of_one_step_is_a_square_and_a_cross_entropy():
    settings, windows = SMALL.model_copy(update={"entropy_weight": 0.1}), experience(steps=1)
    model = build(Point(), settings)
    known = model.judge(windows.state[0])
    cross_entropy = -(windows.shares[0] * known.log_density(windows.candidates[0])).sum(dim=1)
    expected = (known.value - windows.target[0]).square() + cross_entropy - 0.1 * known.log_std[:, 0]
    torch.testing.assert_close(loss(model, windows, settings), expected.mean())


class Chain(torch.nn.Module):
    """A latent model of smooth functions, where what `loss` learns at each step can be told apart."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.shift = torch.nn.Parameter(torch.zeros(inner.representation[-1].out_features))

    def begin(self, state):
        return self.inner.begin(state) + self.shift

    def judge(self, embedding):
        return self.inner.judge(embedding)

    def follow(self, embedding, raw):
        return self.inner.follow(embedding, raw)


def test_each_step_passes_half_of_the_gradient_and_all_weigh_as_much_as_the_beginning():
    """Against finite differences of the terms, one by one."""
    torch.manual_seed(1)
    inner = LatentModel(Point(), latent=4, hidden=8).double()
    for head in (inner.prediction.value_head, inner.prediction.policy_head):
        torch.nn.init.normal_(head.weight, std=0.5)  # they begin at zero, where no gradient passes
    model, windows, count = Chain(inner).double(), as_doubles(experience(steps=4)), 3
    loss(model, windows, SMALL).backward()

    def terms(shift):
        """[K + 1] what the loss adds up, without weights."""
        embedding, found = inner.begin(windows.state[0]) + shift, []
        for k in range(count + 1):
            reward_loss = 0.0
            if k:
                embedding, reward, _ = inner.follow(embedding, windows.raw[k - 1])
                reward_loss = SMALL.reward_weight * (reward - windows.reward[k - 1]).square()
            known = inner.judge(embedding)
            value_loss = SMALL.value_weight * (known.value - windows.target[k]).square()
            cross_entropy = -(windows.shares[k] * known.log_density(windows.candidates[k])).sum(dim=1)
            entropy = SMALL.entropy_weight * known.log_std[:, 0]
            found.append((reward_loss + value_loss + cross_entropy - entropy).mean())
        return torch.stack(found)

    step, weights = 1e-6, torch.tensor([1.0, *(0.5**k / count for k in range(1, count + 1))], dtype=torch.float64)
    with torch.no_grad():
        slopes = torch.stack([(terms(e) - terms(-e)) / (2 * step) for e in step * torch.eye(4, dtype=torch.float64)])
        assert float(loss(model, windows, SMALL)) == pytest.approx(
            float(terms(0.0)[0] + terms(0.0)[1:].mean()), abs=1e-9
        )
    torch.testing.assert_close(model.shift.grad, slopes @ weights, rtol=1e-5, atol=1e-7)
    assert (model.shift.grad - slopes.sum(dim=1)).abs().max() > 1e-2  # the plain gradient is another


def test_beyond_an_end_nothing_is_earned_and_the_policy_does_not_matter():
    ends = experience(steps=4)
    ends.goes_on[1] = False
    model = build(Point(), SMALL.model_copy(update={"algorithm": "muzero"}))
    other = Experience(**{**vars(ends), **{n: vars(ends)[n].clone() for n in ("target", "reward", "candidates")}})
    other.target[2:], other.reward[2:], other.candidates[2:] = 9.0, 9.0, 2.0
    assert loss(model, ends, SMALL) == loss(model, other, SMALL)
    other.reward[1] = 9.0  # of the step that ends it
    assert loss(model, ends, SMALL) != loss(model, other, SMALL)


def test_latents_lie_between_zero_and_one():
    latent = normalised(torch.randn(50, 6, generator=generator()))
    assert latent.amin(dim=1).tolist() == [0.0] * 50
    assert latent.amax(dim=1).tolist() == [1.0] * 50
    assert torch.isfinite(normalised(torch.ones(2, 6))).all()


def test_an_agent_goes_on_in_its_last_tree_where_the_equations_are_given():
    settings = TreeSearchSettings(simulations=20, candidates=4, hidden=8)
    agent = Agent(Point(), build(Point(), settings), settings.search, 4, generator())
    first = agent.decide(torch.tensor([[1.0], [-0.5], [0.2]]), explore=False)
    state, _, _ = Point().step(first.tree.state[:, ROOT], first.action)
    state[2] += 0.1  # not where it was expected
    second = agent.decide(state, explore=False, last=first)
    below = first.tree.rooted_at(first.tree.child[first.tree.batch, ROOT, first.slot])
    assert second.kept.tolist() == [*below.child_visits[:2, ROOT].sum(dim=1).tolist(), 0]
    assert second.kept[:2].min() > 0
    assert torch.equal(second.candidates[:2], below.actions[:2, ROOT])
    assert second.tree.child_visits[:, ROOT].sum(dim=1).tolist() == [20 + kept for kept in second.kept.tolist()]


def test_learns_to_go_to_the_middle():
    settings = TreeSearchSettings(rounds=4, episodes=16, simulations=12, candidates=6, hidden=32, updates=12)
    seen = []
    model = train(Point(), settings, seen.append)
    assert [each.episodes for each in seen] == [16, 32, 48, 64]
    assert all(math.isfinite(each.loss) for each in seen)
    learned = evaluate(Point(), model, settings, 32, seed=1).mean()
    untrained = evaluate(Point(), build(Point(), settings), settings, 32, seed=1).mean()
    assert learned > untrained + 0.3
    # what the policy alone would do: go to the middle from both sides
    mean = model.judge(torch.tensor([[-1.5], [1.5]])).mean
    assert mean[0, 0] > 0 > mean[1, 0]


def imagined(model, sign=1.0):
    """Errors of the rewards of three imagined steps, and of the value after them, beside what happens."""
    state = 3 * torch.rand(200, 1, generator=generator(5)) - 1.5
    embedding, wrong, draw = model.begin(state), [], generator(6)
    for _ in range(3):
        raw = torch.randn(200, 1, generator=draw)
        state, reward, _ = Point().step(state, Bounds(Point.action_low, Point.action_high)(raw))
        embedding, told, _ = model.follow(embedding, sign * raw)
        wrong.append((told - Point.reward_scale * reward).abs().mean())
    value_gap = model.judge(embedding).value - model.judge(model.begin(state)).value
    return float(torch.stack(wrong).max()), float(value_gap.abs().mean())


def test_a_latent_model_learns_what_is_earned_and_to_go_to_the_middle():
    settings = TreeSearchSettings(
        algorithm="muzero",
        rounds=4,
        episodes=16,
        simulations=12,
        candidates=6,
        hidden=32,
        updates=8,
        unroll_steps=3,
        value_weight=0.25,
        learning_rate=3e-3,
        gradient_norm=10.0,
        consistency_weight=1.0,
    )
    seen = []
    model, untrained = train(Point(), settings, seen.append), build(Point(), settings)
    assert seen[-1].loss < seen[0].loss
    learned = evaluate(Point(), model, settings, 32, seed=1).mean()
    assert learned > evaluate(Point(), untrained, settings, 32, seed=1).mean() + 0.3
    with torch.no_grad():
        (wrong, gap), (wrong_way, gap_there) = imagined(model), imagined(model, sign=-1.0)
        assert wrong < 0.5 * imagined(untrained)[0]
    assert wrong < 0.4 * wrong_way  # it is the actions that lead there
    assert gap < 0.4 * gap_there


@pytest.mark.parametrize("algorithm", ["alphazero", "muzero"])
def test_the_same_seed_learns_the_same(algorithm):
    settings = SMALL.model_copy(update={"algorithm": algorithm, "reuse": algorithm == "alphazero"})
    first, second = (train(Point(), settings).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_experience_is_what_was_played():
    settings = TreeSearchSettings(simulations=4, candidates=3, episodes=6, hidden=8)
    agent = Agent(Point(), build(Point(), settings), settings.search, 3, generator())
    played, _ = play(Point(), agent, settings, generator())
    following, reward, ended = Point().step(played.state, Bounds(Point.action_low, Point.action_high)(played.raw))
    torch.testing.assert_close(played.reward, Point.reward_scale * reward)
    assert torch.equal(played.goes_on, ~ended)
    on = played.goes_on[:-1]
    torch.testing.assert_close(played.state[1:][on], following[:-1][on])
    assert (played.candidates == played.raw[:, :, None]).all(dim=-1).any(dim=-1).all()
