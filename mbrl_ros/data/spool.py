"""Rows that are collected and may be more than memory holds."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from mbrl_ros.core.cache import cache_folder

_TOGETHER = 4096  # rows that are written at once


class Spool:
    """Rows of numbers, added at the end; all but the last few lie in a file without a name.

    Args:
        width: numbers in a row.
        kind: their type.
    """

    def __init__(self, width: int, kind: type[np.generic]) -> None:
        self._width, self._kind = width, np.dtype(kind)
        self._rows: list[Sequence[float]] = []
        self._file: Any = None
        self._written = 0

    def __len__(self) -> int:
        return self._written + len(self._rows)

    def add(self, row: Sequence[float]) -> None:
        """Add one row."""
        self._rows.append(row)
        if len(self._rows) == _TOGETHER:
            self._write(self._waiting())

    def extend(self, rows: np.ndarray) -> None:
        """Add ``rows`` [n, width]."""
        self._write(self._waiting())
        self._write(rows.reshape(-1, self._width))

    def array(self) -> np.ndarray:
        """[N, width] all rows, read when they are looked at; nothing more can be added."""
        if not self._written:
            return self._waiting()
        self._write(self._waiting())
        self._file.flush()
        return np.asarray(np.memmap(self._file, self._kind, "r", shape=(self._written, self._width)))

    def _waiting(self) -> np.ndarray:
        """[n, width] rows that are not in the file yet, and from now on are not waiting."""
        rows, self._rows = np.array(self._rows, dtype=self._kind).reshape(-1, self._width), []
        return rows

    def _write(self, rows: np.ndarray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=cache_folder("reading"))  # noqa: SIM115  # as long as the array
        self._file.write(np.ascontiguousarray(rows, dtype=self._kind).data)
        self._written += len(rows)
