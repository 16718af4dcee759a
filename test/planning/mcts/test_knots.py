"""Tree search over knots: finds what trying everything finds, counts what it did, follows nothing forbidden."""

import itertools

import numpy as np
import pytest

from mbrl_ros.planning.mcts.knots import KnotTree, begun, search_knots

DEPTH = 4
LOW, HIGH = np.array([-1.0]), np.array([1.0])


def tree(moves=(-0.5, 0.0, 0.5), bases=None):
    both = np.zeros((2, DEPTH, 1)) if bases is None else np.asarray(bases)
    return KnotTree(both, np.array(moves)[:, None], LOW, HIGH)


def towards(goal):
    """Costs of missing ``goal`` [D], with a ridge between zero and it: knots matter together, not one by one."""

    def evaluate(knots):
        error = np.square(knots[..., 0] - np.asarray(goal)).sum(axis=1)
        return error + 0.3 * np.abs(np.diff(knots[..., 0], axis=1)).sum(axis=1)

    return evaluate


def everything(what, evaluate):
    """Least cost over all sequences that moves from the first base lead to."""
    per_depth = [np.clip(base + what.moves, what.low, what.high) for base in what.bases[0]]
    return evaluate(np.array(list(itertools.product(*per_depth)))).min()


@pytest.mark.parametrize("goal", [(0.5, -0.5, 0.5, 0.5), (-0.4, 0.1, 0.4, -0.6), (0.0, 0.0, 0.0, 1.0)])
def test_with_enough_rounds_it_finds_what_trying_everything_finds(goal):
    found = search_knots(begun(tree()), towards(goal), rounds=400, leaves=1, exploration=1.0)
    assert found.costs[found.best] == pytest.approx(everything(tree(), towards(goal)))
    assert found.rounds < 400  # it ended because nothing was left
    assert found.depth == DEPTH


