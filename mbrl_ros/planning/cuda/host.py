"""The fused kernels compiled as plain C++ for this processor: what tests hold equal to the torch equations.

Also the floor that benchmarks measure against: a loop in C++ over vectors of rollouts, without torch.
"""

from __future__ import annotations

import ctypes
import hashlib
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.planning.compiler import compile_library, compiler, processor
from mbrl_ros.planning.cuda.kernels import Launch, Program

_FLAGS = [
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fassociative-math",
    "-freciprocal-math",
    "-fno-builtin-cosf",
    "-Wno-unknown-pragmas",
]
_VECTORS = ["-mprefer-vector-width=512"] if platform.machine() == "x86_64" else []
_LIBRARIES = ["-lmvec", "-lm"] if platform.machine() == "x86_64" else ["-lm"]
_ALIGNMENT = 64


class HostKernels:
    """Kernels on this processor; `planning.cuda.kernels.Kernels`.

    Args:
        source: of the kernels.
        threads: among which rollouts are spread.

    Raises:
        MbrlError: there is no compiler, or it refuses the source.
    """

    def __init__(self, source: str, threads: int = 1) -> None:
        self._library = ctypes.CDLL(str(_compiled(source)))
        self._threads = threads

    def array(self, values: np.ndarray) -> np.ndarray:
        """A copy of ``values`` that begins where a vector may."""
        memory = np.zeros(values.nbytes + _ALIGNMENT, dtype=np.uint8)
        begin = -memory.ctypes.data % _ALIGNMENT
        aligned = memory[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape)
        aligned[...] = values
        return aligned

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """New values for an array."""
        array[...] = values

    def read(self, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return array

    def program(self, launches: Sequence[Launch]) -> Program:
        """The kernels, in this order."""
        calls = [(getattr(self._library, launch.name), _arguments(launch)) for launch in launches]

        def run() -> None:
            self._library.set_threads(self._threads)
            for function, arguments in calls:
                function(*arguments)

        return run


def _arguments(launch: Launch) -> list[Any]:
    return [
        ctypes.c_int(argument) if isinstance(argument, int) else ctypes.c_void_p(argument.ctypes.data)
        for argument in launch.arguments
    ]


def _compiled(source: str) -> Path:
    """A shared library of ``source``, from the cache or built now."""
    flags = [*_FLAGS, *_VECTORS]
    key = hashlib.sha256("\n".join([source, *compiler(), *flags, processor()]).encode()).hexdigest()[:16]
    path = cache_folder("kernels") / f"{key}.so"
    if not path.is_file():
        compile_library(source, flags, _LIBRARIES, path)
    return path
