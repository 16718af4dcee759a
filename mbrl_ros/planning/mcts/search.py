"""Monte Carlo tree search by PUCT (Silver et al. 2018; Schrittwieser et al. 2020, appendix B), B trees at once.

Each simulation follows the candidate with the highest score

    Q + c(N) sqrt(N) P / (1 + n),    c(N) = init + log((N + base + 1) / base)

from the root to an edge that was not followed before, expands it, and adds the return to all nodes on the way. N and
n count the visits of node and edge, P is the prior, Q the value normalised between the smallest and the largest of the
node and its visited children.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace

import torch

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.planning.mcts.tree import ROOT, UNVISITED, Expand, Leaf, Transition, Tree

_TIE = 1e-7  # candidates whose scores differ by less are drawn from


@dataclass(frozen=True)
class Widening:
    """How many of a node's candidates may be tried after N visits: ``ceil(factor N^exponent)`` (Couetoux et al. 2011).

    Candidates must then be samples of the policy, and their prior uniform: it would count density twice otherwise.

    Raises:
        ConfigError: a value makes no sense.
    """

    factor: float = 1.0
    exponent: float = 0.5

    def __post_init__(self) -> None:
        if not (self.factor > 0 and 0 < self.exponent <= 1):
            raise ConfigError(f"widening needs factor > 0 and exponent in (0, 1]: {self}")

    def allowed(self, visits: torch.Tensor) -> torch.Tensor:
        """[B] candidates after ``visits`` [B] of their node; one at least."""
        return torch.ceil(self.factor * visits.double() ** self.exponent).clamp_min(1)


@dataclass(frozen=True)
class SearchSettings:
    """Size and balance of a search.

    Args:
        simulations: per tree.
        max_depth: edges from the root to the deepest node, at most; None: no limit.
        exploration: weight of the prior, "init" above.
        exploration_base: visits over which the weight grows, "base" above.
        widening: of all nodes but the root; None: all candidates may be tried from the start.
        root_first: every candidate of the root is tried once before scores count.
        open_loop: follow actions, not states: every simulation steps through the model from the root, so that
            a model that draws what follows is averaged over (Lecarpentier et al. 2018).

    Raises:
        ConfigError: a value makes no sense.
    """

    simulations: int
    max_depth: int | None = None
    exploration: float = 1.25
    exploration_base: float = 19652.0
    widening: Widening | None = None
    root_first: bool = False
    open_loop: bool = False

    def __post_init__(self) -> None:
        if self.simulations < 1 or (self.max_depth is not None and self.max_depth < 1):
            raise ConfigError(f"a search has at least one simulation of at least one edge: {self}")
        if self.exploration < 0 or self.exploration_base <= 0:
            raise ConfigError(f"exploration must not be negative, its base positive: {self}")


def search(root: Leaf, expand: Expand, settings: SearchSettings, generator: torch.Generator | None = None) -> Tree:
    """B trees, searched from ``root``.

    Args:
        root: where to search from; its value counts as one visit.
        expand: see there.
        settings: how much, and how.
        generator: breaks ties.
    """
    return searched(Tree.rooted(root, settings.simulations + 1), expand, settings, generator)


def searched(tree: Tree, expand: Expand, settings: SearchSettings, generator: torch.Generator | None = None) -> Tree:
    """``tree`` after ``settings.simulations`` more: goes on with what `reused` kept of an earlier search."""
    tree = tree.extended(settings.simulations)
    for _ in range(settings.simulations):
        edges, leaf_value = _simulate(tree, expand, settings, generator)
        _back_up(tree, edges, leaf_value)
    return tree


def visit_shares(tree: Tree) -> torch.Tensor:
    """[B, K] of the root's candidates: the improved policy (visits over their sum)."""
    visits = tree.child_visits[:, ROOT].to(tree.value.dtype)
    return visits / visits.sum(dim=1, keepdim=True).clamp_min(1)


def with_noise(prior_logits: torch.Tensor, share: float, alpha: float, generator: torch.Generator) -> torch.Tensor:
    """Logits of ``(1 - share) P + share Dirichlet(alpha)`` [B, K], for the root of a search that is to explore."""
    # A Dirichlet sample is a normalised gamma sample; torch's own takes no generator.
    draws = torch._standard_gamma(torch.full_like(prior_logits, alpha), generator=generator)
    draws = draws * torch.isfinite(prior_logits)
    noise = draws / draws.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(draws.dtype).tiny)
    return torch.log((1 - share) * torch.softmax(prior_logits, dim=-1) + share * noise)


