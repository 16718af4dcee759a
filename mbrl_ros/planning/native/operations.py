"""Operations of torch in C, NaN and infinity treated alike: what becomes of entries, and of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.planning.native.code import Array, Code

ENTRYWISE = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "rsub": "{1} - {0}", "mul": "{0} * {1}", "neg": "-{0}",
    "reciprocal": "1.0 / {0}", "square": "{0} * {0}", "abs": "fabs({0})", "sin": "sin({0})", "cos": "cos({0})",
    "tan": "tan({0})", "atan": "atan({0})", "atan2": "atan2({0}, {1})", "asin": "asin({0})", "acos": "acos({0})",
    "sinh": "sinh({0})", "cosh": "cosh({0})", "tanh": "tanh({0})", "exp": "exp({0})", "expm1": "expm1({0})",
    "log": "log({0})", "log1p": "log1p({0})", "sqrt": "sqrt({0})", "rsqrt": "1.0 / sqrt({0})", "erf": "erf({0})",
    "hypot": "hypot({0}, {1})", "sigmoid": "1.0 / (1.0 + exp(-({0})))", "floor": "floor({0})", "ceil": "ceil({0})",
    "round": "nearbyint({0})", "trunc": "trunc({0})", "sign": "sign_of({0})", "ge": "{0} >= {1}", "gt": "{0} > {1}",
    "le": "{0} <= {1}", "lt": "{0} < {1}", "eq": "{0} == {1}", "ne": "{0} != {1}", "logical_and": "{0} && {1}",
    "logical_or": "{0} || {1}", "logical_not": "!{0}", "bitwise_and": "{0} & {1}", "bitwise_or": "{0} | {1}",
    "bitwise_xor": "{0} ^ {1}", "__rshift__": "{0} >> {1}", "__lshift__": "{0} << {1}", "where": "{0} ? {1} : {2}",
    "isnan": "isnan({0})", "isinf": "isinf({0})", "isfinite": "isfinite({0})", "_to_copy": "{0}", "clone": "{0}",
    "copy": "{1}",
}  # fmt: skip
"""Of entry by entry; operands as C."""

_NUMBERS_ONLY = {"abs", "sign", "neg"}
_POWERS = {2: "{0} * {0}", 3: "{0} * {0} * {0}", 1: "{0}", 0.5: "sqrt({0})", -1: "1.0 / {0}", -0.5: "1.0 / sqrt({0})"}

Operation = Callable[..., Any]


def entrywise(code: Code, name: str, out: Array, operands: Sequence[Any], alpha: float = 1.0) -> None:
    """An operation of `ENTRYWISE`; ``alpha`` scales the second operand of a sum.

    Raises:
        MbrlError: it has no C for whole numbers.
    """
    if name in _NUMBERS_ONLY and not out.layout.is_floating_point():
        raise MbrlError(f"operation {name} of whole numbers has no C yet")
    form = ENTRYWISE[name]
    code.each(form if alpha == 1.0 else form.replace("{1}", f"({alpha!r}) * {{1}}"), out, *operands)


def _kind(out: Array) -> str:
    return {torch.float64: "double", torch.float32: "float"}.get(out.layout.dtype, "long")


def _divided(out: Array, divisor: Any) -> str:
    """The type in which numbers are divided; C ends the process where whole ones are divided by zero."""
    if out.layout.is_floating_point():
        return "double"
    if isinstance(divisor, Array) or divisor == 0:
        raise MbrlError("whole numbers that are divided by anything but a known one have no C")
    return "long"


def _div(code: Code, out: Array, a: Any, b: Any, rounding_mode: str | None = None) -> None:
    kind = _divided(out, b)
    quotient = f"({kind})({{0}}) / ({kind})({{1}})"
    forms = {None: quotient, "floor": f"floored(({kind})({{0}}), ({kind})({{1}}))", "trunc": f"trunc({quotient})"}
    code.each(forms[rounding_mode], out, a, b)


def _fmod(code: Code, out: Array, a: Any, b: Any) -> None:
    code.each("fmod({0}, {1})" if _divided(out, b) == "double" else "({0}) % ({1})", out, a, b)


def _remainder(code: Code, out: Array, a: Any, b: Any) -> None:
    kind = _divided(out, b)
    code.each(f"wrapped(({kind})({{0}}), ({kind})({{1}}))", out, a, b)


def _extreme(form: str) -> Operation:
    def write(code: Code, out: Array, a: Any, b: Any) -> None:
        code.each(f"{form}<{_kind(out)}>({{0}}, {{1}})", out, a, b)

    return write


def _clamp(code: Code, out: Array, value: Array, low: Any = None, high: Any = None) -> None:
    code.each("{0}", out, value)
    for form, bound in (("larger", low), ("smaller", high)):
        if bound is not None:
            _extreme(form)(code, out, out, bound)


def _relu(code: Code, out: Array, value: Array) -> None:
    code.each(f"larger<{_kind(out)}>({{0}}, 0)", out, value)


def _bitwise_not(code: Code, out: Array, value: Array) -> None:
    if out.layout.dtype != torch.bool:
        raise MbrlError("operation bitwise_not of numbers has no C yet")
    code.each("!{0}", out, value)


def _pow(code: Code, out: Array, base: Any, exponent: Any) -> None:
    form = "pow((double)({0}), (double)({1}))"
    code.each(form if isinstance(exponent, Array) else _POWERS.get(exponent, form), out, base, exponent)


def _cat(code: Code, out: Array, parts: list[Array], dim: int = 0) -> None:
    begun = 0
    for part in parts:
        if part.layout.numel():
            size = part.shape[dim % len(out.shape)]
            code.each("{0}", Array(out.name, out.layout.narrow(dim, begun, size)), part)
            begun += size


def _reduction(first: str, form: str) -> Operation:
    def write(code: Code, out: Array, value: Array, dims: Any = None, keepdim: bool = False, **_: Any) -> None:
        axes = _axes(value, dims)
        kept = [1 if axis in axes else size for axis, size in enumerate(value.shape)]
        sums = Array(out.name, out.layout.view(kept).expand(value.shape))
        code.each(first, out)
        filled = form.replace("KIND", _kind(out))
        code.loop(value.shape, lambda p: f"{sums.at(p)} = {filled.format(sums.at(p), value.at(p))};")

    return write


def _axes(value: Array, dims: Any) -> set[int]:
    count = len(value.shape)
    chosen = range(count) if dims is None or dims == [] else dims if isinstance(dims, (list, tuple)) else [dims]
    return {dim % max(count, 1) for dim in chosen}


_sum = _reduction("0", "{0} + {1}")


def _mean(code: Code, out: Array, value: Array, dims: Any = None, keepdim: bool = False) -> None:
    _sum(code, out, value, dims)
    code.each("{0} / {1}", out, out, value.layout.numel() / max(out.layout.numel(), 1))


def _norm(code: Code, out: Array, value: Array, order: float = 2, dims: Any = None, keepdim: bool = False) -> None:
    if order != 2:
        raise MbrlError(f"a norm of order {order} has no C yet")
    _reduction("0", "{0} + {1} * {1}")(code, out, value, dims)
    code.each("sqrt({0})", out, out)


def _argmin(code: Code, out: Array, value: Array, dim: int, keepdim: bool = False) -> None:
    axis = dim % len(value.shape)
    best = code.new(out.shape, value.layout.dtype)
    shape = [1 if a == axis else size for a, size in enumerate(value.shape)]
    least = Array(best.name, best.layout.view(shape).expand(value.shape))
    which = Array(out.name, out.layout.view(shape).expand(value.shape))
    code.each("0", out)
    code.each("INFINITY", best)

    def statement(p: list[str]) -> str:
        one, other = value.at(p), least.at(p)
        better = f"{one} < {other} || ({one} != {one} && {other} == {other})"  # NaN comes first
        return f"if ({better}) {{ {other} = {one}; {which.at(p)} = {p[axis]}; }}"

    code.loop(value.shape, statement)


def _gather(code: Code, out: Array, value: Array, dim: int, index: Array) -> None:
    axis = dim % len(value.shape)

    def statement(places: list[str]) -> str:
        moved = list(places)
        moved[axis] = f"inside({index.at(places)}, {value.length(axis)})"
        return f"{out.at(places)} = {value.at(moved)};"

    code.loop(out.shape, statement)


def _index_select(code: Code, out: Array, value: Array, dim: int, index: Array) -> None:
    shape = [1] * len(out.shape)
    shape[dim % len(shape)] = -1
    _gather(code, out, value, dim, Array(index.name, index.layout.view(shape).expand(out.shape)))


def _indexed(value: Array, indices: list[Any], shape: list[int]) -> Callable[[list[str]], str]:
    """For an entry of what ``indices`` choose from ``value``, of ``shape``, the entry that it is there."""
    lead = next(axis for axis, index in enumerate(indices) if index is not None)
    given = [index for index in indices[lead:] if index is not None]
    if any(index is None for index in indices[lead : lead + len(given)]):
        raise MbrlError("an index with axes left out in between has no C yet")
    after = len(value.shape) - lead - len(given)
    common = shape[lead : len(shape) - after]
    placed = [index.expand(common) for index in given]

    def entry(places: list[str]) -> str:
        middle = places[lead : lead + len(common)]
        moved = [f"inside({index.at(middle)}, {value.length(axis)})" for axis, index in enumerate(placed, start=lead)]
        return value.at([*places[:lead], *moved, *places[lead + len(common) :]])

    return entry


def _index(code: Code, out: Array, value: Array, indices: list[Any]) -> None:
    entry = _indexed(value, indices, out.shape)
    code.loop(out.shape, lambda places: f"{out.at(places)} = {entry(places)};")


def _index_put(
    code: Code, out: Array, value: Array, indices: list[Any], given: Array, accumulate: bool = False
) -> None:
    code.each("{0}", out, value)
    shape = list(torch.ops.aten.index(value.layout, [i if i is None else i.layout for i in indices]).shape)
    entry, source, sign = _indexed(out, indices, shape), given.expand(shape), "+=" if accumulate else "="
    code.loop(shape, lambda places: f"{entry(places)} {sign} {source.at(places)};")


def _flip(code: Code, out: Array, value: Array, dims: list[int]) -> None:
    axes = _axes(value, dims)

    def statement(places: list[str]) -> str:
        moved = [f"({value.shape[a] - 1} - {p})" if a in axes else p for a, p in enumerate(places)]
        return f"{out.at(places)} = {value.at(moved)};"

    code.loop(out.shape, statement)


def _mm(code: Code, out: Array, a: Array, b: Array, first: Any = 0) -> None:
    code.each("{0}", out, first)
    *lead, rows, columns = out.shape
    inner = code.copy(b) if b.layout.stride(-1) != 1 and columns > 1 else b

    def statement(places: list[str]) -> str:
        *lead, row, k, column = places
        return f"{out.at([*lead, row, column])} += {a.at([*lead, row, k])} * {inner.at([*lead, k, column])};"

    code.loop([*lead, rows, a.shape[-1], columns], statement)


def _addmm(code: Code, out: Array, bias: Array, a: Array, b: Array) -> None:
    _mm(code, out, a, b, bias)


def _eigh(code: Code, outs: list[Array], value: Array, *_: Any) -> None:
    """Eigenvalues come in no order, as rotations leave them."""
    values, vectors = outs
    *lead, size, _columns = value.shape
    if value.layout.dtype != torch.float64:
        raise MbrlError("eigenvalues in single precision have no C yet")

    def statement(places: list[str]) -> str:
        entry = [*places, "i", "j"]
        each = f"for (int i = 0; i < {size}; ++i) for (int j = 0; j < {size}; ++j)"
        return (
            f"double a[{size}][{size}], v[{size}][{size}]; {each} a[i][j] = {value.at(entry)}; eigen<{size}>(a, v); "
            f"{each} {vectors.at(entry)} = v[i][j]; "
            f"for (int i = 0; i < {size}; ++i) {values.at([*places, 'i'])} = a[i][i];"
        )

    code.loop(lead, statement)


OPERATIONS: dict[str, Operation] = {
    "div": _div, "maximum": _extreme("larger"), "minimum": _extreme("smaller"), "clamp": _clamp,
    "clamp_min": lambda code, out, value, low: _clamp(code, out, value, low),
    "clamp_max": lambda code, out, value, high: _clamp(code, out, value, None, high), "fmod": _fmod,
    "remainder": _remainder, "floor_divide": partial(_div, rounding_mode="floor"), "relu": _relu,
    "bitwise_not": _bitwise_not, "pow": _pow, "cat": _cat, "sum": _sum, "mean": _mean,
    "amax": _reduction("-INFINITY", "larger<KIND>({0}, {1})"),
    "amin": _reduction("INFINITY", "smaller<KIND>({0}, {1})"), "all": _reduction("1", "{0} && {1}"),
    "any": _reduction("0", "{0} || {1}"), "argmin": _argmin, "linalg_vector_norm": _norm, "gather": _gather,
    "index_select": _index_select, "index": _index, "index_put": _index_put, "flip": _flip, "mm": _mm, "bmm": _mm,
    "addmm": _addmm, "_linalg_eigh": _eigh,
}  # fmt: skip
"""Of whole arrays: they write to ``out``, an array or several."""
