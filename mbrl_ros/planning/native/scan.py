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
_LIBRARY = torch.library.Library("mbrl_ros", "DEF")
_LIBRARY.define("loop_begin(Tensor[] carry, Tensor[] slices, bool reverse) -> Tensor[]")
_LIBRARY.define("loop_end(Tensor[] following, Tensor[] results, int steps) -> Tensor[]")


@contextmanager
def loops_kept() -> Iterator[None]:
    """Inside, a tracer sees one step of a loop between `loop_begin` and `loop_end`; its numbers mean nothing."""
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
        begun = torch.ops.mbrl_ros.loop_begin(carry, slices, reverse)
        ended = torch.ops.mbrl_ros.loop_end(*body(begun[: len(carry)], begun[len(carry) :]), len(slices[0]))
        return ended[: len(carry)], ended[len(carry) :]
    rows = list(zip(*(tensor.unbind(0) for tensor in slices), strict=True))
    results = []
    for row in reversed(rows) if reverse else rows:
        carry, result = body(carry, list(row))
        results.append(result)
    if reverse:
        results.reverse()
    return carry, [torch.stack(column) for column in zip(*results, strict=True)]


@torch.library.impl(_LIBRARY, "loop_begin", "CompositeExplicitAutograd")
def _loop_begin(carry: Tensors, slices: Tensors, reverse: bool) -> Tensors:
    return [*(tensor.clone() for tensor in carry), *(tensor[0].clone() for tensor in slices)]


@torch.library.impl(_LIBRARY, "loop_end", "CompositeExplicitAutograd")
def _loop_end(following: Tensors, results: Tensors, steps: int) -> Tensors:
    return [*(tensor.clone() for tensor in following), *(torch.stack([tensor] * steps) for tensor in results)]
