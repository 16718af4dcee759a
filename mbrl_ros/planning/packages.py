"""Rollouts compiled ahead of time (AOTInductor), kept on disk and shared by every process of a user.

A package holds one step of model and task for any number of rollouts; a rollout calls it step after step. (A call costs
10 us, 50 of them a tenth of a solve; packages of several steps ran hardly faster, and took as much longer to build.)
What is compiled depends on the structure of the equations alone: the values of parameters, weights, tracks and
references are inputs. A package is therefore found by a hash of the traced operations, the inputs' shapes, the versions
and the processor or GPU, and built once. It runs where the parameters, weights and tables are.
"""

from __future__ import annotations

import hashlib
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.core.errors import MbrlError, in_short
from mbrl_ros.planning.compiler import TRACING, digest, missing_compiler, processor

PART = "rollouts"
"""Folder of the cache."""

SMALLEST_TABLE = 65
"""A track's tensors of at least so many numbers may have any number of rows, for the next track has another one."""

LANES = 16
"""Rollouts per package call are a multiple of this, the widest vector of single precision; saves a scalar remainder."""

_CONFIG = {"cpp.dynamic_threads": True, "compile_threads": 1}
_TOLERANCE = 1e-3

Step = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, list[torch.Tensor]], list[torch.Tensor]]
"""One step of K rollouts: (state [S, K], sums of rewards so far [T, K], action [A, K], parameters, weights and tables)
-> [next state [S, K], sums [T, K]]."""


@dataclass(frozen=True)
class Sizes:
    """What a step's tensors measure.

    Args:
        state: S.
        action: A.
        terms: T.
        tables: which of the parameters, weights and tables may come with another number of rows.
        members: M, whose rollouts stand behind each other: their number is a multiple of M, too.
    """

    state: int
    action: int
    terms: int
    tables: tuple[int, ...] = ()
    members: int = 1

    @property
    def unit(self) -> int:
        """Numbers of rollouts are multiples of this."""
        return LANES * self.members


def obtain(
    step: Step, tensors: list[torch.Tensor], sizes: Sizes, builder: Callable[[], None] | None = None
) -> tuple[Step | None, str]:
    """``step``, compiled: from the cache, or built now.

    Args:
        step: in torch.
        tensors: example of its last argument.
        sizes: of the other arguments.
        builder: leaves the package of ``step`` in the cache; None builds it here.

    Returns:
        The compiled step, for numbers of rollouts that are a multiple of ``sizes.unit``, or None where it cannot be
        had; and a note: a sentence on what went wrong or was done, or nothing.
    """
    try:
        folder = cache_folder(PART)
    except OSError as error:
        return None, f"Rollouts are not compiled: there is no folder to keep them in ({error}); set MBRL_CACHE to one"
    key, note = structure_hash(step, tensors, sizes), ""
    for path in sorted(folder.glob(f"{key}-*.pt2")):
        compiled, problem = _load(path, step, tensors, sizes)
        if compiled is not None:
            return compiled, note
        note = f"{path} was damaged ({problem}) and is built anew. "
        path.unlink(missing_ok=True)
    if missing := missing_tools():
        return None, f"{note}Rollouts are not compiled: {missing}"
    begun = time.monotonic()
    try:
        path = _build(folder, key, step, tensors, sizes) if builder is None else _built(builder, folder, key)
    except MbrlError as error:
        return None, f"{note}{error}"
    except Exception as error:
        return None, f"{note}Rollouts are not compiled: {in_short(error)}"
    compiled, problem = _load(path, step, tensors, sizes)
    if compiled is None:
        return None, f"{note}Rollouts are not compiled: the package just built {problem}"
    return compiled, f"{note}Rollouts compiled in {time.monotonic() - begun:.0f} s, kept as {path}"


def missing_tools() -> str:
    """What compiling needs and this machine lacks, with the fix, or an empty string."""
    if missing := missing_compiler():
        return missing
    include = sysconfig.get_paths()["include"]
    if not Path(include, "Python.h").is_file():
        return f"{include}/Python.h is missing; install Python's headers (apt install python3-dev)"
    return ""


def structure_hash(step: Step, tensors: list[torch.Tensor], sizes: Sizes) -> str:
    """Sixteen hex digits that change with whatever the compiled code depends on."""
    example = _example(sizes, tensors)
    with torch.no_grad(), Recorder(tree_leaves(example)) as operations:
        step(*example)
    shapes = [f"{tensor.dtype} {tuple(tensor.shape)[k in sizes.tables :]}" for k, tensor in enumerate(tensors)]
    machine = [torch.__version__, processor(), _gpu(tensors[0].device)]
    everything = [*operations.lines, *shapes, repr(sizes), repr(_CONFIG), *machine]
    return hashlib.sha256("\n".join(everything).encode()).hexdigest()[:16]


