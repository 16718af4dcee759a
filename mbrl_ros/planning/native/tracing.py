"""Torch functions as graphs of basic operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.fx import GraphModule

from mbrl_ros.planning.native.scan import loops_kept

Function = Callable[..., list[torch.Tensor]]


@dataclass(frozen=True)
class Trace:
    """A graph without in-place operations, and what its placeholders stand for.

    Args:
        graph: of ATen's core operations, and `scan`.
        known: for each placeholder a tensor that is known already, or None for the next input.
    """

    graph: GraphModule
    known: list[torch.Tensor | None]


def trace(function: Function, inputs: Sequence[torch.Tensor]) -> Trace:
    """Of straight-line code, derivatives by `torch.func` included."""
    from torch._decomp import core_aten_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracer = make_fx(torch.func.functionalize(function), decomposition_table=dict(core_aten_decompositions()))
        graph = tracer(*inputs)
    graph.graph.eliminate_dead_code()  # derivatives ask about shapes that nothing depends on
    return Trace(graph, [None] * len(inputs))


def trace_loops(function: Function, inputs: Sequence[torch.Tensor]) -> Trace:
    """Of code that calls `scan`, and takes no derivatives; takes longer."""

    class Program(torch.nn.Module):
        def forward(self, *inputs: torch.Tensor) -> list[torch.Tensor]:
            return function(*inputs)

    with torch.no_grad(), warnings.catch_warnings(), loops_kept():
        warnings.simplefilter("ignore")
        program = torch.export.export(Program(), tuple(inputs)).run_decompositions()
    constants = {**program.constants, **program.state_dict}
    specs = program.graph_signature.input_specs
    known = [None if spec.kind.name == "USER_INPUT" else constants[str(spec.target)] for spec in specs]
    return Trace(program.graph_module, known)
