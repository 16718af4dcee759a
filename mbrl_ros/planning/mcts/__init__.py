"""Monte Carlo tree search over tensors: many trees at once, discrete and continuous actions."""

from mbrl_ros.planning.mcts.reuse import reused
from mbrl_ros.planning.mcts.search import (
    SearchSettings,
    Widening,
    scores,
    search,
    searched,
    visit_shares,
    with_noise,
)
from mbrl_ros.planning.mcts.tree import ROOT, UNVISITED, Expand, Leaf, Transition, Tree

__all__ = [
    "ROOT",
    "UNVISITED",
    "Expand",
    "Leaf",
    "SearchSettings",
    "Transition",
    "Tree",
    "Widening",
    "reused",
    "scores",
    "search",
    "searched",
    "visit_shares",
    "with_noise",
]
