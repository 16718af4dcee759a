"""A traced program compiled for many rows: each problem of a batch, or each of its steps, by itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.fx import GraphModule

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.planning.native.code import ALIGNED, TYPES, WORKSPACE, Array, Code, empty
from mbrl_ros.planning.native.prelude import PRELUDE
from mbrl_ros.planning.native.writer import Writer

FLAGS = [
    "-std=c++17",
    "-O2",
    "-fpeel-loops",
    "-ftree-vectorize",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fopenmp",
]
_MOST_ON_STACK = 1 << 20
"""Bytes of a stack, which has 8 MiB in most threads and 2 MiB in some."""

_MOST_BYTES = 1 << 26
"""That one thread works in; each has so much of its own for each program, from its first call on."""

_PART = 100
"""Statements of one function, where there are many; a loop of `scan` is never cut."""

_HEAD = "const char* const* in, char* const* out, const long* places, const long* rows, long row, long step"


@dataclass(frozen=True)
class Rows:
    """A tensor of many rows: which address each of them begins at.

    Args:
        tensor: whose memory is read or written.
        by_row: bytes from one row to the next, 0 where all share it.
        by_step: bytes from one step of a row to the next.
    """

    tensor: torch.Tensor
    by_row: int = 0
    by_step: int = 0


def source(program: GraphModule, inputs: Sequence[torch.Tensor], tables: Sequence[bool]) -> str:
    """C++ of a program of one row.

    Args:
        program: what it computes.
        inputs: examples of its inputs, as they lie in memory.
        tables: which of them may have another number of rows.

    Raises:
        MbrlError: an operation has no C yet, or the program wants too much memory.
    """
    arrays = [
        Array(f"a{k}", torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta"), f"rows[{k}]" * table)
        for k, (x, table) in enumerate(zip(inputs, tables, strict=True))
    ]
    for on_stack in (True, False):
        code = Code(on_stack=on_stack)
        results = Writer(code).write(program, arrays)
        if code.bytes <= _MOST_ON_STACK:
            break
    if code.bytes > _MOST_BYTES:
        raise MbrlError(f"a program that works in {code.bytes >> 20} MiB is too large, {_MOST_BYTES >> 20} is the most")
    heads = [_pointer("const", "a", "in", k, array) for k, array in enumerate(arrays)]
    heads += [_pointer("", "o", "out", k, array, len(arrays)) for k, array in enumerate(results)]
    for k, result in enumerate(results):  # last of all: results may take the place of inputs
        target = Array(f"o{k}", empty(result.shape, result.layout.dtype))
        code.each("{0}", target, result)
    body = [f"static void one({_HEAD}) {{", *heads, *code.lines, "}"] if on_stack else _in_parts(code, heads)
    return "\n".join(
        [
            PRELUDE,
            *code.outside,
            *body,
            'extern "C" void run(const char* const* in, char* const* out, const long* places, const long* rows,',
            "                    const bool* chosen, long count, long steps, int threads) {",
            "  #pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && count > 1)",
            "  for (long row = 0; row < count; ++row) if (chosen[row])",
            "    for (long step = 0; step < steps; ++step) one(in, out, places, rows, row, step);",
            "}",
            "",
        ]
    )


def _in_parts(code: Code, heads: list[str]) -> list[str]:
    """Functions of some statements each, for which compilers take a fraction of the time of one that has all."""
    parts: list[list[str]] = [[]]
    depth = 0
    for line in code.lines:
        parts[-1].append(line)
        depth += line.count("{") - line.count("}")
        if depth == 0 and len(parts[-1]) >= _PART:
            parts.append([])
    memory = f"{WORKSPACE}_of_thread"
    lines = [f"alignas({ALIGNED}) static thread_local char {memory}[{code.bytes}];"]
    for k, part in enumerate(parts):
        lines += [f"__attribute__((noinline)) static void part{k}({_HEAD}, char* {WORKSPACE}) {{", *heads, *part, "}"]
    calls = [f"part{k}(in, out, places, rows, row, step, {memory});" for k in range(len(parts))]
    return [*lines, f"static void one({_HEAD}) {{", *calls, "}"]


def _pointer(qualifier: str, name: str, source: str, k: int, array: Array, before: int = 0) -> str:
    kind, place = f"{qualifier} {TYPES[array.layout.dtype]}*", 2 * (before + k)
    return f"{kind} {name}{k} = ({kind})({source}[{k}] + row * places[{place}] + step * places[{place + 1}]);"


class Program:
    """A compiled program.

    Args:
        path: of the library.
    """

    def __init__(self, path: Path) -> None:
        self._run = ctypes.CDLL(str(path)).run

    def bind(
        self, inputs: Sequence[Rows], results: Sequence[Rows], chosen: torch.Tensor, steps: int = 1
    ) -> Callable[[], None]:
        """A call that computes the rows ``chosen`` [B] bool, and leaves the results of others as they are.

        Results may lie where inputs do. All memory is that of the tensors now, whatever is in it when the call is made.
        """
        pointers = [
            (ctypes.c_void_p * len(side))(*[one.tensor.data_ptr() for one in side]) for side in (inputs, results)
        ]
        places = [place for one in (*inputs, *results) for place in (one.by_row, one.by_step)]
        lengths = [one.tensor.shape[0] if one.tensor.ndim else 1 for one in inputs]
        arguments = (
            *pointers,
            (ctypes.c_long * len(places))(*places),
            (ctypes.c_long * len(lengths))(*lengths),
            ctypes.c_void_p(chosen.data_ptr()),
            ctypes.c_long(len(chosen)),
            ctypes.c_long(steps),
        )
        kept = inputs, results, chosen

        def call() -> None:
            assert kept  # noqa: S101  # their memory
            self._run(*arguments, ctypes.c_int(torch.get_num_threads()))

        return call