def test_leaves_of_a_round_differ_and_no_prefix_is_expanded_twice():
    seen = []

    def evaluate(knots):
        seen.append(knots)
        return towards((0.5, -0.5, 0.5, 0.5))(knots)

    what = tree(bases=np.stack([np.full((DEPTH, 1), 0.1), np.zeros((DEPTH, 1))]))
    found = search_knots(begun(what), evaluate, rounds=3, leaves=4, exploration=1.0)
    assert [len(batch) for batch in seen] == [4, 16, 16]
    np.testing.assert_array_equal(np.concatenate(seen), found.knots)
    assert sum(found.visits) == 8  # leaves selected from the root on
    expanded = {batch[4 * k : 4 * k + 4].tobytes() for batch in seen for k in range(len(batch) // 4)}
    assert len(expanded) == 9


def test_a_little_search_looks_where_it_is_good_and_exploration_looks_elsewhere_too():
    greedy, curious = (
        search_knots(begun(tree()), towards((0.5, 0.5, 0.5, 0.5)), rounds=8, leaves=2, exploration=c)
        for c in (0.0, 100.0)
    )
    assert max(curious.visits) - min(curious.visits) <= 1
    assert max(greedy.visits) > max(curious.visits)
    assert greedy.visits[greedy.choice] == max(greedy.visits)


def test_bases_are_candidates_and_either_is_followed_to_the_end():
    last, law = np.full((DEPTH, 1), 0.3), np.zeros((DEPTH, 1))
    what = tree(bases=np.stack([last, law]))
    kept = search_knots(begun(what), towards((0.3, 0.3, 0.3, 0.3)), rounds=1, leaves=1, exploration=1.0)
    np.testing.assert_array_equal(kept.knots[kept.best], last)
    left = search_knots(begun(what), towards((0.0, 0.0, 0.0, 0.0)), rounds=1, leaves=1, exploration=1.0)
    np.testing.assert_array_equal(left.knots[left.best], law)
    back = search_knots(begun(what), towards((0.0, 0.0, 0.3, 0.3)), rounds=60, leaves=1, exploration=1.0)
    np.testing.assert_array_equal(back.knots[back.best].ravel(), [0.0, 0.0, 0.3, 0.3])


def test_knots_stay_within_bounds():
    what = begun(tree(moves=(-3.0, 0.0, 3.0)))
    found = search_knots(what, towards((9.0,) * DEPTH), rounds=40, leaves=4, exploration=1.0)
    assert found.knots.min() == -1.0
    assert found.knots.max() == 1.0
    np.testing.assert_array_equal(found.knots[found.best], np.ones((DEPTH, 1)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_neither_chosen_nor_searched_below(bad):
    def evaluate(knots):
        costs = towards((0.5, 0.5, 0.5, 0.5))(knots)
        return np.where(knots[:, 0, 0] > 0, bad, costs)

    found = search_knots(begun(tree()), evaluate, rounds=400, leaves=4, exploration=1.0)
    assert np.isfinite(found.costs[found.best])
    assert found.knots[found.best][0, 0] <= 0
    assert (found.knots[:, 0, 0] > 0).sum() == 1  # seen once, by the root's expansion


def test_where_nothing_is_finite_the_search_ends():
    found = search_knots(begun(tree()), lambda knots: np.full(len(knots), np.nan), rounds=9, leaves=4, exploration=1.0)
    assert (found.rounds, sum(found.visits)) == (1, 0)


GOAL = (0.5, -0.5, 0.5, 0.5, 0.5)


def statistics(grown):
    """{knots before a node: (visits, best returns, which are open)} of every node that was expanded."""
    found, waiting = {}, [grown.root]
    while waiting:
        node = waiting.pop()
        found[node.prefix.tobytes()] = list(node.visits), list(node.best), list(node.open)
        waiting += [child for child in node.children if child is not None]
    return found


def without_first(stats, knot):
    """Those below the first ``knot``, without it."""
    first = np.array([[knot]]).tobytes()
    return {prefix[len(first) :]: s for prefix, s in stats.items() if prefix.startswith(first)}


def two_bases():
    """Bases and moves whose sums are all different, so that the knots before a node are its own."""
    return tree(bases=np.stack([np.full((DEPTH, 1), 0.1), np.zeros((DEPTH, 1))]))


STAY = 1  # number of the move that is zero


@pytest.fixture
def found():
    return search_knots(begun(two_bases()), towards(GOAL[:4]), rounds=12, leaves=3, exploration=2.0)


def test_below_the_knot_that_was_passed_everything_is_as_it_was_searched(found):
    stats = statistics(found.grown)
    expected, elsewhere = without_first(stats, 0.1), without_first(stats, 0.6)
    below = found.grown.below(STAY)
    assert statistics(below) == expected != elsewhere
    assert len(expected) > 3
    assert below.tree.depth == DEPTH
    np.testing.assert_array_equal(below.tree.bases, two_bases().bases)
    alone = search_knots(begun(two_bases()), towards(GOAL[:4]), rounds=1, leaves=3, exploration=2.0)
    assert alone.grown.below(STAY) is None
    assert (alone.kept, found.kept) == (0, 0)


def test_a_search_goes_on_with_the_visits_that_there_were_and_costs_of_now(found):
    below, now = found.grown.below(STAY), towards(GOAL[1:])
    before = statistics(below)
    looked = search_knots(below, now, rounds=1, leaves=1000, exploration=2.0)
    after = statistics(below)
    assert {k: visits for k, (visits, _, _) in after.items()} == {k: visits for k, (visits, _, _) in before.items()}
    assert looked.kept == len(before) - 1
    assert looked.visits == before[b""][0]
    for prefix, (_, best, _) in after.items():  # the best of what was looked at now, node by node
        assert max(best) == -looked.costs[[knots.tobytes().startswith(prefix) for knots in looked.knots]].min()
    on = search_knots(below, now, rounds=1000, leaves=1, exploration=1.0)
    assert on.rounds < 1000  # nothing was left
    assert on.costs.min() <= everything(two_bases(), now)
    assert len(statistics(below)) == sum(4**depth for depth in range(DEPTH))  # none was expanded twice


def test_only_so_many_nodes_are_kept_and_those_that_were_visited_most(found):
    before = statistics(found.grown)
    again = search_knots(found.grown, towards(GOAL[:4]), rounds=1, leaves=5, exploration=2.0)
    after = statistics(found.grown)
    assert (again.kept, len(after), len(again.costs)) == (4, 5, 5 * 4)
    assert all(before[k][0] == visits for k, (visits, _, _) in after.items())
    passed = {prefix: sum(visits) for prefix, (visits, _, _) in before.items()}
    assert min(passed[k] for k in after) >= max(passed[k] for k in before.keys() - after.keys())
    on = search_knots(found.grown, towards(GOAL[:4]), rounds=1000, leaves=1, exploration=1.0)
    assert on.costs.min() <= everything(two_bases(), towards(GOAL[:4]))
    assert len(statistics(found.grown)) == sum(4**depth for depth in range(DEPTH))  # what was cut off may grow again
