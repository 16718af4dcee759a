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
_END = 1 << 62  # an exporter's slice without an end has a larger one
_LARGEST_ROW = 32
"""Longer rows than this are data, not the entries of a record, and stay together."""


@dataclass(frozen=True)
class _Columns:
    """The entries along one dimension of a tensor that does not exist as a whole.

    Args:
        entries: the tensor's slices along that dimension.
        dim: the dimension, counted from the end (negative), so that broadcasting does not move it.
        ndim: number of dimensions of the whole tensor.
        rest: what follows the entries along that dimension and stays together, as a model's memory.
    """

    entries: tuple[Node, ...]
    dim: int
    ndim: int
    rest: Node | None = None


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
            aten.cat.default: self._cat,
            aten.unbind.int: self._unbind,
            aten.select.int: self._select,
            aten.slice.Tensor: self._slice,
            aten.split.Tensor: self._split,
            aten.squeeze.dim: self._squeeze,
            aten.unsqueeze.default: self._unsqueeze,
            aten.mean.dim: self._mean,
            aten.index.Tensor: self._gather,
            operator.getitem: self._getitem,
            **dict.fromkeys((aten.reshape.default, aten.expand.default), self._reshape),
            **dict.fromkeys((aten.numpy_T.default, aten.t.default, aten.mT.default), self._transpose),
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
            whole = self._call(aten.stack.default, list(value.entries), value.dim)
            if value.rest is not None:
                whole = self._call(aten.cat.default, [whole, value.rest], value.dim)
            self._wholes[id(value)] = whole
        return self._wholes[id(value)]

    def _columns(self, node: Node, dim: int) -> _Columns | None:
        """What ``node``'s first argument is, if it is columns along ``dim`` and nothing else."""
        value = self._values.get(node.args[0]) if isinstance(node.args[0], Node) else None
        fits = isinstance(value, _Columns) and value.dim == _from_end(dim, value.ndim) and value.rest is None
        return value if fits else None

    def _stack(self, node: Node) -> _Columns:
        given: Any = node.args[0]
        entries = tuple(self._whole(self._values[argument]) for argument in given)
        ndim = _ndim(node)
        return _Columns(entries, _from_end(_argument(node, 1, 0), ndim), ndim)

    def _cat(self, node: Node) -> _Columns | None:
        given: Any = node.args[0]
        values = [self._values[argument] for argument in given]
        ndim = _ndim(node)
        dim = _from_end(_argument(node, 1, 0), ndim)
        alike = [isinstance(value, _Columns) and value.dim == dim and value.rest is None for value in values]
        few = alike.index(False) if False in alike else len(alike)
        if not few or any(alike[few:]):
            return None
        entries = tuple(entry for value in values[:few] for entry in value.entries)
        others = [self._whole(value) for value in values[few:]]
        rest = self._call(aten.cat.default, others, dim) if len(others) > 1 else others[0] if others else None
        return _Columns(entries, dim, ndim, rest)

    def _unbind(self, node: Node) -> tuple[Node, ...] | None:
        columns = self._columns(node, _argument(node, 1, 0))
        return columns.entries if columns else None

    def _select(self, node: Node) -> Node | None:
        columns = self._front(node, _argument(node, 1, 0), _argument(node, 2, 0) + 1)
        return columns.entries[_argument(node, 2, 0)] if columns else None

    def _slice(self, node: Node) -> _Columns | None:
        columns = self._front(node, _argument(node, 1, 0), _argument(node, 3, _END))
        if columns is None:
            return None
        kept = columns.entries[slice(_argument(node, 2, None), _argument(node, 3, None), _argument(node, 4, 1))]
        return _Columns(kept, columns.dim, columns.ndim) if kept else None

    def _front(self, node: Node, dim: int, end: int) -> _Columns | None:
        """As `_columns`, but columns with a rest will do where no more than their entries before ``end`` are wanted."""
        value = self._values.get(node.args[0]) if isinstance(node.args[0], Node) else None
        if isinstance(value, _Columns) and value.rest is not None and 0 < end <= len(value.entries):
            return value if value.dim == _from_end(dim, value.ndim) else None
        return self._columns(node, dim)

    def _split(self, node: Node) -> tuple[_Columns, ...] | None:
        size = node.args[1]
        columns = self._columns(node, _argument(node, 2, 0))
        if columns is None or not isinstance(size, int):
            return None
        starts = range(0, len(columns.entries), size)
        return tuple(_Columns(columns.entries[i : i + size], columns.dim, columns.ndim) for i in starts)

    def _squeeze(self, node: Node) -> Node | _Columns | None:
        value = self._values[node.args[0]]  # type: ignore[index]
        if not isinstance(value, _Columns) or value.rest is not None:
            return None
        dim = _from_end(_argument(node, 1, 0), value.ndim)
        if dim == value.dim:
            return value.entries[0] if len(value.entries) == 1 else value
        if dim > value.dim:
            return None
        entries = tuple(self._call(aten.squeeze.dim, entry, dim + 1) for entry in value.entries)
        return _Columns(entries, value.dim, _ndim(node))

    def _unsqueeze(self, node: Node) -> _Columns | None:
        """A new first dimension."""
        value = self._values[node.args[0]]  # type: ignore[index]
        if not isinstance(value, _Columns) or value.rest is not None or node.args[1] not in (0, -1 - value.ndim):
            return None
        entries = tuple(self._call(aten.unsqueeze.default, entry, 0) for entry in value.entries)
        return _Columns(entries, value.dim, _ndim(node))

    def _mean(self, node: Node) -> _Columns | None:
        """Over the first dimension."""
        value = self._values[node.args[0]]  # type: ignore[index]
        first = list(node.args[1]) in ([0], [-_ndim(node) - 1]) and len(node.args) == 2  # type: ignore[arg-type]
        if not isinstance(value, _Columns) or value.rest is not None or not first or value.dim == -value.ndim:
            return None
        return _Columns(tuple(self._call(aten.mean.dim, e, [0]) for e in value.entries), value.dim, _ndim(node))

    def _reshape(self, node: Node) -> Any:
        """What keeps its shape is not touched."""
        given: Any = node.args[0]
        return self._values[given] if given.meta["val"].shape == node.meta["val"].shape else None

    def _getitem(self, node: Node) -> Any:
        value = self._values[node.args[0]]  # type: ignore[index]
        index: Any = node.args[1]
        return value[index] if isinstance(value, tuple) else None

    def _transpose(self, node: Node) -> _Columns | None:
        value = self._values[node.args[0]]  # type: ignore[index]
        ndim = _ndim(node)
        if node.target is not aten.mT.default and (ndim != 2 or not _swaps(node)):
            return None
        if isinstance(value, _Columns):
            if value.dim < -2:
                return None
            rest = value.rest and self._call(aten.mT.default, value.rest)
            return _Columns(value.entries, -3 - value.dim, ndim, rest)
        rows, count = node.meta["val"].shape[-2:]
        if not isinstance(count, int) or not 0 < count <= _LARGEST_ROW or (ndim > 2 and isinstance(rows, int)):
            return None  # weights stay together, and what a model without memory remembers has no columns
        return _Columns(tuple(self._call(aten.select.int, value, -2, row) for row in range(count)), -1, ndim)

    def _gather(self, node: Node) -> _Columns | None:
        """Rows of a table at an index: a record whose entries are gathered one by one."""
        rows = node.all_input_nodes[0].meta["val"]
        indices: Any = node.args[1]
        value = self._values[node.args[0]]  # type: ignore[index]
        if isinstance(value, _Columns) and len(indices) == 1 and value.rest is None and value.dim > -value.ndim:
            index = [self._whole(self._values[indices[0]])]
            gathered = tuple(self._call(aten.index.Tensor, entry, index) for entry in value.entries)
            return _Columns(gathered, value.dim, _ndim(node))
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
        if not columns or len({value.dim for value in columns}) > 1:
            return None
        dim, rest = columns[0].dim, columns[0].rest
        if any(value.rest is not None for value in columns) and len(given) > 1:
            return None
        count = node.meta["val"].shape[dim]  # a single column may meet many
        if rest is not None:
            count = len(columns[0].entries)
        if not isinstance(count, int) or count > _LARGEST_ROW:
            return None

        def entry(argument: Node, index: int) -> Any:
            value = self._values[argument]
            if isinstance(value, _Columns):
                return value.entries[index if len(value.entries) > 1 else 0]
            if _ndim(argument) < -dim:
                return value
            return self._call(aten.select.int, value, dim, 0 if argument.meta["val"].shape[dim] == 1 else index)

        def apply(index: int) -> Node:
            if copies:
                return entry(node.all_input_nodes[0], index)
            copied = self._new.node_copy(node, lambda argument: entry(argument, index))
            copied.meta = {}
            return copied

        entries = tuple(apply(index) for index in range(count))
        if rest is not None and not copies:
            rest = self._new.node_copy(node, dict.fromkeys(node.all_input_nodes, rest).__getitem__)
            rest.meta = {}
        return _Columns(entries, dim, _ndim(node), rest)


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
