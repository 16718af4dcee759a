"""Operations in C against torch's, on numbers of all kinds."""

import ctypes
import functools

import pytest
import torch

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.planning.compiler import compile_library
from mbrl_ros.planning.native.program import FLAGS, Program, Rows, source
from mbrl_ros.planning.native.scan import scan
from mbrl_ros.planning.native.tracing import trace

SPECIAL = [-torch.inf, -2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 30.0, torch.inf, torch.nan]


def compiled(function, inputs, folder, tables=None, name="program"):
    """The function in C++, of one row of inputs."""
    path = folder / f"{name}.so"
    compile_library(source(trace(function, inputs), inputs, tables or [False] * len(inputs)), FLAGS, ["-lm"], path)
    return Program(path)


def run(program, inputs, like):
    results = [torch.zeros_like(one, memory_format=torch.contiguous_format) for one in like]
    program.bind([*map(Rows, inputs)], [*map(Rows, results)], torch.ones(1, dtype=torch.bool))()
    return results


def entrywise(x, y):
    """Every operation of entries, of one number and of two."""
    small = (x + 0.1).clamp(-0.9, 0.9)
    return [
        x + y, x - y, 2 - x, x * y, x / y, -x, 1 / x, x.abs(), x.sin(), x.cos(), x.tan(), x.atan(), torch.atan2(x, y),
        small.asin(), small.acos(), x.tanh(), x.exp(), x.expm1(), x.log(), x.log1p(), x.sqrt(), x.rsqrt(), x.sigmoid(),
        x.erf(), x.sinh(), x.cosh(), x.square(), torch.nn.functional.softplus(x), x.relu(), x.floor(), x.ceil(),
        x.round(), x.trunc(), x.sign(), torch.maximum(x, y), torch.minimum(x, y), torch.fmod(x, y),
        torch.remainder(x, y), torch.remainder(x, 0.7), x >= y, x > y, x <= y, x < y, x == y, x != y, (x > 0) & (y > 0),
        (x > 0) | (y > 0), (x > 0) ^ (y > 0), ~(x > 0), torch.logical_and(x > 0, y > 0), torch.where(x > y, x, y),
        x.isnan(), x.isinf(), x.isfinite(), x.float(), (x > 0).double(), x.clamp_min(0.4), x.clamp_max(0.4),
        x.clamp(-1.0, 1.0), x.clamp(y, y + 1), x**2, x**3, x**0.5, x**-1, x**1.7, x.abs() ** y,
        torch.add(x, y, alpha=-2.5), torch.div(x, y, rounding_mode="floor"), torch.div(x, y, rounding_mode="trunc"),
        torch.lerp(x, y, 0.3), torch.addcmul(x, x, y), torch.hypot(x, y), x.nan_to_num(1.0, 2.0, -2.0),
    ]  # fmt: skip


def test_entries_become_what_torch_makes_of_them(tmp_path):
    special = torch.tensor(SPECIAL, dtype=torch.float64)
    x, y = (one.contiguous() for one in torch.meshgrid(special, special, indexing="ij"))
    wanted = entrywise(x, y)
    found = run(compiled(entrywise, [x, y], tmp_path), [x, y], wanted)
    for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        message = functools.partial("{}: {}".format, number)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True, msg=message)


def whole(a, b, k):
    """Operations of whole arrays, and of views of them."""
    symmetric = a[:, :3] @ a[:, :3].mT
    values, vectors = torch.linalg.eigh(symmetric)
    picked = b[k]
    return [
        a.sum(), a.sum(-1), a.sum((0, 2), keepdim=True), a.mean(1), a.amax(-1), a.amin((0, 1)), (a > 0).all(-1),
        (a > 0).any(0), a.argmin(1), a.argmin(0, keepdim=True), torch.cat([a, a[:, :1]], 1), torch.stack([b, b + 1]),
        a.flip(0, 2), a.mT @ a, a @ b.mT, b @ b.mT, torch.nn.functional.linear(b, b[:2], b[0, :2]), picked, b[k, k % 5],
        b[:, k % 5], b.index_select(1, k % 5), b.gather(1, (k % 5)[:, None].expand(-1, 2)), a.permute(2, 0, 1)[1],
        a.transpose(0, 1).reshape(4, 10) * 2, b.diagonal(), torch.diag_embed(b[0]),
        b.unsqueeze(1).expand(-1, 2, -1) + 1,
        (vectors * values.abs()[..., None, :]) @ vectors.mT, torch.zeros_like(a) + torch.arange(5.0), b.tril(),
        k // 2, k // -2, k.fmod(-2), k.remainder(-2), torch.div(k, 2, rounding_mode="trunc"), k * 3 - 1,
        k.clamp(0, 2), torch.maximum(k, 2 - k), b.triu(),
        torch.einsum("bij,bkj->bik", a, a), torch.norm(b, dim=-1), b.roll(1, 0),
        torch.index_put(b, (k % 3, k % 5), b[:, 0], accumulate=True), torch.index_put(b, (k[:1],), b[0]),
    ]  # fmt: skip