class Recorder(TorchDispatchMode):
    """Writes down the operations that run: each with its arguments, tensors by where they come from."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, only to keep it from compiling this class; takes a second

    def __init__(self, inputs: list[torch.Tensor]) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._kept = list(inputs)  # alive, so that no two tensors share an id
        self._origins = {id(tensor): f"input {k}" for k, tensor in enumerate(inputs)}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        arguments = [self._describe(leaf) for leaf in tree_leaves((args, kwargs))]
        for k, leaf in enumerate(tree_leaves(result)):
            if isinstance(leaf, torch.Tensor):
                self._kept.append(leaf)
                self._origins[id(leaf)] = f"{len(self.lines)}.{k}"
        self.lines.append(f"{function}({', '.join(arguments)})")
        return result

    def _describe(self, leaf: Any) -> str:
        if not isinstance(leaf, torch.Tensor):
            return repr(leaf)
        if leaf._is_zerotensor():  # of forward-mode derivatives; has no memory
            return f"zeros {leaf.dtype} {tuple(leaf.shape)}"
        return self._origins.get(id(leaf)) or f"constant {leaf.dtype} {leaf.tolist()}"


def _gpu(device: torch.device) -> str:
    """What code compiled for a GPU may rely on; nothing for this processor."""
    if device.type == "cpu":
        return ""
    return f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)} {torch.version.cuda}"


def _example(sizes: Sizes, tensors: list[torch.Tensor], units: int = 1) -> tuple[Any, ...]:
    generator, count, device = torch.Generator().manual_seed(0), units * sizes.unit, tensors[0].device
    state = torch.randn(sizes.state, count, generator=generator)
    action = torch.randn(sizes.action, count, generator=generator)
    return state.to(device), torch.zeros(sizes.terms, count, device=device), action.to(device), tensors


class _Program(torch.nn.Module):
    """A step as a module, for export."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def forward(
        self, state: torch.Tensor, sums: torch.Tensor, action: torch.Tensor, tensors: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        return self._step(state, sums, action, tensors)


def _built(builder: Callable[[], None], folder: Path, key: str) -> Path:
    builder()
    for path in folder.glob(f"{key}-*.pt2"):
        return path
    raise MbrlError(f"Rollouts are not compiled: no {key}-*.pt2 was built in {folder}")


def _build(folder: Path, key: str, step: Step, tensors: list[torch.Tensor], sizes: Sizes) -> Path:
    """Compile into ``folder``; the file gets its name, with the hash of its contents, only when it is complete."""
    import torch._inductor  # takes seconds

    from mbrl_ros.planning.columns import unroll_columns

    count = sizes.unit * torch.export.Dim("rollouts", min=1, max=1 << 16)
    rows = [{0: torch.export.Dim(f"rows_{k}", min=2)} if k in sizes.tables else None for k in range(len(tensors))]
    with TRACING, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            _Program(step),
            _example(sizes, tensors, 4),  # a count of one unit would be taken for a constant
            dynamic_shapes=({1: count}, {1: count}, {1: count}, rows),
        )
        program.graph_module.graph = unroll_columns(program.graph)
        program.graph_module.recompile()
        with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as place:
            built = Path(place) / "rollout.pt2"
            torch._inductor.aoti_compile_and_package(program, package_path=str(built), inductor_configs=dict(_CONFIG))
            path = folder / f"{key}-{digest(built)}.pt2"
            built.replace(path)
    return path


def _load(path: Path, step: Step, tensors: list[torch.Tensor], sizes: Sizes) -> tuple[Step | None, str]:
    """The compiled step at ``path``, checked against its name and against ``step`` on an example; or why not."""
    if digest(path) != path.stem.rpartition("-")[2]:
        return None, "its contents are not what was written"
    try:
        # As torch._inductor.aoti_load_package does, without importing the compiler, which takes a second. On a GPU one
        # thread asks, and its questions wait for nothing that a recording (planning.graphs) could not hold.
        on_gpu = tensors[0].device.type != "cpu"
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", on_gpu, 1, -1)
    except RuntimeError as error:
        return None, f"cannot be loaded: {str(error).splitlines()[0]}"

    def compiled(
        state: torch.Tensor, sums: torch.Tensor, action: torch.Tensor, tensors: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        return loader.run([state, sums, action, *tensors])  # flat: sorting nested arguments costs more than the call

    state, sums, action, _ = _example(sizes, tensors)

    def twice(one: Step) -> list[torch.Tensor]:
        """What comes out of a step has to be what the next takes."""
        after, so_far = one(state, sums, action, tensors)
        return one(after, so_far, action, tensors)

    with torch.no_grad():
        ours, theirs = twice(compiled), twice(step)
    if not all(torch.allclose(a, b, _TOLERANCE, _TOLERANCE, equal_nan=True) for a, b in zip(ours, theirs, strict=True)):
        return None, "computes something else than the equations it was built from"
    return compiled, ""
