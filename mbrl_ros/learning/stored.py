"""Tensors that lie in files, so that what is learned from may be larger than memory."""

from __future__ import annotations

import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import torch

_TYPE = np.dtype(np.float32)

_TOGETHER = 64
"""Rows that are read at once: for each that lies alone the system maps sixteen pages."""


class StoredTensor:
    """A float32 tensor [V, N, ...] in a file: indexed like any other, it reads what is asked for and keeps nothing.

    Args:
        path: written by a `RowWriter`; may be unlinked once this is open.
        shape: of the whole.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._map: mmap.mmap | None = None
        self._array = np.zeros(shape, _TYPE)  # of nothing, where there is nothing to map
        if math.prod(shape):
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._array = np.frombuffer(self._map, _TYPE).reshape(shape)

    def __getitem__(self, index: Any) -> torch.Tensor:
        """A copy in memory of what the index, as of a tensor, selects."""
        keys = index if isinstance(index, tuple) else (index,)
        keys = tuple(key.numpy() if isinstance(key, torch.Tensor) else key for key in keys)
        places = [k for k, key in enumerate(keys) if isinstance(key, np.ndarray) and key.ndim]
        if len(places) != 1 or keys[places[0]].dtype == bool:
            return torch.from_numpy(self._read(keys))
        (place,) = places
        axis = sum(isinstance(key, slice) for key in keys[:place])
        few = np.array_split(keys[place], range(_TOGETHER, len(keys[place]), _TOGETHER))
        parts = [self._read((*keys[:place], rows, *keys[place + 1 :])) for rows in few]
        return torch.from_numpy(np.concatenate(parts, axis=axis))

    def _read(self, keys: tuple[Any, ...]) -> np.ndarray:
        """A copy. What was read stays in the system's cache, which gives way; it is no longer counted as this
        process's memory."""
        found = np.array(self._array[keys])
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)
        return found


class RowWriter:
    """Writes a `StoredTensor` in parts; a context manager.

    Args:
        path: file to write, replacing what is there.
        shape: [V, N, ...] of the whole.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._row = math.prod(shape[2:])
        self._file = path.open("wb")

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def put(self, view: int, first: int, rows: torch.Tensor) -> None:
        """Write ``rows`` [n, ...] from row ``first`` of a view on."""
        self._file.seek((view * self._shape[1] + first) * self._row * _TYPE.itemsize)
        self._file.write(np.ascontiguousarray(rows.numpy(), _TYPE).data)
