"""What runs the fused kernels: a GPU, or for tests and comparison this processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

THREADS = 128
"""Of a block, where nothing speaks for another number."""

MOST_THREADS = 512
"""Of a block whose threads keep up to 128 numbers each in registers."""


class Launch(NamedTuple):
    """One kernel to run.

    Args:
        name: of the kernel.
        arguments: arrays of the runner's own, and integers.
        blocks: of so many threads each:
        threads: a multiple of a warp's 32, no more than ``MOST_THREADS``.
    """

    name: str
    arguments: tuple[Any, ...]
    blocks: int
    threads: int = THREADS


class Program(Protocol):
    """Kernels in an order, ready to be run again and again."""

    def __call__(self) -> None:
        """Begin to run them; `Kernels.read` waits for the end."""
        ...


class Kernels(Protocol):
    """Compiled kernels and the memory that they work in."""

    def array(self, values: np.ndarray) -> Any:
        """An array there that holds ``values``."""
        ...

    def write(self, array: Any, values: np.ndarray) -> None:
        """New values for an array, of the same shape and type."""
        ...

    def read(self, array: Any) -> np.ndarray:
        """The values of an array, after everything that was begun."""
        ...

    def program(self, launches: Sequence[Launch]) -> Program:
        """The kernels, in this order."""
        ...
