"""A model that is learned for what a search needs of it alone: rewards, values and policies (MuZero)."""

from __future__ import annotations

import torch

from mbrl_ros.learning.tree_search.network import Judgement, PolicyValue
from mbrl_ros.learning.tree_search.problem import Problem


class LatentModel(torch.nn.Module):
    """Representation, dynamics and prediction of Schrittwieser et al. 2020; a `learning.tree_search.model.SearchModel`.

    An embedding is a latent, whose entries lie between 0 and 1 (appendix G there). The problem is asked for its
    observations alone. That an episode ends is not modelled: beyond its end nothing is earned, which the value learns.

    Args:
        problem: that is acted in.
        latent: E, entries of a latent.
        hidden: width of the networks.
    """

    def __init__(self, problem: Problem, latent: int, hidden: int) -> None:
        super().__init__()
        self._problem = problem
        actions = len(problem.action_low)
        self.representation = _perceptron(problem.observed, hidden, latent)
        self.dynamics = _perceptron(latent + actions, hidden, latent + 1)
        self.prediction = PolicyValue(latent, actions, hidden)

    def begin(self, state: torch.Tensor) -> torch.Tensor:
        """[B, S] -> latents [B, E] of what is observed there."""
        return normalised(self.representation(self._problem.observe(state)))

    def judge(self, embedding: torch.Tensor) -> Judgement:
        """[B, E] -> value and policy there."""
        judgement: Judgement = self.prediction(embedding)
        return judgement

    def follow(self, embedding: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, E], [B, A] -> [B, E], scaled rewards [B], discounts [B]."""
        change, reward = self.dynamics(torch.cat([embedding, torch.tanh(raw)], dim=-1)).tensor_split([-1], dim=-1)
        return normalised(embedding + change), reward[..., 0], torch.full_like(reward[..., 0], self._problem.discount)


def normalised(latent: torch.Tensor) -> torch.Tensor:
    """[..., E] with the least entry of each at 0 and the greatest at 1."""
    low, high = latent.aminmax(dim=-1, keepdim=True)
    return (latent - low) / (high - low).clamp_min(1e-5)


def _perceptron(inputs: int, hidden: int, outputs: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, hidden),
        torch.nn.SiLU(),
        torch.nn.Linear(hidden, hidden),
        torch.nn.SiLU(),
        torch.nn.Linear(hidden, outputs),
    )
