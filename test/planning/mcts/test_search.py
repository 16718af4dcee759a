"""Tree search: node by node against mctx, and what mctx does not have against plain expectations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.planning.mcts import (
    ROOT,
    UNVISITED,
    Leaf,
    SearchSettings,
    Transition,
    Tree,
    Widening,
    reused,
    search,
    searched,
    visit_shares,
    with_noise,
)

# Written by benchmarks/mctx_trees.py --write, which runs mctx 0.0.71.
GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.npz"))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Tables:
    """A decision process of tables, as a search model."""

    def __init__(self, tables):
        self.tables = {name: torch.from_numpy(np.asarray(values)) for name, values in tables.items()}

    def leaf(self, state):
        t = self.tables
        candidates = torch.arange(t["follow"].shape[1], dtype=torch.float32)[:, None]
        actions = candidates.expand(len(state), -1, -1)
        return Leaf(state[:, None].float(), t["value"][state], t["logits"][state], actions)

    def expand(self, states, actions):
        t, rows = self.tables, (states[:, 0].long(), actions[:, 0].long())
        return Transition(t["reward"][rows], t["discount"][rows], self.leaf(t["follow"][rows]))


def random_tables(seed=0, states=50, candidates=4, ending=0.0):
    rng = np.random.default_rng(seed)
    shape = (states, candidates)
    return {
        "follow": rng.integers(states, size=shape),
        "reward": rng.normal(size=shape).astype(np.float32),
        "discount": np.where(rng.random(shape) < ending, 0.0, 0.9).astype(np.float32),
        "logits": rng.normal(size=shape).astype(np.float32),
        "value": rng.normal(size=states).astype(np.float32),
    }


def searched_tables(tables, start, settings):
    process = Tables(tables)
    return process, search(process.leaf(torch.tensor(start)), process.expand, settings, generator())


@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
def test_every_node_is_that_of_mctx(path):
    with np.load(path) as arrays:
        golden = dict(arrays)
    settings = SearchSettings(int(golden["simulations"]), max_depth=int(golden["max_depth"]) or None)
    _, tree = searched_tables(golden, golden["start"], settings)
    np.testing.assert_array_equal(tree.child_visits.numpy(), golden["peer_visits"])
    seen = golden["peer_visits"] > 0
    assert seen.sum() > 50
    np.testing.assert_allclose(tree.child_q.numpy()[seen], golden["peer_q"][seen], atol=1e-5)


def test_there_are_golden_trees():
    assert len(GOLDEN) == 4


def test_trees_of_a_batch_are_those_of_single_searches():
    tables, settings = random_tables(), SearchSettings(30)
    _, together = searched_tables(tables, [3, 7, 11], settings)
    for row, start in enumerate([3, 7, 11]):
        _, alone = searched_tables(tables, [start], settings)
        assert torch.equal(together.child_visits[row], alone.child_visits[0])


def test_nothing_is_bootstrapped_beyond_an_end():
    tables = random_tables(states=4, candidates=2)
    tables["discount"][:] = 0.0
    tables["value"][:] = 1e3  # would be seen in every Q
    _, tree = searched_tables(tables, [0], SearchSettings(40))
    seen = tree.child_visits[0] > 0
    states = tree.state[0, :, 0].long()
    rewards = torch.from_numpy(tables["reward"])[states]
    torch.testing.assert_close(tree.child_q[0][seen], rewards[seen])


def test_finds_the_path_that_pays_late():
    """A corridor: one candidate goes on, the other stays and pays a little; the end pays much."""
    length = 3
    follow = np.array([[min(k + 1, length - 1), k] for k in range(length)])
    reward = np.array([[0.0, 0.1]] * length, dtype=np.float32)
    reward[length - 2, 0] = 10.0
    tables = {
        "follow": follow,
        "reward": reward,
        "discount": np.full((length, 2), 0.9, dtype=np.float32),
        "logits": np.zeros((length, 2), dtype=np.float32),
        "value": np.zeros(length, dtype=np.float32),
    }
    _, tree = searched_tables(tables, [0], SearchSettings(300))
    assert visit_shares(tree)[0].argmax() == 0


def test_widening_tries_no_more_candidates_than_visits_allow():
    settings = SearchSettings(60, widening=Widening(1.0, 0.5), root_first=True)
    tables = random_tables(candidates=8)
    tables["logits"][:] = 0.0
    _, tree = searched_tables(tables, [0, 1], settings)
    tried = (tree.child_visits > 0).sum(dim=-1)
    allowed = torch.ceil(tree.visits.double().sqrt())
    inner = torch.arange(tree.capacity) != ROOT
    assert (tried[:, inner] <= allowed[:, inner]).all()
    assert (tried[:, inner] > 1).any()
    assert (tried[:, ROOT] == 8).all()


def test_all_candidates_of_the_root_are_tried_first():
    tables = random_tables(candidates=8)
    tables["logits"][:] = 0.0
    tables["logits"][:, 0] = 20.0  # scores would never try another
    _, tree = searched_tables(tables, [5], SearchSettings(8, root_first=True))
    assert tree.child_visits[0, ROOT].tolist() == [1] * 8


def test_what_is_not_allowed_is_never_tried():
    tables = random_tables()
    tables["logits"][:, 2] = -np.inf
    _, tree = searched_tables(tables, [5], SearchSettings(40, root_first=True))
    assert tree.child_visits[0, :, 2].sum() == 0
    assert tree.child_visits[0, ROOT, [0, 1, 3]].min() > 0


def test_an_open_loop_search_values_actions_by_the_mean_of_what_they_draw():
    """Candidate 0 pays 3 or -1 by chance, candidate 1 always 0.5; a tree of states sees one draw only."""
    draws = generator(3)

    def leaf(count):
        candidates = torch.tensor([[0.0], [1.0]]).expand(count, -1, -1)
        return Leaf(torch.zeros(count, 1), torch.zeros(count), torch.zeros(count, 2), candidates)

    def expand(states, actions):
        lucky = torch.rand(len(states), generator=draws) < 0.5
        reward = torch.where(actions[:, 0] == 0, torch.where(lucky, 3.0, -1.0), 0.5)
        return Transition(reward, torch.zeros(len(states)), leaf(len(states)))

    settings = SearchSettings(200, exploration=2.0, open_loop=True)
    tree = search(leaf(16), expand, settings, generator())
    assert tree.child_visits[:, ROOT].sum(dim=-1).tolist() == [200] * 16
    # Trees that were unlucky at first looked elsewhere; those that looked often know the mean.
    often = tree.child_visits[:, ROOT, 0] > 100
    assert often.sum() >= 8
    assert tree.child_q[often, ROOT, 0].mean() == pytest.approx(1.0, abs=0.2)


def test_an_open_loop_search_of_what_is_certain_is_the_closed_one():
    tables = random_tables()
    _, closed = searched_tables(tables, [1, 2], SearchSettings(40))
    _, opened = searched_tables(tables, [1, 2], SearchSettings(40, open_loop=True))
    assert torch.equal(closed.child_visits, opened.child_visits)
    torch.testing.assert_close(closed.child_q, opened.child_q)


def differences(tree, row, top, other, other_row=0, other_top=ROOT):
    """Fields that differ between the subtree of node ``top`` and that of ``other_top``, looked up node by node."""
    found, waiting = set(), [(top, other_top)]
    names = ("state", "actions", "prior_logits", "visits", "value", "child_visits", "child_q")
    while waiting:
        one, two = waiting.pop()
        for name in (*names, "child_reward", "child_discount"):
            if not torch.equal(getattr(tree, name)[row, one], getattr(other, name)[other_row, two]):
                found.add(name)
        children = tree.child[row, one].tolist(), other.child[other_row, two].tolist()
        for child, its_twin in zip(*children, strict=True):
            if (child == UNVISITED) != (its_twin == UNVISITED):
                found.add("child")
            elif child != UNVISITED:
                waiting.append((child, its_twin))
    return found


@pytest.mark.parametrize("open_loop", [False, True])
def test_the_tree_below_the_action_taken_is_kept_node_by_node_and_searched_on(open_loop):
    settings = SearchSettings(60, open_loop=open_loop)
    process, tree = searched_tables(random_tables(), [1, 2, 3], settings)
    slot = tree.child_visits[:, ROOT].argmax(dim=1)
    top = tree.child[tree.batch, ROOT, slot]
    came = process.expand(tree.state[:, ROOT], tree.actions[tree.batch, ROOT, slot]).leaf
    below, kept = reused(tree, slot, came, open_loop=open_loop)
    assert kept.all()
    for row in range(3):
        assert differences(tree, row, top[row], below, row) == set()
        for node in range(1, int(below.used[row])):  # every node hangs where its parent says
            assert below.child[row, below.parent[row, node], below.parent_slot[row, node]] == node
        other = tree.child[row, ROOT][(torch.arange(4) != slot[row]) & (tree.child[row, ROOT] != UNVISITED)][0]
        assert differences(tree, row, other, below, row)  # what was not done is not what was kept
    # To search on below is to simulate on in the whole tree, where all simulations take that action.
    on = searched(below, process.expand, SearchSettings(20, open_loop=open_loop), generator())
    before = below.child_visits[:, ROOT].sum(dim=1)
    assert before.min() > 3
    assert torch.equal(on.child_visits[:, ROOT].sum(dim=1), before + 20)
    tree.prior_logits[:, ROOT] = torch.full((3, 4), -torch.inf).scatter(1, slot[:, None], 0.0)
    whole = searched(tree, process.expand, SearchSettings(20, open_loop=open_loop), generator())
    for row in range(3):
        assert differences(whole, row, top[row], on, row) == set()


def test_a_tree_that_expected_something_else_begins_anew_unless_it_follows_actions():
    process, tree = searched_tables(random_tables(), [1, 2, 3], SearchSettings(30))
    slot = tree.child_visits[:, ROOT].argmax(dim=1)
    came = process.expand(tree.state[:, ROOT], tree.actions[tree.batch, ROOT, slot]).leaf
    moved = process.leaf((came.state[:, 0].long() + torch.tensor([0, 1, 0])) % 50)
    below, kept = reused(tree, slot, moved)
    assert kept.tolist() == [True, False, True]
    assert differences(below, 1, ROOT, Tree.rooted(moved, 1), 1) == set()
    assert below.used[1] == 1 < below.used[0]
    opened, kept = reused(tree, slot, moved, open_loop=True)
    assert kept.all()
    assert torch.equal(opened.state[:, ROOT], moved.state)
    never = replace(tree, child=torch.full_like(tree.child, UNVISITED))
    assert not reused(never, slot, moved, open_loop=True)[1].any()
    ended = replace(tree, child_discount=torch.zeros_like(tree.child_discount))
    assert not reused(ended, slot, moved, open_loop=True)[1].any()


def test_there_is_no_tree_below_what_was_not_tried():
    tables = random_tables()
    tables["logits"][:, 2] = -np.inf
    process, tree = searched_tables(tables, [1], SearchSettings(10))
    assert tree.child[0, ROOT, 2] == UNVISITED
    root = process.leaf(torch.tensor([1]))
    below, kept = reused(tree, torch.tensor([2]), root, open_loop=True)
    assert not kept.any()
    assert differences(below, 0, ROOT, Tree.rooted(root, 1)) == set()


def test_noise_keeps_a_distribution_and_what_is_forbidden():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0]])
    noisy = with_noise(logits, 0.25, 0.3, generator()).exp()
    assert noisy.sum() == pytest.approx(1.0, abs=1e-6)
    assert noisy[0, 2] == 0
    assert torch.allclose(with_noise(logits, 0.0, 0.3, generator()).exp(), torch.softmax(logits, -1))


@pytest.mark.parametrize(
    "wrong", [{"simulations": 0}, {"simulations": 3, "max_depth": 0}, {"simulations": 3, "exploration": -1.0}]
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigError):
        SearchSettings(**wrong)
