"""Tree search for the best sequence of knots: one tree, whose leaves are expanded many at a time.

`planning.mcts.search` grows many trees by a leaf each; to plan for one car there is one tree, and what makes it fast is
to evaluate many sequences in one batch of rollouts. A round selects leaves one after another, each by the score

    Q + c sqrt(N) P / (1 + n)

(PUCT as there, with a uniform prior P and a constant c), counting visits N and n at once, so that the next selection
goes elsewhere ("virtual loss", Chaslot et al. 2008); a leaf that was selected is closed until the round ends. Then all
candidates of all leaves are evaluated together, each by the cost of the whole sequence that it begins and its base
ends: the simulation of Monte Carlo tree search, where nothing is drawn. Since nothing is, Q is the best return below
an edge, not the mean, in the task's units, and no leaf is expanded twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Evaluate = Callable[[np.ndarray], np.ndarray]
"""(knots [N, D, A]) -> costs [N]; not finite for a sequence that must not be followed."""


@dataclass(frozen=True)
class KnotTree:
    """What can be chosen: at each depth a move from the base that is followed, or the other base.

    Args:
        bases: [2, D, A] sequences that a search begins between; a sequence goes on as the base that it follows does.
        moves: [M, A] of a knot from its base's; one of them is zero.
        low: [A] lowest knots.
        high: [A] highest knots.
    """

    bases: np.ndarray
    moves: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def depth(self) -> int:
        """D, knots of a sequence."""
        return self.bases.shape[1]

    def candidates(self, prefix: np.ndarray, base: int) -> np.ndarray:
        """[M + 1, D, A] sequences that begin with ``prefix`` [d, A]: moves from ``base``, and the other base."""
        sequences = np.repeat(self.bases[base][None], len(self.moves) + 1, axis=0)
        sequences[-1] = self.bases[1 - base]
        sequences[:-1, len(prefix)] = np.clip(sequences[:-1, len(prefix)] + self.moves, self.low, self.high)
        sequences[:, : len(prefix)] = prefix
        return sequences


@dataclass(frozen=True)
class Found:
    """What a search came across.

    Args:
        knots: [N, D, A] sequences, in the order of evaluation.
        costs: [N].
        visits: of the root's candidates, [M + 1].
        choice: which of them the cheapest sequence begins with.
        depth: of the deepest candidates that were evaluated, in edges from the root.
        rounds: that there were.
    """

    knots: np.ndarray
    costs: np.ndarray
    visits: list[int]
    choice: int
    depth: int
    rounds: int

    @property
    def best(self) -> int:
        """Number of the cheapest sequence, the first of equals."""
        return int(np.argmin(np.where(np.isfinite(self.costs), self.costs, np.inf)))


class _Node:
    """A prefix whose candidates were evaluated; lists are by candidate, plain because tensors this small are slow."""

    __slots__ = ("base", "best", "children", "open", "parent", "prefix", "sequences", "slot", "visits")

    def __init__(self, prefix: np.ndarray, base: int, sequences: np.ndarray, parent: _Node | None, slot: int) -> None:
        self.prefix, self.base, self.sequences, self.parent, self.slot = prefix, base, sequences, parent, slot
        self.visits = [0] * len(sequences)
        self.best: list[float] = []
        self.open: list[bool] = []
        self.children: list[_Node | None] = [None] * len(sequences)

    @property
    def depth(self) -> int:
        return len(self.prefix)


def search_knots(tree: KnotTree, evaluate: Evaluate, rounds: int, leaves: int, exploration: float) -> Found:
    """The sequences found in ``rounds`` rounds, of which the first expands the root and the others ``leaves`` each.

    A search ends early where there is nothing left to expand.

    Args:
        tree: what can be chosen.
        evaluate: what it costs.
        rounds: batches to evaluate.
        leaves: to expand per batch, at most.
        exploration: c, in units of cost.
    """
    root = _Node(tree.bases[0, :0], 0, tree.candidates(tree.bases[0, :0], 0), None, 0)
    evaluated, costs = [], []
    for number in range(rounds):
        fresh = _selected(root, tree, leaves, exploration) if number else [root]
        if not fresh:
            break
        batch = np.concatenate([node.sequences for node in fresh])
        found = evaluate(batch)
        evaluated.append(batch)
        costs.append(found)
        for node, returns in zip(fresh, (-found).reshape(len(fresh), -1).tolist(), strict=True):
            _settle(node, returns, tree.depth)
    knots = np.concatenate(evaluated)
    choice = root.best.index(max(root.best))
    return Found(knots, np.concatenate(costs), root.visits, choice, _deepest(root), len(costs))


def _selected(root: _Node, tree: KnotTree, leaves: int, exploration: float) -> list[_Node]:
    """Up to ``leaves`` new nodes, to be evaluated together."""
    chosen = (_select(root, tree, exploration) for _ in range(leaves))
    return [leaf for leaf in chosen if leaf is not None]


def _select(root: _Node, tree: KnotTree, exploration: float) -> _Node | None:
    """A new node where the scores lead to, its visits counted and its edge closed; None where all edges are."""
    if not any(root.open):
        return None
    node = root
    while True:
        weight = exploration * math.sqrt(1 + sum(node.visits)) / len(node.visits)
        scores = [
            best + weight / (1 + visits) if is_open else -math.inf
            for best, visits, is_open in zip(node.best, node.visits, node.open, strict=True)
        ]
        slot = scores.index(max(scores))
        node.visits[slot] += 1
        child = node.children[slot]
        if child is None:
            break
        node = child
    other = slot == len(node.visits) - 1
    base = 1 - node.base if other else node.base
    prefix = node.sequences[slot, : node.depth + 1]
    leaf = _Node(prefix, base, tree.candidates(prefix, base), node, slot)
    node.open[slot] = False
    _close(node)
    return leaf


def _settle(node: _Node, returns: list[float], depth: int) -> None:
    """Make an evaluated node part of the tree: its candidates' returns, and the best of them on the way to the root."""
    node.best = [value if math.isfinite(value) else -math.inf for value in returns]
    expandable = node.depth + 1 < depth
    node.open = [expandable and value > -math.inf for value in node.best]
    best, opened = max(node.best), any(node.open)
    below, above = node, node.parent
    while above is not None:
        above.children[below.slot] = above.children[below.slot] or below
        above.best[below.slot] = max(above.best[below.slot], best)
        above.open[below.slot] = above.open[below.slot] or opened
        below, above = above, above.parent


def _close(node: _Node) -> None:
    """Close the edges on the way to ``node`` below which there is nothing open."""
    while node.parent is not None and not any(node.open):
        node.parent.open[node.slot] = False
        node = node.parent


def _deepest(root: _Node) -> int:
    """Edges from the root to the deepest evaluated candidates."""
    deepest, waiting = 0, [root]
    while waiting:
        node = waiting.pop()
        deepest = max(deepest, node.depth + 1)
        waiting += [child for child in node.children if child is not None]
    return deepest
