"""What policy, value and latent model learn: the loss of Schrittwieser et al. 2020, equation 1, over unrolled steps."""

from __future__ import annotations

import torch

from mbrl_ros.learning.tree_search.experience import Experience
from mbrl_ros.learning.tree_search.model import SearchModel
from mbrl_ros.learning.tree_search.settings import TreeSearchSettings


def loss(model: SearchModel, windows: Experience, settings: TreeSearchSettings) -> torch.Tensor:
    """[] mean loss over windows of K + 1 steps: where they begin, and after each of K steps that the model predicts.

    The steps together weigh as much as the beginning, and half of the gradient passes each of them (appendix G there),
    so that the representation is not ruled by how often it is unrolled. Beyond an episode's end nothing is earned, and
    the policy does not matter. Latents that were predicted may be asked to be those of what was observed (EfficientZero
    by Ye et al. 2021). A window of one step (K = 0) gives the loss of AlphaZero, which has no model to learn.

    Args:
        model: to look ahead with.
        windows: [K + 1, B, ...].
        settings: weights.
    """
    steps = len(windows.reward) - 1
    embedding = model.begin(windows.state[0])
    alive = torch.ones_like(windows.reward[0])
    total = _judged(model, embedding, windows, 0, alive, settings)
    for k in range(1, steps + 1):
        embedding, reward, _ = model.follow(halved(embedding), windows.raw[k - 1])
        missed = reward - alive * windows.reward[k - 1]
        alive = alive * windows.goes_on[k - 1]
        step = settings.reward_weight * missed.square().mean() + _judged(model, embedding, windows, k, alive, settings)
        if settings.consistency_weight > 0:
            with torch.no_grad():
                observed = model.begin(windows.state[k])
            apart = (embedding - observed).square().sum(dim=-1)
            step = step + settings.consistency_weight * (alive * apart).mean()
        total = total + step / steps
    return total


def halved(embedding: torch.Tensor) -> torch.Tensor:
    """The same, passing half of its gradient."""
    return 0.5 * embedding + 0.5 * embedding.detach()


def _judged(
    model: SearchModel,
    embedding: torch.Tensor,
    windows: Experience,
    k: int,
    alive: torch.Tensor,
    settings: TreeSearchSettings,
) -> torch.Tensor:
    """[] how far value and policy at step ``k`` are from what the search said."""
    known = model.judge(embedding)
    value = (known.value - alive * windows.target[k]).square()
    imitation = -(windows.shares[k] * known.log_density(windows.candidates[k])).sum(dim=1)
    certainty = -settings.entropy_weight * known.log_std.mean(dim=-1)
    return (settings.value_weight * value + alive * (imitation + certainty)).mean()
