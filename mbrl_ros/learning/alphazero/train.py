"""Search, act, learn from the search, search better (Silver et al. 2018; continuous actions: Moerland et al. 2018).

The policy learns the shares of visits that a search gave its candidates, the value learns what the search expected
some steps later and the rewards until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ModelError
from mbrl_ros.learning.alphazero.agent import Agent
from mbrl_ros.learning.alphazero.network import PolicyValue
from mbrl_ros.learning.alphazero.problem import Problem
from mbrl_ros.planning.mcts import SearchSettings, Widening


class AlphaZeroSettings(Settings):
    """Everything about a training but the problem."""

    simulations: PositiveInt = Field(default=25, description="per decision")
    candidates: PositiveInt = Field(default=8, description="actions that a node tries, at most")
    widening: PositiveFloat = Field(default=1.0, description="a node with N visits tries so many times root of N")
    exploration: PositiveFloat = Field(default=1.25, description="weight of what was seldom tried")
    rounds: PositiveInt = Field(default=9, description="of episodes side by side, then learning goes on")
    episodes: PositiveInt = Field(default=5, description="side by side in a round")
    updates: PositiveInt = Field(default=4, description="gradient steps per step of a round")
    batch: PositiveInt = Field(default=256, description="decisions per gradient step")
    bootstrap_steps: PositiveInt = Field(default=5, description="rewards before the value is counted on")
    learning_rate: PositiveFloat = Field(default=1e-3, description="of Adam")
    entropy_weight: float = Field(default=0.01, ge=0, description="keeps the policy from deciding too early")
    gradient_norm: PositiveFloat = Field(default=1.0, description="longer gradients are cut")
    hidden: PositiveInt = Field(default=128, description="width of the network")
    seed: int = Field(default=0, ge=0, description="of everything random")

    @property
    def search(self) -> SearchSettings:
        """The search's own settings."""
        return SearchSettings(
            self.simulations,
            exploration=self.exploration,
            widening=Widening(self.widening, 0.5),
            root_first=True,
        )


@dataclass(frozen=True)
class Round:
    """What a round of episodes showed.

    Args:
        number: counted from 1.
        episodes: so far.
        returned: mean return of the round's episodes, with exploration.
        loss: mean over the round's gradient steps.
    """

    number: int
    episodes: int
    returned: float
    loss: float


@dataclass(frozen=True)
class _Samples:
    """N decisions to learn from."""

    observation: torch.Tensor
    raw: torch.Tensor
    shares: torch.Tensor
    target: torch.Tensor


def train(
    problem: Problem, settings: AlphaZeroSettings, listener: Callable[[Round], None] = lambda each: None
) -> PolicyValue:
    """Learn policy and value of ``problem``.

    Raises:
        ModelError: the loss is not finite.
    """
    torch.manual_seed(settings.seed)  # of the layers' first weights alone
    generator = torch.Generator().manual_seed(settings.seed)
    network = PolicyValue(problem.observed, problem.action_low, problem.action_high, settings.hidden)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    agent = Agent(problem, network, settings.search, settings.candidates, generator)
    known: list[_Samples] = []
    for number in range(1, settings.rounds + 1):
        samples, returned = _play(problem, agent, settings, generator)
        known.append(samples)
        everything = _Samples(
            *(torch.cat([getattr(each, name) for each in known]) for name in _Samples.__dataclass_fields__)
        )
        steps = settings.updates * problem.steps
        losses = [_learn(network, optimiser, everything, settings, generator) for _ in range(steps)]
        listener(Round(number, number * settings.episodes, returned, sum(losses) / len(losses)))
    return network


def evaluate(
    problem: Problem, network: PolicyValue, settings: AlphaZeroSettings, episodes: int, seed: int
) -> torch.Tensor:
    """[episodes] returns of new episodes, acting by the search's most visited candidates."""
    generator = torch.Generator().manual_seed(seed)
    agent = Agent(problem, network, settings.search, settings.candidates, generator)
    state, total = problem.reset(episodes, generator), torch.zeros(episodes)
    alive = torch.ones(episodes, dtype=torch.bool)
    for _ in range(problem.steps):
        state, reward, ended = problem.step(state, agent.decide(state, explore=False).action)
        total += reward * alive
        alive &= ~ended
    return total


def _play(
    problem: Problem, agent: Agent, settings: AlphaZeroSettings, generator: torch.Generator
) -> tuple[_Samples, float]:
    """A round of episodes, and their mean return; an episode that ends early is followed by another."""
    state = problem.reset(settings.episodes, generator)
    observations, raws, shares, values, rewards, goes_on = [], [], [], [], [], []
    total = torch.zeros(settings.episodes)
    for _ in range(problem.steps):
        decision = agent.decide(state, explore=True)
        following, reward, ended = problem.step(state, decision.action)
        observations.append(problem.observe(state))
        raws.append(decision.raw)
        shares.append(decision.shares)
        values.append(decision.value)
        rewards.append(reward * problem.reward_scale)
        goes_on.append(~ended)
        total += reward
        fresh = problem.reset(settings.episodes, generator)
        state = torch.where(ended[:, None], fresh, following)
    values.append(agent.decide(state, explore=True).value)
    target = returns(torch.stack(rewards), torch.stack(goes_on), torch.stack(values), problem.discount, settings)
    observation, raw, share = (torch.stack(each).flatten(0, 1) for each in (observations, raws, shares))
    return _Samples(observation, raw, share, target.flatten()), float(total.mean())


def returns(
    rewards: torch.Tensor,
    goes_on: torch.Tensor,
    values: torch.Tensor,
    discount: float,
    settings: AlphaZeroSettings,
) -> torch.Tensor:
    """[T, B] the next rewards and the value after them, that of the state after the last step where they run out.

    Args:
        rewards: [T, B].
        goes_on: [T, B] bool: whether the episode goes on after the step.
        values: [T + 1, B] of the states before the steps, and of the last.
        discount: by step.
        settings: say how many rewards.
    """
    steps = len(rewards)
    result = torch.empty_like(rewards)
    for t in range(steps):
        last = min(t + settings.bootstrap_steps, steps)
        value = values[last]
        for k in reversed(range(t, last)):
            value = rewards[k] + discount * goes_on[k] * value
        result[t] = value
    return result


def _learn(
    network: PolicyValue,
    optimiser: torch.optim.Optimizer,
    samples: _Samples,
    settings: AlphaZeroSettings,
    generator: torch.Generator,
) -> float:
    """One gradient step; the loss."""
    rows = torch.randint(len(samples.target), (settings.batch,), generator=generator)
    value, mean, log_std = network(samples.observation[rows])
    density = network.log_density(samples.raw[rows], mean[:, None], log_std[:, None])
    imitation = -(samples.shares[rows] * density).sum(dim=1).mean()
    loss = (value - samples.target[rows]).square().mean() + imitation - settings.entropy_weight * log_std.mean()
    if not bool(torch.isfinite(loss)):
        raise ModelError("the loss is not finite: lower learning_rate, or make rewards smaller by reward_scale")
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
    optimiser.step()
    return float(loss.detach())
