"""Acting by a search that policy and value guide."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.learning.alphazero.network import PolicyValue
from mbrl_ros.learning.alphazero.problem import Problem
from mbrl_ros.planning.mcts import ROOT, Leaf, SearchSettings, Transition, search, visit_shares


@dataclass(frozen=True)
class Decision:
    """What B searches found.

    Args:
        action: [B, A] the one to take.
        raw: [B, K, A] the root's candidates before squashing.
        shares: [B, K] of visits.
        value: [B] mean of the root's Q by these shares, in scaled rewards.
    """

    action: torch.Tensor
    raw: torch.Tensor
    shares: torch.Tensor
    value: torch.Tensor


class Agent:
    """Searches a problem's own equations, with leaves judged by a network.

    Candidates are samples of the policy, so their prior is uniform: weighting them by density would count it twice
    (Hubert et al. 2021).

    Args:
        problem: to act in.
        network: policy and value.
        settings: of the search.
        candidates: K, actions per node.
        generator: of candidates and ties.
    """

    def __init__(
        self,
        problem: Problem,
        network: PolicyValue,
        settings: SearchSettings,
        candidates: int,
        generator: torch.Generator,
    ) -> None:
        self._problem, self._network, self._settings = problem, network, settings
        self._candidates, self._generator = candidates, generator

    @torch.no_grad()
    def decide(self, state: torch.Tensor, *, explore: bool) -> Decision:
        """Search from the states [B, S].

        Args:
            state: of the problem.
            explore: draw the action by visits, instead of taking the one that was visited most.
        """
        root = self._leaf(state)
        tree = search(root, self._expand, self._settings, self._generator)
        shares = visit_shares(tree)
        most = shares.argmax(dim=1)
        slot = torch.multinomial(shares, 1, generator=self._generator)[:, 0] if explore else most
        raw = root.actions
        chosen = raw[torch.arange(len(raw)), slot]
        value = (shares * tree.child_q[:, ROOT]).sum(dim=1)
        return Decision(self._network.squash(chosen), raw, shares, value)

    def _leaf(self, state: torch.Tensor) -> Leaf:
        value, mean, log_std = self._network(self._problem.observe(state))
        noise = torch.randn(len(state), self._candidates, mean.shape[-1], generator=self._generator)
        raw = mean[:, None] + log_std.exp()[:, None] * noise
        return Leaf(state, value, torch.zeros(raw.shape[:2]), raw)

    def _expand(self, state: torch.Tensor, raw: torch.Tensor) -> Transition:
        following, reward, ended = self._problem.step(state, self._network.squash(raw))
        discount = self._problem.discount * (~ended).to(reward.dtype)
        return Transition(reward * self._problem.reward_scale, discount, self._leaf(following))