def scores(
    tree: Tree, node: torch.Tensor, settings: SearchSettings, generator: torch.Generator | None = None
) -> torch.Tensor:
    """[B, K] what a candidate of ``node`` [B] is chosen by; minus infinity for one that may not be."""
    rows = tree.batch, node
    visits, edge_visits, logits = tree.visits[rows], tree.child_visits[rows], tree.prior_logits[rows]
    count = visits.to(tree.value.dtype)[:, None]
    weight = settings.exploration + torch.log((count + settings.exploration_base + 1) / settings.exploration_base)
    allowed = torch.isfinite(logits)
    if settings.widening is not None:
        number = torch.arange(logits.shape[1], device=logits.device)
        allowed &= (number < settings.widening.allowed(visits)[:, None]) | (node == ROOT)[:, None]
    prior = torch.softmax(logits.masked_fill(~allowed, -math.inf), dim=-1)
    explore = torch.sqrt(count) * weight * prior / (edge_visits + 1)
    ties = _TIE * torch.rand(logits.shape, generator=generator, dtype=logits.dtype, device=logits.device)
    score = _normalised(tree, node, edge_visits) + explore + ties
    if settings.root_first:
        score = torch.where((node == ROOT)[:, None] & (edge_visits == 0), 1.0 / ties.clamp_min(1e-30), score)
    return score.masked_fill(~allowed, -math.inf)


def _normalised(tree: Tree, node: torch.Tensor, edge_visits: torch.Tensor) -> torch.Tensor:
    """[B, K] Q between 0 and 1 by the node's and its visited children's; an unvisited child has the smallest."""
    own = tree.value[tree.batch, node][:, None]
    q, visited = tree.child_q[tree.batch, node], edge_visits > 0
    known = torch.where(visited, q, own)
    low, high = torch.cat([known, own], dim=1).aminmax(dim=1, keepdim=True)
    return (torch.where(visited, q, low) - low) / (high - low).clamp_min(1e-8)


@dataclass(frozen=True)
class _Edge:
    """One step of B simulations, from ``node`` [B] by candidate ``slot`` [B]; those that are so long have ``taken``."""

    node: torch.Tensor
    slot: torch.Tensor
    taken: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor


def _simulate(
    tree: Tree, expand: Expand, settings: SearchSettings, generator: torch.Generator | None
) -> tuple[list[_Edge], torch.Tensor]:
    """The ways [B] that scores lead from the root until something new is found, and the values [B] of their ends."""
    batch, deepest = tree.batch, settings.max_depth or tree.capacity
    node = last_node = last_slot = torch.full_like(tree.used, ROOT)
    taken = torch.ones_like(node, dtype=torch.bool)
    state, outcome = tree.state[:, ROOT], None
    edges: list[_Edge] = []
    for depth in range(1, deepest + 1):
        slot = scores(tree, node, settings, generator).argmax(dim=1)
        last_node, last_slot = torch.where(taken, node, last_node), torch.where(taken, slot, last_slot)
        rows = batch, node, slot
        following = tree.child[rows]
        goes_on = taken & (following != UNVISITED)
        if settings.open_loop:
            step = expand(state, tree.actions[rows])
            outcome = step if outcome is None else _chosen(taken, step, outcome)
            state = step.leaf.state
            edges.append(_Edge(node, slot, taken, step.reward, step.discount))
            goes_on &= step.discount != 0
        else:
            edges.append(_Edge(node, slot, taken, tree.child_reward[rows], tree.child_discount[rows]))
        if depth == deepest or not bool(goes_on.any()):
            break
        taken, node = goes_on, torch.where(goes_on, following, node)
    if outcome is None:
        rows = batch, last_node, last_slot
        outcome = expand(tree.state[batch, last_node], tree.actions[rows])
        edges = [_ending(edge, last_node, last_slot, outcome) for edge in edges]
    tree.grow(last_node, last_slot, outcome)
    return edges, outcome.leaf.value


def _ending(edge: _Edge, node: torch.Tensor, slot: torch.Tensor, outcome: Transition) -> _Edge:
    """``edge`` with what was found out where it is the last of its way."""
    last = (edge.node == node) & (edge.slot == slot)
    reward = torch.where(last, outcome.reward, edge.reward)
    return replace(edge, reward=reward, discount=torch.where(last, outcome.discount, edge.discount))


def _chosen(mask: torch.Tensor, those: Transition, others: Transition) -> Transition:
    """``those`` where ``mask`` [B], ``others`` elsewhere."""

    def pick(new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
        return torch.where(mask.view(-1, *[1] * (new.dim() - 1)), new, old)

    leaf = Leaf(*(pick(getattr(those.leaf, f.name), getattr(others.leaf, f.name)) for f in fields(Leaf)))
    return Transition(pick(those.reward, others.reward), pick(those.discount, others.discount), leaf)


def _back_up(tree: Tree, edges: list[_Edge], value: torch.Tensor) -> None:
    """Add what each simulation returned to the means of nodes and edges on its way."""
    returned = value
    for edge in reversed(edges):
        returned = torch.where(edge.taken, edge.reward + edge.discount * returned, returned)
        for mean, visits, rows in (
            (tree.child_q, tree.child_visits, (tree.batch, edge.node, edge.slot)),
            (tree.value, tree.visits, (tree.batch, edge.node)),
        ):
            before = mean[rows]
            mean[rows] = torch.where(edge.taken, before + (returned - before) / (visits[rows] + 1), before)
            visits[rows] += edge.taken
