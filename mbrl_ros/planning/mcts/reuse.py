"""What a search keeps of the last one once an action was taken: the subtree below it."""

from __future__ import annotations

import torch

from mbrl_ros.planning.mcts.tree import ROOT, UNVISITED, Leaf, Tree


def reused(
    tree: Tree, slot: torch.Tensor, root: Leaf, *, open_loop: bool = False, tolerance: float = 1e-5
) -> tuple[Tree, torch.Tensor]:
    """Trees to go on with after candidate ``slot`` [B] of each root was taken, and [B] bool which of them were kept.

    A subtree is kept as it is, each node with its visits and means, where it tells of what came: a tree of states if
    what it expected is where the roots are now, an open-loop tree, whose nodes stand for actions, wherever that is;
    the states that its simulations begin with are then the new ones. All others begin anew at ``root``.

    Args:
        tree: after a search.
        slot: what was done.
        root: what is known of where that led.
        open_loop: whether the search follows actions instead of states, as `SearchSettings` has it.
        tolerance: between an entry of the state that was expected and of the one that came.
    """
    top = tree.child[tree.batch, ROOT, slot]
    kept = (top != UNVISITED) & (tree.child_discount[tree.batch, ROOT, slot] != 0)
    if not open_loop:
        expected = tree.state[tree.batch, top.clamp_min(ROOT)]
        kept &= ((expected - root.state).abs() <= tolerance).all(dim=-1)
    tree = tree.rooted_at(top.where(kept, ROOT)).replanted(kept, root)
    tree.state[:, ROOT] = root.state
    return tree, kept
