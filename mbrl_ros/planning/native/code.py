"""Arrays of fixed size in C, and loops over their entries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

TYPES = {
    torch.float64: "double",
    torch.float32: "float",
    torch.bool: "bool",
    torch.uint8: "unsigned char",
    torch.int32: "int",
    torch.int64: "long",
}

Shape = Sequence[int]


@dataclass(frozen=True)
class Array:
    """Entries in C: a name, and a tensor without memory whose strides say where they lie.

    Args:
        name: of the array.
        layout: on torch's "meta" device.
        rows: C for the number of rows where it is not that of ``layout``: tables may be exchanged.
    """

    name: str
    layout: torch.Tensor
    rows: str = ""

    @property
    def shape(self) -> list[int]:
        """Of the entries."""
        return list(self.layout.shape)

    def at(self, places: Sequence[str]) -> str:
        """The entry at the indices ``places``, as many as the layout has."""
        terms = [str(self.layout.storage_offset())] if self.layout.storage_offset() else []
        for axis, (place, stride, size) in enumerate(zip(places, self.layout.stride(), self.layout.shape, strict=True)):
            if stride and (size != 1 or (self.rows and axis == 0)):
                terms.append(place if stride == 1 else f"{place} * {stride}")
        return f"{self.name}[{' + '.join(terms) or '0'}]"

    def expand(self, shape: Shape) -> Array:
        """The same entries, repeated to ``shape``."""
        return Array(self.name, self.layout.expand(list(shape)), self.rows)

    def length(self, axis: int) -> str:
        """C for the size along ``axis``."""
        return self.rows if self.rows and axis == 0 else str(self.layout.shape[axis])


def empty(shape: Shape, dtype: torch.dtype) -> torch.Tensor:
    """A contiguous layout."""
    return torch.empty([int(size) for size in shape], dtype=dtype, device="meta")


ALIGNED = 64
"""Bytes: arrays in `WORKSPACE` begin with a cache line."""

WORKSPACE = "workspace"
"""Name, in C, of a thread's memory in which arrays lie that a stack has no room for."""


class Code:
    """Statements, one after another.

    Args:
        on_stack: whether the arrays that they work in lie on the stack, or in `WORKSPACE`. There every statement can
            stand in a function of its own.
    """

    def __init__(self, *, on_stack: bool = True) -> None:
        self.lines: list[str] = []
        self.outside: list[str] = []
        """What stands before all functions."""
        self.bytes = 0
        """What the arrays measure together."""
        self._on_stack = on_stack
        self._numbers = itertools.count()

    def name(self) -> str:
        """One that nothing has yet."""
        return f"t{next(self._numbers)}"

    def new(self, shape: Shape, dtype: torch.dtype) -> Array:
        """An array without values."""
        array, declaration = self.declared(shape, dtype)
        if declaration:
            self.lines.append(declaration)
        return array

    def declared(self, shape: Shape, dtype: torch.dtype) -> tuple[Array, str]:
        """An array, and the line that declares it, to be put before its first use; empty if it needs none."""
        array, kind, begun = Array(self.name(), empty(shape, dtype)), TYPES[dtype], self.bytes
        size = array.layout.numel() * array.layout.element_size()
        if self._on_stack:
            self.bytes += size
            return array, f"{kind} {array.name}[{max(array.layout.numel(), 1)}];"
        self.bytes += -(-size // ALIGNED) * ALIGNED
        self.outside.append(f"#define {array.name} (({kind}*)({WORKSPACE} + {begun}))")
        return array, ""

    def constant(self, value: torch.Tensor) -> Array:
        """An array of what is known now."""
        array = Array(self.name(), empty(value.shape, value.dtype))
        entries = ", ".join(number(entry) for entry in value.flatten().tolist())
        kind = TYPES[value.dtype]
        lines = self.lines if self._on_stack else self.outside
        lines.append(f"static const {kind} {array.name}[{max(value.numel(), 1)}] = {{{entries or '0'}}};")
        return array

    def loop(self, shape: Shape, statement: Callable[[list[str]], str]) -> None:
        """``statement`` of the indices of every entry of ``shape``."""
        places = ["0" if size == 1 else f"i{axis}" for axis, size in enumerate(shape)]
        heads = [f"for (int i{a} = 0; i{a} < {size}; ++i{a})" for a, size in enumerate(shape) if size != 1]
        self.lines.append(" ".join([*heads, "{", statement(places), "}"]))

    def each(self, form: str, out: Array, *operands: Any) -> None:
        """Write ``form`` of the operands' entries, arrays repeated or numbers, to those of ``out``."""
        arrays = [one.expand(out.shape) if isinstance(one, Array) else number(one) for one in operands]

        def statement(places: list[str]) -> str:
            return f"{out.at(places)} = {form.format(*(a.at(places) if isinstance(a, Array) else a for a in arrays))};"

        self.loop(out.shape, statement)

    def copy(self, value: Array) -> Array:
        """A contiguous copy."""
        out = self.new(value.shape, value.layout.dtype)
        self.each("{0}", out, value)
        return out


def number(value: Any) -> str:
    """A Python number in C."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return f"({value}L)"
    if math.isnan(value):
        return "NAN"
    return f"({value!r})" if math.isfinite(value) else ("INFINITY" if value > 0 else "(-INFINITY)")
