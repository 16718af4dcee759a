"""A traced torch program as statements in C: operation by operation, a `scan` as a loop."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_map

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.planning.native.code import TYPES, Array, Code, empty
from mbrl_ros.planning.native.operations import ENTRYWISE, OPERATIONS, entrywise

_VIEWS = {
    "slice", "view", "reshape", "squeeze", "permute", "unsqueeze", "diagonal", "select", "split_with_sizes", "split",
    "alias", "expand", "detach", "t", "transpose", "unbind", "lift_fresh_copy", "_unsafe_view",
}  # fmt: skip
"""Operations that only say anew where entries lie."""

_FILLS = {"zeros_like": 0, "ones_like": 1, "new_zeros": 0, "new_ones": 1, "_new_zeros_with_same_feature_meta": 0}
"""Operations of equal entries, whatever they are given."""

_READERS = {"index", "index_select", "gather"}
"""Operations that may be given a table of any number of rows."""

_SCATTERS = {"slice_scatter": "slice", "diagonal_scatter": "diagonal", "select_scatter": "select"}


@dataclass(frozen=True)
class _Loop:
    """One that is being written: its index, the line that it begins at, and what it carries."""

    index: str
    begun: int
    carried: list[Array]


class Writer:
    """Writes graphs of ATen operations; those that depend on nothing given are computed now.

    Args:
        code: to which statements are added.
    """

    def __init__(self, code: Code) -> None:
        self._code = code
        self._loops: list[_Loop] = []

    def write(self, module: GraphModule, inputs: list[Array]) -> list[Array]:
        """Add ``module``, whose inputs lie in ``inputs``; returns where its results lie.

        Raises:
            MbrlError: an operation has no C yet.
        """
        values: dict[Node, Any] = {}
        given = iter(inputs)
        for node in module.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "get_attr":
                values[node] = operator.attrgetter(str(node.target))(module)
            elif node.op == "output":
                return [self._known(value) for value in torch.fx.node.map_arg(node.args[0], values.__getitem__)]
            else:
                values[node] = self._call(node, *torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__))
        raise MbrlError("a program without results")

    def _call(self, node: Node, args: Any, kwargs: Any) -> Any:
        operation: Any = node.target
        if operation is operator.getitem:
            return args[0][args[1]]
        name = str(operation).removeprefix("aten.").partition(".")[0]
        if operation is torch.ops.mbrl_ros.loop_begin.default:
            return self._begin_loop(*args)
        if operation is torch.ops.mbrl_ros.loop_end.default:
            return self._end_loop(*args)
        if not any(isinstance(leaf, Array) for leaf in tree_leaves((args, kwargs))):
            return operation(*args, **kwargs)
        if name in _VIEWS:
            return self._view(operation, *args, **kwargs)
        value = node.meta["val"]
        if name in _FILLS or name == "full_like":
            return torch.full([int(s) for s in value.shape], _FILLS.get(name, args[-1]), dtype=value.dtype)
        args = tree_map(self._known, args)
        if name in ("clone", "_to_copy") and args[0].layout.dtype == value.dtype:
            return args[0]  # nothing is written to twice
        if name not in _READERS and any(isinstance(leaf, Array) and leaf.rows for leaf in tree_leaves((args, kwargs))):
            raise MbrlError(f"operation {operation} on all rows of a table has no C")
        if isinstance(value, torch.Tensor):
            out: Any = self._code.new(value.shape, value.dtype)
        else:
            out = [self._code.new(one.shape, one.dtype) for one in value]
        if name in _SCATTERS:
            self._code.each("{0}", out, args[0])
            part = getattr(torch.ops.aten, _SCATTERS[name])(out.layout, *args[2:], **kwargs)
            self._code.each("{0}", Array(out.name, part), args[1])
        elif name in OPERATIONS:
            OPERATIONS[name](self._code, out, *args, **kwargs)
        elif name in ENTRYWISE:
            entrywise(self._code, name, out, args, float(kwargs.get("alpha", 1)))
        else:
            raise MbrlError(f"operation {operation} has no C yet")
        return out

    def _view(self, operation: Any, value: Array, *rest: Any, **kwargs: Any) -> Any:
        if operation._schema.name in ("aten::view", "aten::reshape", "aten::_unsafe_view"):
            try:
                found: Any = value.layout.view(*rest)
            except RuntimeError:  # strides of which no view can be had
                value = self._code.copy(value)
                found = value.layout.view(*rest)
        elif operation._schema.name in ("aten::detach", "aten::alias", "aten::lift_fresh_copy"):
            return value
        else:
            found = operation(value.layout, *rest, **kwargs)
        several = not isinstance(found, torch.Tensor)
        parts: list[torch.Tensor] = list(found) if several else [found]
        first = value.layout.shape[:1], value.layout.stride()[:1]
        if value.rows and any((part.shape[:1], part.stride()[:1]) != first for part in parts):
            raise MbrlError(f"operation {operation} on the rows of a table has no C")
        arrays = [Array(value.name, part, value.rows) for part in parts]
        return arrays if several else arrays[0]

    def _known(self, value: Any) -> Any:
        """A tensor known now as an array of constants; anything else as it is."""
        return self._code.constant(value) if isinstance(value, torch.Tensor) else value

    def _begin_loop(self, carry: list[Any], slices: list[Any], reverse: bool) -> list[Array]:
        code = self._code
        carried = [code.copy(self._known(one)) for one in carry]
        given = [self._known(one) for one in slices]
        steps, k = given[0].shape[0], code.name()
        self._loops.append(_Loop(k, len(code.lines), carried))
        order = f"int {k} = {steps - 1}; {k} >= 0; --{k}" if reverse else f"int {k} = 0; {k} < {steps}; ++{k}"
        code.lines.append(f"for ({order}) {{")
        rows = []
        for one in given:
            name, kind = code.name(), TYPES[one.layout.dtype]
            code.lines.append(f"const {kind}* __restrict {name} = {one.name} + (long){k} * {one.layout.stride(0)};")
            rows.append(Array(name, one.layout.select(0, 0)))
        return [*carried, *rows]

    def _end_loop(self, following: list[Any], results: list[Any], steps: int) -> list[Array]:
        code, loop = self._code, self._loops.pop()
        kept = []
        for value in map(self._known, results):
            whole, declaration = code.declared([steps, *value.shape], value.layout.dtype)
            code.lines.insert(loop.begun, declaration)
            place = f"({whole.name} + (long){loop.index} * {whole.layout.stride(0)})"
            code.each("{0}", Array(place, empty(value.shape, value.layout.dtype)), value)
            kept.append(whole)
        copies = [code.copy(self._known(value)) for value in following]  # one may be made of another
        for one, value in zip(loop.carried, copies, strict=True):
            code.each("{0}", one, value)
        code.lines.append("}")
        return [*loop.carried, *kept]
