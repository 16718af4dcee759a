"""The fused kernels on a GPU, by CuPy: compiled by NVRTC, launched as one CUDA graph, copied through pinned memory."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from mbrl_ros.planning.cuda.kernels import Launch, Program


def missing_gpu() -> str:
    """What the kernels need and this machine lacks, with the fix, or an empty string."""
    if find_spec("cupy") is None:
        return "CuPy is not installed; on a machine with a CUDA device, install with MBRL_CUDA=1 make setup"
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # of the driver's library, which may be absent, too
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return f"CuPy finds no CUDA device ({reason[0]}); check that nvidia-smi lists one"
    return "" if count else "CuPy finds no CUDA device; check that nvidia-smi lists one"


@dataclass(frozen=True)
class DeviceArray:
    """Memory of the GPU and where the host stages it.

    Args:
        memory: bytes on the device.
        staged: the same array in pinned memory.
    """

    memory: Any
    staged: np.ndarray


class DeviceKernels:
    """Kernels on the current CUDA device; `planning.cuda.kernels.Kernels`.

    Args:
        source: of the kernels.
    """

    def __init__(self, source: str) -> None:
        import cupy

        self._cupy = cupy
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._module = cupy.RawModule(code=source, options=("--std=c++17",))

    def array(self, values: np.ndarray) -> DeviceArray:
        """A copy of ``values`` on the device."""
        pinned = self._cupy.cuda.alloc_pinned_memory(values.nbytes)
        staged = np.frombuffer(pinned, values.dtype, values.size).reshape(values.shape)
        array = DeviceArray(self._cupy.empty(values.nbytes, dtype=np.uint8), staged)
        self.write(array, values)
        self._stream.synchronize()
        return array

    def write(self, array: DeviceArray, values: np.ndarray) -> None:
        """New values for an array; the copy goes on after the return, ahead of what is begun next."""
        array.staged[...] = values
        array.memory.data.copy_from_host_async(_address(array.staged), array.staged.nbytes, self._stream)

    def read(self, array: DeviceArray) -> np.ndarray:
        """The values of an array, after everything that was begun; valid until it is read or written again."""
        array.memory.data.copy_to_host_async(_address(array.staged), array.staged.nbytes, self._stream)
        self._stream.synchronize()
        return array.staged

    def program(self, launches: Sequence[Launch]) -> Program:
        """The kernels, in this order, as one CUDA graph; they run once in the making."""
        calls = [(self._module.get_function(launch.name), launch, _arguments(launch)) for launch in launches]

        def launch_all() -> None:
            for kernel, launch, arguments in calls:
                kernel((launch.blocks,), (launch.threads,), arguments)

        with self._stream:
            launch_all()  # loads what may not be loaded while capturing
            self._stream.synchronize()
            self._stream.begin_capture()
            launch_all()
            graph = self._stream.end_capture()

        def run() -> None:
            graph.launch(self._stream)

        return run


def _address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _arguments(launch: Launch) -> tuple[Any, ...]:
    return tuple(np.int32(argument) if isinstance(argument, int) else argument.memory for argument in launch.arguments)
