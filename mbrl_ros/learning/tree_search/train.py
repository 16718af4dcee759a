"""Search, act, learn from the search, search better (Silver et al. 2018; continuous actions: Moerland et al. 2018).

The policy learns the shares of visits that a search gave its candidates, the value learns what the search expected
some steps later and the rewards until then; a latent model learns to predict both and the rewards from the actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.learning.tree_search.agent import Agent
from mbrl_ros.learning.tree_search.experience import Experience, play
from mbrl_ros.learning.tree_search.latent import LatentModel
from mbrl_ros.learning.tree_search.model import GivenModel
from mbrl_ros.learning.tree_search.objective import loss
from mbrl_ros.learning.tree_search.problem import Problem
from mbrl_ros.learning.tree_search.settings import TreeSearchSettings

Model = GivenModel | LatentModel


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


def build(problem: Problem, settings: TreeSearchSettings) -> Model:
    """What ``settings`` say is to be learned, not trained yet."""
    torch.manual_seed(settings.seed)  # of the layers' first weights alone
    if settings.algorithm == "alphazero":
        return GivenModel(problem, settings.hidden)
    return LatentModel(problem, settings.latent, settings.hidden)


def train(
    problem: Problem, settings: TreeSearchSettings, listener: Callable[[Round], None] = lambda each: None
) -> Model:
    """Learn to act in ``problem``.

    Raises:
        ModelError: the loss is not finite.
    """
    model = build(problem, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    agent = Agent(problem, model, settings.search, settings.candidates, generator)
    known: list[Experience] = []
    for number in range(1, settings.rounds + 1):
        experience, returned = play(problem, agent, settings, generator)
        known.append(experience)
        everything = Experience.joined(known)
        steps = settings.updates * problem.steps
        losses = [_learn(model, optimiser, everything, settings, generator) for _ in range(steps)]
        listener(Round(number, number * settings.episodes, returned, sum(losses) / len(losses)))
    return model


def evaluate(problem: Problem, model: Model, settings: TreeSearchSettings, episodes: int, seed: int) -> torch.Tensor:
    """[episodes] returns of new episodes, acting by the search's most visited candidates."""
    generator = torch.Generator().manual_seed(seed)
    agent = Agent(problem, model, settings.search, settings.candidates, generator)
    state, total = problem.reset(episodes, generator), torch.zeros(episodes)
    alive, last = torch.ones(episodes, dtype=torch.bool), None
    for _ in range(problem.steps):
        decision = agent.decide(state, explore=False, last=last)
        state, reward, ended = problem.step(state, decision.action)
        total += reward * alive
        alive &= ~ended
        last = decision if settings.reuse else None
    return total


def _learn(
    model: Model,
    optimiser: torch.optim.Optimizer,
    experience: Experience,
    settings: TreeSearchSettings,
    generator: torch.Generator,
) -> float:
    """One gradient step; the loss."""
    length = 1 + (settings.unroll_steps if settings.algorithm == "muzero" else 0)
    value = loss(model, experience.windows(settings.batch, length, generator), settings)
    if not bool(torch.isfinite(value)):
        raise ModelError("the loss is not finite: lower learning_rate, or make rewards smaller by reward_scale")
    optimiser.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_norm)
    optimiser.step()
    return float(value.detach())
