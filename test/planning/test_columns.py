"""The graph rewrite: nothing changes in value, and what was stacked only to be taken apart is gone."""

import pytest
import torch

from mbrl_ros.planning.columns import unroll_columns

aten = torch.ops.aten
CENTRE = torch.tensor([0.5, -0.5])


def rewritten(function, *arguments):
    """Exported ``function`` and its rewritten form, both callable."""

    class Program(torch.nn.Module):
        def forward(self, *given):
            return function(*given)

    with torch.no_grad():
        program = torch.export.export(Program(), arguments).graph_module
    graph = unroll_columns(program.graph)
    return program, torch.fx.GraphModule(program, graph)


def operations(module):
    return [node.target for node in module.graph.nodes if node.op == "call_function"]


def state(count=5, entries=3, seed=0):
    return torch.randn(entries, count, generator=torch.Generator().manual_seed(seed))


def step(columns, centre):
    """As models and tasks write it: entries by name, slices, a clamp of everything, a vector of scales."""
    current = columns.T.clamp(-2, 2)
    x, y, z = current.unbind(-1)
    moved = torch.stack(torch.broadcast_tensors(x + y, y * z, z - current[..., 0])).movedim(0, -1)
    place = (moved[..., :2] - centre) * 2.0
    first, second = place.to(torch.float64).split(1, dim=-1)
    return torch.stack([moved[..., 2], (first + second).squeeze(-1).to(torch.float32), place[..., 1]], dim=-1).T


def test_values_are_untouched():
    plain, unrolled = rewritten(step, state(), CENTRE)
    other = state(seed=1)
    torch.testing.assert_close(unrolled(other, CENTRE), plain(other, CENTRE), rtol=0, atol=0)


def test_only_the_result_is_stacked():
    plain, unrolled = rewritten(step, state(), CENTRE)
    assert operations(plain).count(aten.stack.default) == 2
    assert operations(unrolled).count(aten.stack.default) == 1
    for target in (aten.split.Tensor, aten.slice.Tensor, aten.movedim.int, aten.numpy_T.default):
        assert target not in operations(unrolled)


def test_every_value_of_the_rewritten_graph_is_a_contiguous_vector():
    _, unrolled = rewritten(step, state(), CENTRE)

    class Watch(torch.fx.Interpreter):
        def run_node(self, node):
            value = super().run_node(node)
            if isinstance(value, torch.Tensor) and node.op == "call_function" and value.ndim > 0:
                assert value.stride(-1) == 1
                assert value.ndim == 1 or node.target is aten.stack.default
            return value

    Watch(unrolled).run(state(count=8), CENTRE)


def test_rows_of_a_table_are_gathered_column_by_column():
    table = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))

    def look_up(rows, index):
        a, b, _, d = rows[index[..., None]].squeeze(-2).unbind(-1)
        return a * b + d

    index = torch.tensor([3, 1, 4, 1, 5])
    plain, unrolled = rewritten(look_up, table, index)
    torch.testing.assert_close(unrolled(table, index), plain(table, index), rtol=0, atol=0)
    assert operations(unrolled).count(aten.index.Tensor) == 3  # the column that nobody reads is not gathered


@pytest.mark.parametrize(
    "function",
    [
        lambda c: torch.stack([c[0], c[1]], dim=-1).sum(dim=-1),  # a reduction needs the whole
        lambda c: torch.stack([c[0], c[1]], dim=-1) @ torch.ones(2, 3),  # so does a product
        lambda c: torch.stack([c[0], c[1]], dim=0)[:, 1:],  # a slice of another dimension
        lambda c: torch.stack([c[0], c[1]]).permute(1, 0).unbind(0)[2],  # entries across
        lambda c: torch.stack([c[0], c[1]], -1)[..., None] * torch.ones(2, 4),
        lambda c: torch.cat([torch.stack([c[0], c[1]]), c]).sqrt(),
        lambda c: torch.stack([c[0]], dim=-1).squeeze(-1) + torch.stack([c[1], c[2]], -1).squeeze(-1)[..., 0],
        lambda c: torch.stack([c[0], c[1]], -1) + torch.stack([c[1], c[2]], 0).T,
        lambda c: torch.stack([c[0], c[1]], -1) * torch.stack([c[0]], -1),
        lambda c: torch.stack([c[0]], -1) * (c.T @ torch.ones(3, 4)),  # one column meets many
        lambda c: torch.cat([torch.stack([c[0], c[1]], -1), c.T], dim=-1).clamp(0, 1).T,
        lambda c: torch.cat([torch.stack([c[0], c[1]], -1), c.T], dim=-1)[:, 1:4],
        lambda c: torch.cat([torch.stack([c[0], c[1]], -1), c.T], dim=-1) * torch.ones(5),
        lambda c: torch.cat([c.T, torch.stack([c[0], c[1]], -1)], dim=-1)[:, 4],
        lambda c: torch.cat([torch.stack([c[0]]), torch.stack([c[1], c[2]])]).mean(dim=0),
        lambda c: (
            torch.stack([c[0], c[1]], -1)[None].mT.expand(3, -1, -1).mT[torch.arange(2)].mean(dim=0) * c[0, :, None]
        ),
    ],
)
def test_what_has_no_columns_stays_right(function):
    plain, unrolled = rewritten(function, state().abs())
    given = state(seed=2).abs()
    torch.testing.assert_close(unrolled(given), plain(given))


def test_what_follows_a_record_stays_together():
    """A model's memory behind its state: never taken apart, and put in front of the result's rows as a block."""

    def remembering(columns):
        x, y, z = columns.T[:, :3].unbind(-1)
        memory = torch.tanh(columns.T[:, 3:].T)
        following = torch.cat([torch.stack([x + y, y, z], dim=-1), memory.T], dim=-1)
        return following.clamp(-1, 1)[..., :2].sum(dim=-1), following.T

    plain, unrolled = rewritten(remembering, state(count=40, entries=50))
    other = state(count=40, entries=50, seed=1)
    for ours, theirs in zip(unrolled(other), plain(other), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert unrolled(other)[1].is_contiguous()
    assert operations(unrolled).count(aten.tanh.default) == 1


def test_a_car_on_a_track_is_all_columns(car, race):
    """What models, tasks and the track's grid do today; an operation that is not understood would cost the speed."""

    def car_step(states, actions):
        following = car(states.T, actions.T)
        return following.T, torch.stack(list(race.terms(states.T, actions.T, following).values()))

    _, unrolled = rewritten(car_step, state(entries=8), state(entries=2))

    assert operations(unrolled).count(aten.stack.default) <= 3  # the two results, and one inside of the grid
    for target in (aten.split.Tensor, aten.slice.Tensor, aten.movedim.int, aten.numpy_T.default):
        assert target not in operations(unrolled)