def test_arrays_become_what_torch_makes_of_them(tmp_path):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    b = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    k = torch.tensor([3, 0, 5, -1, 2, 2])
    wanted = whole(a, b, k)
    found = run(compiled(whole, [a, b, k], tmp_path), [a, b, k], wanted)
    for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        message = functools.partial("{}: {}".format, number)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10, msg=message)


def test_the_least_of_numbers_of_which_some_are_none_is_the_first_that_is_none(tmp_path):
    def least(x):
        return [x.argmin(0)]

    x = torch.tensor([[3.0, torch.inf], [torch.nan, torch.inf], [torch.nan, torch.inf]], dtype=torch.float64)
    assert run(compiled(least, [x], tmp_path), [x], least(x))[0].tolist() == [1, 0]


def test_chosen_rows_alone_are_computed_in_place_by_any_number_of_threads(tmp_path):
    def grow(x, factor):
        return [x * factor + x.flip(0)]

    x, factor = torch.ones(2, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
    program = compiled(grow, [x, factor], tmp_path)
    rows, chosen = torch.arange(24, dtype=torch.float64).view(4, 3, 2), torch.tensor([True, False, True, True])
    wanted = torch.where(chosen[:, None, None], rows * 3 + rows.flip(-1), rows)
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ours = rows.clone()
        one = Rows(ours, by_row=48, by_step=16)
        program.bind([one, Rows(factor)], [one], chosen, steps=3)()
        assert torch.equal(ours, wanted)
    torch.set_num_threads(before)


def test_tables_may_have_another_number_of_rows(tmp_path):
    def look_up(table, k):
        return [table[k, 1]]

    short, k = torch.randn(70, 2, dtype=torch.float64), torch.tensor([0, 65, -1])
    program = compiled(look_up, [short, k], tmp_path, tables=[True, False])
    long, k = torch.randn(90, 2, dtype=torch.float64), torch.tensor([89, 65, -1])
    assert torch.equal(run(program, [long, k], look_up(long, k))[0], long[k, 1])
    for refused in (lambda table, _: [table.sum()], lambda table, _: [table.mT[:, 0]]):
        with pytest.raises(MbrlError, match=r"rows of a table has no C"):
            source(trace(refused, [short, k]), [short, k], [True, False])


def test_what_has_no_c_is_said(monkeypatch):
    x = torch.ones(3, dtype=torch.float64)
    with pytest.raises(MbrlError, match=r"operation aten.sort.default has no C yet"):
        source(trace(lambda x: [x.sort()[0]], [x]), [x], [False])
    monkeypatch.setattr("mbrl_ros.planning.native.program._MOST_BYTES", 2 << 20)
    with pytest.raises(MbrlError, match="works in 7 MiB is too large, 2 is the most"):
        source(trace(lambda x: [(x[:, None, None] + torch.zeros(400, 400)).sin()], [x]), [x], [False])
    assert ctypes.sizeof(ctypes.c_long) == 8  # whole numbers of torch are C's


def test_what_a_stack_has_no_room_for_lies_elsewhere_for_each_thread(tmp_path, monkeypatch):
    monkeypatch.setattr("mbrl_ros.planning.native.program._PART", 3)

    def large(x):
        many = x[:, None] + torch.arange(40_000, dtype=torch.float64)
        _, kept = scan(lambda carry, row: ([carry[0] + row[0].sin()], [carry[0] * row[0]]), [many[0]], [many])
        return [kept[0].cos().sum(-1), many.mean(-1), x * 2]

    rows = torch.randn(64, 3, dtype=torch.float64)
    text = source(trace(large, [rows[0]]), [rows[0]], [False])
    assert "part2(" in text
    compile_library(text, FLAGS, ["-lm"], tmp_path / "large.so")
    found = [torch.zeros(64, 3, dtype=torch.float64) for _ in range(3)]
    places = [Rows(one, one.stride(0) * 8) for one in (rows, *found)]
    Program(tmp_path / "large.so").bind(places[:1], places[1:], torch.ones(64, dtype=torch.bool))()
    for ours, theirs in zip(found, torch.func.vmap(large)(rows), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_loops_follow_one_another_and_carry_what_is_made_of_each_other(tmp_path):
    def fibonacci(x, y):
        def body(carry, row):
            one, other = carry
            return [other, one + other * row[0]], [one, other * x.sum()]

        carry, kept = scan(body, [x, y], [torch.ones(6, dtype=torch.float64), x.expand(6, 2)])
        _, back = scan(lambda carry, row: ([carry[0] + row[0]], [carry[0]]), [x * 0], [kept[0]], reverse=True)
        return [*carry, *kept, *back]

    x, y = torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([1.0, 3.0], dtype=torch.float64)
    wanted = fibonacci(x, y)
    assert wanted[0].tolist() == [8.0, 29.0]
    for ours, theirs in zip(run(compiled(fibonacci, [x, y], tmp_path), [x, y], wanted), wanted, strict=True):
        assert torch.equal(ours, theirs)
