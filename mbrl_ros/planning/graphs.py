"""Whole rollouts on a GPU as one CUDA graph: a single launch, instead of some for each step of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch


class Steps(Protocol):
    """Rollouts of actions ``columns`` [H, A, K] from ``begin`` [S, K]: state [S, K] and sums [T, K] after each step."""

    def __call__(
        self, *, begin: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor]
    ) -> Iterator[list[torch.Tensor]]:
        """``tensors`` are parameters, weights and tables."""
        ...


class RolloutGraph:
    """Rollouts of one shape, recorded once and replayed with new numbers on the current GPU.

    What a replay gives is overwritten by the next.

    Args:
        steps: to record; their tensors are on the GPU and they never wait for it.
        begin: example of their arguments, as are the other two.
    """

    def __init__(self, steps: Steps, begin: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor]) -> None:
        self._begin, self._columns = begin.clone(), columns.clone()
        self._tensors, self._given = [tensor.clone() for tensor in tensors], tensors
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            list(self._recorded(steps))  # loads what may not be loaded while recording
        torch.cuda.current_stream().wait_stream(beside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # others may load what they need
            self._after = list(self._recorded(steps))

    def fits(self, begin: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor]) -> bool:
        """Whether the arguments have the shapes that were recorded."""
        pairs = zip([begin, columns, *tensors], [self._begin, self._columns, *self._tensors], strict=True)
        return all(one.shape == other.shape for one, other in pairs)

    def __call__(
        self, begin: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor]
    ) -> Iterator[list[torch.Tensor]]:
        """State [S, K] and sums [T, K] after each step."""
        self._begin.copy_(begin)
        self._columns.copy_(columns)
        if tensors is not self._given:
            for held, tensor in zip(self._tensors, tensors, strict=True):
                held.copy_(tensor)
            self._given = tensors
        self._graph.replay()
        return iter(self._after)

    def _recorded(self, steps: Steps) -> Iterator[list[torch.Tensor]]:
        return steps(begin=self._begin, columns=self._columns, tensors=self._tensors)
