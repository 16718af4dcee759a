"""Arrays that lie in mapped files: looked at in blocks, so that they may be more than memory holds."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 16
"""Rows that are looked at together."""

APART = 64
"""Rows that are read at once where they lie apart: for each the system maps sixteen pages."""


def blocks(count: int) -> Iterator[slice]:
    """All of ``count`` rows, a block after another."""
    for first in range(0, count, BLOCK):
        yield slice(first, min(first + BLOCK, count))


def let_go(*arrays: np.ndarray) -> None:
    """No longer count what was read of mapped files as this process's memory; it is read again when it is looked at.

    It stays in the system's cache, which gives way. Arrays in memory stay there. Files must be mapped for reading, or
    shared: what a private map changed would be lost.
    """
    for array in arrays:
        owner: object = array
        while isinstance(owner, np.ndarray):
            owner = owner.base
        if isinstance(owner, mmap.mmap):
            owner.madvise(mmap.MADV_DONTNEED)
