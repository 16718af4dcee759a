"""Acting by a search that policy and value guide."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.learning.tree_search.model import SearchModel
from mbrl_ros.learning.tree_search.network import Bounds
from mbrl_ros.learning.tree_search.problem import Problem
from mbrl_ros.planning.mcts import ROOT, Leaf, SearchSettings, Transition, Tree, reused, searched, visit_shares


@dataclass(frozen=True)
class Decision:
    """What B searches found.

    Args:
        action: [B, A] the one to take.
        raw: [B, A] the same before squashing.
        slot: [B] which of the root's candidates it is.
        candidates: [B, K, A] of the root, before squashing.
        shares: [B, K] of visits.
        value: [B] mean of the root's Q by these shares, in scaled rewards.
        kept: [B] visits that the root had before this search.
        tree: that was searched.
    """

    action: torch.Tensor
    raw: torch.Tensor
    slot: torch.Tensor
    candidates: torch.Tensor
    shares: torch.Tensor
    value: torch.Tensor
    kept: torch.Tensor
    tree: Tree


class Agent:
    """Searches a model, with leaves judged by its policy and value.

    Candidates are samples of the policy, so their prior is uniform: weighting them by density would count it twice
    (Hubert et al. 2021).

    Args:
        problem: to act in.
        model: to look ahead with.
        settings: of the search.
        candidates: K, actions per node.
        generator: of candidates and ties.
    """

    def __init__(
        self,
        problem: Problem,
        model: SearchModel,
        settings: SearchSettings,
        candidates: int,
        generator: torch.Generator,
    ) -> None:
        self._model, self._settings = model, settings
        self._squash = Bounds(problem.action_low, problem.action_high)
        self._candidates, self._generator = candidates, generator

    @torch.no_grad()
    def decide(self, state: torch.Tensor, *, explore: bool, last: Decision | None = None) -> Decision:
        """Search from the states [B, S].

        Args:
            state: of the problem.
            explore: draw the action by visits, instead of taking the one that was visited most.
            last: the decision that led here, whose tree goes on where it expected this (`planning.mcts.reused`).
        """
        root = self._leaf(self._model.begin(state))
        begun = Tree.rooted(root, 1) if last is None else reused(last.tree, last.slot, root)[0]
        kept = begun.child_visits[:, ROOT].sum(dim=1)
        tree = searched(begun, self._expand, self._settings, self._generator)
        shares = visit_shares(tree)
        most = shares.argmax(dim=1)
        slot = torch.multinomial(shares, 1, generator=self._generator)[:, 0] if explore else most
        candidates = tree.actions[:, ROOT]
        raw = candidates[tree.batch, slot]
        value = (shares * tree.child_q[:, ROOT]).sum(dim=1)
        return Decision(self._squash(raw), raw, slot, candidates, shares, value, kept, tree)

    def _leaf(self, embedding: torch.Tensor) -> Leaf:
        known = self._model.judge(embedding)
        noise = torch.randn(len(embedding), self._candidates, known.mean.shape[-1], generator=self._generator)
        raw = known.mean[:, None] + known.log_std.exp()[:, None] * noise
        return Leaf(embedding, known.value, torch.zeros(raw.shape[:2]), raw)

    def _expand(self, embedding: torch.Tensor, raw: torch.Tensor) -> Transition:
        following, reward, discount = self._model.follow(embedding, raw)
        return Transition(reward, discount, self._leaf(following))
