"""One recursion over the steps of a horizon: a plain loop, or one loop inside of a traced program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch

Tensors = list[torch.Tensor]
Body = Callable[[Tensors, Tensors], tuple[Tensors, Tensors]]
"""(carry, this step's slices) -> (next carry, this step's results)."""

_LOOPS_KEPT = ContextVar("loops kept", default=False)  # of this thread: another may plan meanwhile


@contextmanager
def loops_kept() -> Iterator[None]:
    """Inside, a tracer sees one loop instead of all its steps."""
    token = _LOOPS_KEPT.set(True)
    try:
        yield
    finally:
        _LOOPS_KEPT.reset(token)


def scan(body: Body, carry: Tensors, slices: Sequence[torch.Tensor], reverse: bool = False) -> tuple[Tensors, Tensors]:
    """The last carry, and the results of all steps stacked in time's order.

    Args:
        body: one step.
        carry: what it starts with.
        slices: [N, ...] each, cut along time.
        reverse: from the last step to the first.
    """
    if _LOOPS_KEPT.get():
        from torch._higher_order_ops.scan import scan as traced_scan

        def unshared(carry: Tensors, row: Tensors) -> tuple[Tensors, Tensors]:
            following, results = body(carry, row)
            return [_copy(tensor) for tensor in following], [_copy(tensor) for tensor in results]

        return traced_scan(unshared, [_copy(tensor) for tensor in carry], list(slices), reverse=reverse)
    rows = list(zip(*(tensor.unbind(0) for tensor in slices), strict=True))
    results = []
    for row in reversed(rows) if reverse else rows:
        carry, result = body(carry, list(row))
        results.append(result)
    if reverse:
        results.reverse()
    return carry, [torch.stack(column) for column in zip(*results, strict=True)]


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone(memory_format=torch.contiguous_format)  # a loop's memory lies alike in every step
