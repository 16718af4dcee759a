"""A graph rewrite for compiled rollouts: a state of few entries becomes as many separate columns.

Models and tasks treat states as ``[..., S]`` tensors: they unbind them, compute entry by entry, and stack the result.
A compiler that keeps the stacked tensors alive writes and reads them with a stride of S between neighbouring
rollouts, entry by entry. Here the small dimension is unrolled instead: whatever is stacked and later taken apart again
is connected directly, pointwise operations on stacks are done per entry, and rows gathered from a table are gathered
column by column. What remains are operations on contiguous vectors over the rollouts, which fuse into few loops.
The arithmetic is untouched.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten

_COPIES = {aten.detach.default, aten.alias.default, aten.clone.default, aten.contiguous.default}
_CONVERSIONS = {aten.to.dtype, aten.to.dtype_layout, aten._to_copy.default}
_LARGEST_ROW = 32
"""Longer rows than this are data, not the entries of a record, and stay together."""


@dataclass(frozen=True)
class _Columns:
    """The entries along one dimension of a tensor that does not exist as a whole.

    Args:
        entries: the tensor's slices along that dimension.
        dim: the dimension, counted from the end (negative), so that broadcasting does not move it.
        ndim: number of dimensions of the whole tensor.
    """

    entries: tuple[Node, ...]
    dim: int
    ndim: int


def unroll_columns(graph: Graph) -> Graph:
    """A graph that computes what ``graph`` (of ATen operators, with ``meta["val"]``) does, column by column."""
    return _Unroller(graph).run()


class _Unroller:
    def __init__(self, graph: Graph) -> None:
        self._old = graph
        self._new = Graph()
        self._values: dict[Node, Any] = {}
        self._wholes: dict[int, Node] = {}
        self._rules: dict[Any, Callable[[Node], Any]] = {
            aten.stack.default: self._stack,
            aten.unbind.int: self._unbind,
            aten.select.int: self._select,
            aten.slice.Tensor: self._slice,
            aten.split.Tensor: self._split,
            aten.squeeze.dim: self._squeeze,
            aten.index.Tensor: self._gather,
            operator.getitem: self._getitem,
            **dict.fromkeys((aten.numpy_T.default, aten.t.default), self._transpose),
            **dict.fromkeys((aten.permute.default, aten.movedim.int, aten.transpose.int), self._transpose),
        }

    def run(self) -> Graph:
        for node in self._old.nodes:
            if node.target is aten._assert_tensor_metadata.default:
                continue  # of an exporter, about tensors that will not exist
            value = self._rules[node.target](node) if node.target in self._rules else self._pointwise(node)
            if value is None:
                value = self._new.node_copy(node, lambda argument: self._whole(self._values[argument]))
            self._values[node] = value
        self._new.eliminate_dead_code()
        self._new.lint()
        return self._new

    def _call(self, target: Any, *args: Any) -> Node:
        return self._new.call_function(target, args)

    def _whole(self, value: Any) -> Any:
        """``value`` as a single node where it is columns."""
        if not isinstance(value, _Columns):
            return value
        if id(value) not in self._wholes:
            self._wholes[id(value)] = self._call(aten.stack.default, list(value.entries), value.dim)
        return self._wholes[id(value)]

    def _columns(self, node: Node, dim: int) -> _Columns | None:
        """What ``node``'s first argument is, if it is columns along ``dim``."""
        value = self._values.get(node.args[0]) if isinstance(node.args[0], Node) else None
        return value if isinstance(value, _Columns) and value.dim == _from_end(dim, value.ndim) else None

    def _stack(self, node: Node) -> _Columns:
        given: Any = node.args[0]
        entries = tuple(self._whole(self._values[argument]) for argument in given)
        ndim = _ndim(node)
        return _Columns(entries, _from_end(_argument(node, 1, 0), ndim), ndim)

    def _unbind(self, node: Node) -> tuple[Node, ...] | None:
        columns = self._columns(node, _argument(node, 1, 0))
        return columns.entries if columns else None

    def _select(self, node: Node) -> Node | None:
        columns = self._columns(node, _argument(node, 1, 0))
        return columns.entries[_argument(node, 2, 0)] if columns else None

    def _slice(self, node: Node) -> _Columns | None:
        columns = self._columns(node, _argument(node, 1, 0))
        if columns is None:
            return None
        kept = slice(_argument(node, 2, None), _argument(node, 3, None), _argument(node, 4, 1))
        return _Columns(columns.entries[kept], columns.dim, columns.ndim)

    def _split(self, node: Node) -> tuple[_Columns, ...] | None:
        size = node.args[1]
        columns = self._columns(node, _argument(node, 2, 0))
        if columns is None or not isinstance(size, int):
            return None
        starts = range(0, len(columns.entries), size)
        return tuple(_Columns(columns.entries[i : i + size], columns.dim, columns.ndim) for i in starts)

    def _squeeze(self, node: Node) -> Node | _Columns | None:
        value = self._values[node.args[0]]  # type: ignore[index]
        if not isinstance(value, _Columns):
            return None
        dim = _from_end(_argument(node, 1, 0), value.ndim)
        if dim == value.dim:
            return value.entries[0] if len(value.entries) == 1 else value
        if dim > value.dim:
            return None
        entries = tuple(self._call(aten.squeeze.dim, entry, dim + 1) for entry in value.entries)
        return _Columns(entries, value.dim, _ndim(node))

    def _getitem(self, node: Node) -> Any:
        value = self._values[node.args[0]]  # type: ignore[index]
        index: Any = node.args[1]
        return value[index] if isinstance(value, tuple) else None

    def _transpose(self, node: Node) -> _Columns | None:
        value = self._values[node.args[0]]  # type: ignore[index]
        if _ndim(node) != 2 or not _swaps(node):
            return None
        if isinstance(value, _Columns):
            return _Columns(value.entries, -3 - value.dim, 2)
        count = node.meta["val"].shape[1]
        if not isinstance(count, int) or count > _LARGEST_ROW:
            return None
        return _Columns(tuple(self._call(aten.select.int, value, 0, row) for row in range(count)), -1, 2)

    def _gather(self, node: Node) -> _Columns | None:
        """Rows of a table at an index: a record whose entries are gathered one by one."""
        rows = node.all_input_nodes[0].meta["val"]
        indices: Any = node.args[1]
        if len(indices) != 1 or rows.ndim != 2 or not isinstance(rows.shape[1], int) or rows.shape[1] > _LARGEST_ROW:
            return None
        source, index = (self._whole(self._values[argument]) for argument in node.all_input_nodes)
        entries = (self._call(aten.select.int, source, 1, column) for column in range(rows.shape[1]))
        return _Columns(tuple(self._call(aten.index.Tensor, entry, [index]) for entry in entries), -1, _ndim(node))

    def _pointwise(self, node: Node) -> _Columns | None:
        """An operation per entry, where one of its arguments is columns."""
        copies = node.target in _COPIES
        pointwise = node.target in _CONVERSIONS or torch.Tag.pointwise in getattr(node.target, "tags", ())
        if not (copies or pointwise):
            return None
        given = [self._values[argument] for argument in node.all_input_nodes]
        columns = [value for value in given if isinstance(value, _Columns)]
        if not columns or len({(value.dim, len(value.entries)) for value in columns}) > 1:
            return None
        dim, count = columns[0].dim, len(columns[0].entries)

        def entry(argument: Node, index: int) -> Any:
            value = self._values[argument]
            if isinstance(value, _Columns):
                return value.entries[index]
            if _ndim(argument) < -dim:
                return value
            return self._call(aten.select.int, value, dim, 0 if argument.meta["val"].shape[dim] == 1 else index)

        def apply(index: int) -> Node:
            if copies:
                return entry(node.all_input_nodes[0], index)
            copied = self._new.node_copy(node, lambda argument: entry(argument, index))
            copied.meta = {}
            return copied

        return _Columns(tuple(apply(index) for index in range(count)), dim, _ndim(node))


def _ndim(node: Node) -> int:
    value = node.meta.get("val")
    return value.ndim if isinstance(value, torch.Tensor) else 0


def _from_end(dim: int, ndim: int) -> int:
    return dim - ndim if dim >= 0 else dim


def _argument(node: Node, position: int, default: Any) -> Any:
    return node.args[position] if len(node.args) > position else default


def _swaps(node: Node) -> bool:
    """Whether an operator that moves the dimensions of a matrix exchanges its two."""
    if node.target is aten.permute.default:
        return [dim % 2 for dim in node.args[1]] == [1, 0]  # type: ignore[union-attr, operator]
    if len(node.args) == 3:
        return node.args[1] % 2 != node.args[2] % 2  # type: ignore[operator]
    return True
