"""Search trees as tensors: B trees that grow side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch

UNVISITED = -1
ROOT = 0


@dataclass(frozen=True)
class Leaf:
    """What is known of B nodes when they are made.

    Args:
        state: [B, S] where they are.
        value: [B] return to be expected from there, not counting what led there.
        prior_logits: [B, K] of the candidates; minus infinity for one that is not allowed.
        actions: [B, K, A] the candidates.
    """

    state: torch.Tensor
    value: torch.Tensor
    prior_logits: torch.Tensor
    actions: torch.Tensor


@dataclass(frozen=True)
class Transition:
    """What B actions lead to.

    Args:
        reward: [B] earned on the way.
        discount: [B] of the value there; zero where the episode ends, so that nothing is bootstrapped beyond it.
        leaf: where they lead.
    """

    reward: torch.Tensor
    discount: torch.Tensor
    leaf: Leaf


Expand = Callable[[torch.Tensor, torch.Tensor], Transition]
"""(states [B, S], actions [B, A]) -> what follows: a given model and a learned value and policy (AlphaZero, Silver et
al. 2018), or all of them learned (MuZero, Schrittwieser et al. 2020)."""


@dataclass
class Tree:
    """B trees of up to N nodes with K candidate actions each; node 0 is the root, a parent stands before its children.

    Args:
        used: [B] nodes that there are.
        state: [B, N, S].
        actions: [B, N, K, A] candidates of each node.
        prior_logits: [B, N, K].
        visits: [B, N] how often a search came through.
        value: [B, N] mean of the returns seen from there.
        parent: [B, N] and `parent_slot` [B, N]: by which of the parent's candidates it was reached.
        child: [B, N, K] node behind a candidate, or UNVISITED.
        child_visits: [B, N, K] how often a search went that way.
        child_q: [B, N, K] mean of the returns that it saw, zero before the first.
        child_reward, child_discount: [B, N, K] of the transition, where it is always the same.
    """

    used: torch.Tensor
    state: torch.Tensor
    actions: torch.Tensor
    prior_logits: torch.Tensor
    visits: torch.Tensor
    value: torch.Tensor
    parent: torch.Tensor
    parent_slot: torch.Tensor
    child: torch.Tensor
    child_visits: torch.Tensor
    child_q: torch.Tensor
    child_reward: torch.Tensor
    child_discount: torch.Tensor

    @classmethod
    def rooted(cls, root: Leaf, capacity: int) -> Tree:
        """B trees of a root alone, with room for ``capacity`` nodes each."""
        batch, slots = root.prior_logits.shape
        nodes, edges = (batch, capacity), (batch, capacity, slots)
        zero = root.value.new_zeros
        none = torch.full(edges, UNVISITED, device=root.value.device)
        tree = cls(
            used=torch.ones_like(none[:, 0, 0]),
            state=root.state.new_zeros(*nodes, root.state.shape[-1]),
            actions=root.actions.new_zeros(*nodes, *root.actions.shape[1:]),
            prior_logits=zero(edges),
            visits=torch.zeros_like(none[..., 0]),
            value=zero(nodes),
            parent=none[..., 0].clone(),
            parent_slot=none[..., 0].clone(),
            child=none,
            child_visits=torch.zeros_like(none),
            child_q=zero(edges),
            child_reward=zero(edges),
            child_discount=zero(edges),
        )
        tree.state[:, ROOT], tree.actions[:, ROOT] = root.state, root.actions
        tree.prior_logits[:, ROOT], tree.value[:, ROOT] = root.prior_logits, root.value
        tree.visits[:, ROOT] = 1
        return tree

    @property
    def batch(self) -> torch.Tensor:
        """[B] numbers of the trees, to index with."""
        return torch.arange(len(self.used), device=self.used.device)

    @property
    def capacity(self) -> int:
        """N."""
        return self.visits.shape[1]

    def grow(self, node: torch.Tensor, slot: torch.Tensor, outcome: Transition) -> None:
        """Write down what follows candidate ``slot`` [B] of ``node`` [B]: as a new node, or, where the depth's limit
        or the episode's end led there again, as one more look at the node that there is."""
        edge = self.batch, node, slot
        known = self.child[edge]
        new = known == UNVISITED
        leaf = torch.where(new, self.used, known)
        rows = self.batch, leaf
        self.used = self.used + new
        self.child[edge] = leaf
        self.parent[rows], self.parent_slot[rows] = node, slot
        self.child_reward[edge], self.child_discount[edge] = outcome.reward, outcome.discount
        for name in ("state", "actions", "prior_logits"):
            tensor, value = getattr(self, name), getattr(outcome.leaf, name)
            tensor[rows] = torch.where(new.view(-1, *[1] * (value.dim() - 1)), value, tensor[rows])
        looked = new | (outcome.discount != 0)
        before = self.value[rows]
        mean = before + (outcome.leaf.value - before) / (self.visits[rows] + 1)
        self.value[rows] = torch.where(looked, mean, before)
        self.visits[rows] += looked

    def extended(self, room: int) -> Tree:
        """The same trees with room for ``room`` nodes more than the fullest has."""
        extra = int(self.used.max()) + room - self.capacity
        if extra <= 0:
            return self
        grown = {}
        for name, tensor in self._by_node():
            more = tensor.new_full((tensor.shape[0], extra, *tensor.shape[2:]), _empty(name))
            grown[name] = torch.cat([tensor, more], dim=1)
        return Tree(self.used, **grown)

    def rooted_at(self, top: torch.Tensor) -> Tree:
        """The subtrees of the nodes ``top`` [B], as trees of their own."""
        kept = self._descendants(top)
        number = kept.cumsum(dim=1) - 1  # order is kept, so parents stay before their children
        width = int(kept.sum(dim=1).max())
        source = torch.argsort((~kept).to(torch.int8), dim=1, stable=True)[:, :width]
        valid = kept.gather(1, source)
        moved = {}
        for name, tensor in self._by_node():
            inner = [1] * (tensor.dim() - 2)
            index = source.view(*source.shape, *inner).expand(-1, -1, *tensor.shape[2:])
            moved[name] = tensor.gather(1, index).where(valid.view(*valid.shape, *inner), _empty(name))
        tree = Tree(kept.sum(dim=1), **moved)
        tree.parent[:, ROOT] = tree.parent_slot[:, ROOT] = UNVISITED
        for name in ("parent", "child"):
            old = getattr(tree, name)
            new = number.gather(1, old.clamp_min(0).flatten(1)).view_as(old)
            setattr(tree, name, new.where(old != UNVISITED, UNVISITED))
        return tree

    def replanted(self, where: torch.Tensor, root: Leaf) -> Tree:
        """The trees ``where`` [B] they shall stay, and elsewhere trees of a ``root`` alone."""
        fresh = Tree.rooted(root, self.capacity)
        chosen = {
            name: tensor.where(where.view(-1, *[1] * (tensor.dim() - 1)), getattr(fresh, name))
            for name, tensor in self._by_node()
        }
        return Tree(self.used.where(where, fresh.used), **chosen)

    def _by_node(self) -> list[tuple[str, torch.Tensor]]:
        """Fields [B, N, ...] by name: all but `used`."""
        return [(field.name, getattr(self, field.name)) for field in fields(self) if field.name != "used"]

    def _descendants(self, top: torch.Tensor) -> torch.Tensor:
        """[B, N] bool: nodes in the subtree of ``top`` [B]."""
        kept = torch.zeros_like(self.visits, dtype=torch.bool)
        kept[self.batch, top] = True
        for node in range(1, self.capacity):
            parent = self.parent[:, node]
            inherits = kept.gather(1, parent.clamp_min(0)[:, None])[:, 0] & (parent != UNVISITED)
            kept[:, node] |= inherits
        return kept


def _empty(name: str) -> int:
    """What a field holds where there is no node yet."""
    return UNVISITED if name in ("parent", "parent_slot", "child") else 0
