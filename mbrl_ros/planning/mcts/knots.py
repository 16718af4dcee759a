"""Tree search for the best sequence of knots: one tree, whose leaves are expanded many at a time.

`planning.mcts.search` grows many trees by a leaf each; to plan for one car there is one tree, and what makes it fast is
to evaluate many sequences in one batch of rollouts. A round selects leaves one after another, each by the score

    Q + c sqrt(N) P / (1 + n)

(PUCT as there, with a uniform prior P and a constant c), counting visits N and n at once, so that the next selection
goes elsewhere ("virtual loss", Chaslot et al. 2008); a leaf that was selected is closed until the round ends. Then all
candidates of all leaves are evaluated together, each by the cost of the whole sequence that it begins and its base
ends: the simulation of Monte Carlo tree search, where nothing is drawn. Since nothing is, Q is the best return below
an edge, not the mean, in the task's units, and no leaf is expanded twice.

A search may go on in the tree of an earlier one, from the root or from below the knot that was passed. Visits are kept;
costs are of a horizon that recedes and of a car that is not quite where it was expected, so the nodes that were visited
most are evaluated anew, in the first round, and what hung below the others is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

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
class Grown:
    """A tree and what was searched of it; a search that goes on in it changes it.

    Args:
        tree: what can be chosen.
        root: where choices begin.
    """

    tree: KnotTree
    root: _Node

    def below(self, slot: int) -> Grown | None:
        """What there is below the root's candidate ``slot``, a knot further on: the last knots are held for one more.

        None where nothing was searched there.
        """
        root, bases = self.root.children[slot], self.tree.bases
        if root is None:
            return None
        root.parent, waiting = None, [root]
        while waiting:
            node = waiting.pop()
            node.prefix = node.prefix[1:]
            node.sequences = np.concatenate([node.sequences[:, 1:], node.sequences[:, -1:]], axis=1)
            waiting += [child for child in node.children if child is not None]
        return Grown(replace(self.tree, bases=np.concatenate([bases[:, 1:], bases[:, -1:]], axis=1)), root)


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
        kept: nodes below the root that an earlier search had expanded.
        grown: what a later search may go on in.
    """

    knots: np.ndarray
    costs: np.ndarray
    visits: list[int]
    choice: int
    depth: int
    rounds: int
    kept: int
    grown: Grown

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


def begun(tree: KnotTree) -> Grown:
    """``tree``, of which nothing was searched."""
    nothing = tree.bases[0, :0]
    return Grown(tree, _Node(nothing, 0, tree.candidates(nothing, 0), None, 0))


def search_knots(grown: Grown, evaluate: Evaluate, rounds: int, leaves: int, exploration: float) -> Found:
    """The sequences found in ``rounds`` rounds: the first looks at what there is of the tree, the others expand more.

    A search ends early where there is nothing left to expand.

    Args:
        grown: what can be chosen, and what was searched of it; see `begun`.
        evaluate: what it costs.
        rounds: batches to evaluate.
        leaves: to expand per batch, at most; so many nodes are kept, too.
        exploration: c, in units of cost.
    """
    tree, root = grown.tree, grown.root
    standing = _most_visited(root, leaves)
    evaluated, costs = [], []
    for number in range(rounds):
        fresh = _selected(root, tree, leaves, exploration) if number else standing
        if not fresh:
            break
        batch = np.concatenate([node.sequences for node in fresh])
        found = evaluate(batch)
        evaluated.append(batch)
        costs.append(found)
        for node, returns in zip(fresh, (-found).reshape(len(fresh), -1).tolist(), strict=True):
            _settle(node, returns, tree.depth)
    return Found(
        np.concatenate(evaluated),
        np.concatenate(costs),
        list(root.visits),
        root.best.index(max(root.best)),
        _deepest(root),
        len(costs),
        len(standing) - 1,
        grown,
    )


def _most_visited(root: _Node, count: int) -> list[_Node]:
    """Up to ``count`` nodes, parents before their children; all others are cut off."""
    nodes = [root]
    for node in nodes:
        nodes += [child for child in node.children if child is not None]
    # A parent was visited once more than its children together, so it is among them where a child is.
    nodes[1:] = sorted(nodes[1:], key=_visited, reverse=True)
    left = set(nodes[:count])
    for node in left:
        node.children = [child if child in left else None for child in node.children]
    return nodes[:count]


def _visited(node: _Node) -> int:
    """How often a search went to ``node``, which is not the root."""
    return node.parent.visits[node.slot] if node.parent is not None else 0


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
    node.open = [
        expandable and value > -math.inf and child is None
        for value, child in zip(node.best, node.children, strict=True)
    ]
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
