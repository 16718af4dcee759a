"""What a search looks ahead with: known equations with a learned policy and value, or all of it learned."""

from __future__ import annotations

from typing import Protocol

import torch

from mbrl_ros.learning.tree_search.network import Bounds, Judgement, PolicyValue
from mbrl_ros.learning.tree_search.problem import Problem


class SearchModel(Protocol):
    """What is known of a place is its embedding [B, E]; actions [..., A] are raw ones, before squashing."""

    def begin(self, state: torch.Tensor) -> torch.Tensor:
        """States of the problem [B, S] -> embeddings [B, E]."""
        ...

    def judge(self, embedding: torch.Tensor) -> Judgement:
        """[B, E] -> value and policy there."""
        ...

    def follow(self, embedding: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, E], [B, A] -> embeddings [B, E] a step later, scaled rewards [B], and discounts [B] of what comes after;
        zero where the episode is known to have ended."""
        ...


class GivenModel(torch.nn.Module):
    """A problem's own equations, and policy and value to learn (AlphaZero, Silver et al. 2018).

    An embedding is the problem's state.

    Args:
        problem: to act in.
        hidden: width of the network.
    """

    def __init__(self, problem: Problem, hidden: int) -> None:
        super().__init__()
        self._problem = problem
        self._squash = Bounds(problem.action_low, problem.action_high)
        self.prediction = PolicyValue(problem.observed, len(problem.action_low), hidden)

    def begin(self, state: torch.Tensor) -> torch.Tensor:
        """[B, S] as it is."""
        return state

    def judge(self, embedding: torch.Tensor) -> Judgement:
        """[B, S] -> value and policy there."""
        judgement: Judgement = self.prediction(self._problem.observe(embedding))
        return judgement

    def follow(self, embedding: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, S], [B, A] -> [B, S], scaled rewards [B], discounts [B]."""
        following, reward, ended = self._problem.step(embedding, self._squash(raw))
        discount = self._problem.discount * (~ended).to(reward.dtype)
        return following, reward * self._problem.reward_scale, discount
