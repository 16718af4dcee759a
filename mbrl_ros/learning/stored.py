"""Tensors that lie in files, so that what is learned from may be larger than memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbrl_ros.core.mapped import APART, let_go

_TYPE = np.dtype(np.float32)


class StoredTensor:
    """A float32 tensor [V, N, ...] in a file: indexed like any other, it reads what is asked for and keeps nothing.

    Args:
        path: written by a `RowWriter`; may be unlinked once this is open.
        shape: of the whole.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._array = np.zeros(shape, _TYPE)  # of nothing, where there is nothing to map
        if math.prod(shape):
            self._array = np.asarray(np.memmap(path, _TYPE, "r", shape=shape))

    def __getitem__(self, index: Any) -> torch.Tensor:
        """A copy in memory of what the index, as of a tensor, selects."""
        keys = index if isinstance(index, tuple) else (index,)
        keys = tuple(key.numpy() if isinstance(key, torch.Tensor) else key for key in keys)
        places = [k for k, key in enumerate(keys) if isinstance(key, np.ndarray) and key.ndim]
        if len(places) != 1 or keys[places[0]].dtype == bool:
            return torch.from_numpy(self._read(keys))
        (place,) = places
        axis = sum(isinstance(key, slice) for key in keys[:place])
        few = np.array_split(keys[place], range(APART, len(keys[place]), APART))
        parts = [self._read((*keys[:place], rows, *keys[place + 1 :])) for rows in few]
        return torch.from_numpy(np.concatenate(parts, axis=axis))

    def _read(self, keys: tuple[Any, ...]) -> np.ndarray:
        found = np.array(self._array[keys])
        let_go(self._array)
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
