"""Episodes that were played, and what there is to learn from them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from mbrl_ros.learning.tree_search.agent import Agent
from mbrl_ros.learning.tree_search.problem import Problem
from mbrl_ros.learning.tree_search.settings import TreeSearchSettings


@dataclass(frozen=True)
class Experience:
    """T steps of B columns, in each of which one episode follows another.

    Args:
        state: [T, B, S] before the steps.
        raw: [T, B, A] action that was taken, before squashing.
        candidates: [T, B, K, A] that the search had at its root.
        shares: [T, B, K] of its visits.
        reward: [T, B] of the step, scaled.
        goes_on: [T, B] bool: whether the episode goes on after the step.
        target: [T, B] return that the value is to learn.
    """

    state: torch.Tensor
    raw: torch.Tensor
    candidates: torch.Tensor
    shares: torch.Tensor
    reward: torch.Tensor
    goes_on: torch.Tensor
    target: torch.Tensor

    @classmethod
    def joined(cls, several: list[Experience]) -> Experience:
        """Columns of ``several`` side by side."""
        return cls(*(torch.cat([getattr(each, field.name) for each in several], dim=1) for field in fields(cls)))

    def windows(self, count: int, length: int, generator: torch.Generator) -> Experience:
        """``count`` stretches of ``length`` steps, drawn uniformly: the same fields, [length, count, ...].

        Raises:
            ValueError: there are fewer steps.
        """
        steps, columns = self.reward.shape
        if length > steps:
            raise ValueError(f"a window of {length} steps does not fit into {steps} steps of experience")
        begin = torch.randint(steps - length + 1, (count,), generator=generator)
        column = torch.randint(columns, (count,), generator=generator)
        rows = begin + torch.arange(length)[:, None], column
        return Experience(*(getattr(self, field.name)[rows] for field in fields(self)))


def play(
    problem: Problem, agent: Agent, settings: TreeSearchSettings, generator: torch.Generator
) -> tuple[Experience, float]:
    """A round of episodes, and their mean return; an episode that ends early is followed by another."""
    state = problem.reset(settings.episodes, generator)
    states, decisions, rewards, goes_on = [], [], [], []
    total, last = torch.zeros(settings.episodes), None
    for _ in range(problem.steps):
        decision = agent.decide(state, explore=True, last=last)
        following, reward, ended = problem.step(state, decision.action)
        states.append(state)
        decisions.append(decision)
        rewards.append(reward * problem.reward_scale)
        goes_on.append(~ended)
        total += reward
        fresh = problem.reset(settings.episodes, generator)
        state = torch.where(ended[:, None], fresh, following)
        last = decision if settings.reuse else None
    values = torch.stack([*(each.value for each in decisions), agent.decide(state, explore=True, last=last).value])
    reward, alive = torch.stack(rewards), torch.stack(goes_on)
    experience = Experience(
        state=torch.stack(states),
        raw=torch.stack([each.raw for each in decisions]),
        candidates=torch.stack([each.candidates for each in decisions]),
        shares=torch.stack([each.shares for each in decisions]),
        reward=reward,
        goes_on=alive,
        target=returns(reward, alive, values, problem.discount, settings.bootstrap_steps),
    )
    return experience, float(total.mean())


def returns(
    rewards: torch.Tensor, goes_on: torch.Tensor, values: torch.Tensor, discount: float, steps: int
) -> torch.Tensor:
    """[T, B] the next ``steps`` rewards and the value after them, that of the last state where they run out.

    Args:
        rewards: [T, B].
        goes_on: [T, B] bool: whether the episode goes on after the step.
        values: [T + 1, B] of the states before the steps, and of the last.
        discount: by step.
        steps: how many rewards, at most.
    """
    length = len(rewards)
    result = torch.empty_like(rewards)
    for t in range(length):
        last = min(t + steps, length)
        value = values[last]
        for k in reversed(range(t, last)):
            value = rewards[k] + discount * goes_on[k] * value
        result[t] = value
    return result
