"""Torch functions as graphs of basic operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch.fx import GraphModule

from mbrl_ros.planning.compiler import TRACING
from mbrl_ros.planning.native.scan import loops_kept


def trace(function: Callable[..., list[torch.Tensor]], inputs: Sequence[torch.Tensor]) -> GraphModule:
    """ATen's core operations, none of them in place, and loops of `scan`; derivatives are written out."""
    from torch._decomp import core_aten_decompositions  # takes a second
    from torch.fx.experimental.proxy_tensor import make_fx

    with TRACING, torch.no_grad(), warnings.catch_warnings(), loops_kept():
        warnings.simplefilter("ignore")
        tracer = make_fx(torch.func.functionalize(function), decomposition_table=dict(core_aten_decompositions()))
        program = tracer(*inputs)
    program.graph.eliminate_dead_code()  # derivatives ask about shapes that nothing depends on
    return program
