"""The passes of DDP compiled ahead of time: each is one function of C++, its loop over the horizon included.

It is written from the traced equations (`planning.native`): a step's arithmetic takes a microsecond, calling its
operations one by one takes hundreds. As with rollouts (`planning.packages`), programs are kept on disk under a hash of
what they compute, and have all parameters and buffers of the problem as inputs: changing those in place takes effect at
once. A program is made for one horizon, for any number of problems, which are spread over torch's threads, and for any
track: the cost's tables may have any number of rows.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.core.errors import LayoutError, in_short
from mbrl_ros.planning import native, packages
from mbrl_ros.planning.compiler import compile_library, compiler, digest, processor
from mbrl_ros.planning.ddp.passes import RESULTS, Pass, Passes
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.work import PROBLEM_FIRST, SHARED, Work
from mbrl_ros.planning.native.program import FLAGS, Program, Rows, source
from mbrl_ros.planning.native.tracing import trace
from mbrl_ros.planning.rollouts import Backend

Tensors = list[torch.Tensor]

_TOLERANCE = 1e-6
_RECORDED_STEPS = 2
"""Steps of the horizon that the hash looks at: all are alike."""

_DECIDING = ("states", "actions", "multipliers", "curvature")
"""What decides how all of `Work` lies in memory, which programs read and write unseen."""

_BY_STEP = ("expand",)
"""Passes that treat every step by itself."""


class CompiledPasses:
    """Computes what `Passes` does; in plain torch until ``warm_up`` has loaded or built the programs, if it can.

    Args:
        eager: the passes.
        horizon: N.
        dtype: of states, actions and costs.
        needed: names of the passes to compile; others stay in plain torch.
    """

    def __init__(
        self,
        eager: Passes,
        horizon: int,
        dtype: torch.dtype = torch.float64,
        needed: Sequence[str] = tuple(RESULTS),
    ) -> None:
        self.eager, self._needed = eager, needed
        self.problem: OptimalControlProblem = eager.problem
        self.note = ""
        """Why programs are missing, or what was done; empty if nothing was."""
        self._horizon, self._dtype = horizon, dtype
        named = {**dict(self.problem.named_parameters()), **dict(self.problem.named_buffers())}
        self._names = [f"problem.{name}" for name in named]
        self._tensors = [tensor.detach() for tensor in named.values()]  # of the same memory
        self._tables = [
            name.startswith(("cost.", "terminal_cost.")) and tensor.numel() >= packages.SMALLEST_TABLE
            for name, tensor in named.items()
        ]
        self._programs: dict[str, Program] = {}
        work = self._work(1, horizon)
        self._kinds = {one: _kind(getattr(work, one)) for one in _DECIDING}

    @property
    def backend(self) -> Backend:
        """How the passes are computed at present: "compiled" once all programs needed are there."""
        return "compiled" if self._programs else "eager"

    def warm_up(self) -> None:
        """Load the programs or build them, which takes a while."""
        if not self._programs:
            self._obtain()

    def constraint_count(self, state: torch.Tensor, action: torch.Tensor) -> int:
        """See `Passes`."""
        return self.eager.constraint_count(state, action)

    def bind(self, name: str, work: Work, chosen: torch.Tensor) -> Pass:
        """See `Passes`; in plain torch where the program is not there, or is one for other steps.

        Raises:
            LayoutError: tensors are not of the kind that programs were made for.
        """
        if name not in self._programs or len(work.actions) != self._horizon:
            return self.eager.bind(name, work, chosen)
        for one, expected in self._kinds.items():
            if (given := _kind(getattr(work, one))) != expected:
                raise LayoutError(f"DDP's programs were made for '{one}' of {expected}, not of {given}")
        return self._bound(self._programs[name], name, work, chosen)

    def _bound(self, program: Program, name: str, work: Work, chosen: torch.Tensor) -> Pass:
        inputs = [_rows(one, getattr(work, one)) for one in self.eager.inputs(name)]
        results = [_rows(one, getattr(work, one)) for one in RESULTS[name]]
        steps = len(work.actions) if name in _BY_STEP else 1
        return program.bind([*inputs, *map(Rows, self._tensors)], results, chosen, steps)

    def _obtain(self) -> None:
        begun = time.monotonic()
        try:
            with ThreadPoolExecutor(2) as compilers:  # one pass is compiled while the next is traced
                made = {name: self._file(name, compilers) for name in self._needed}
                programs = {name: self._load(path.result(), name) for name, (path, _) in made.items()}
        except Exception as error:
            self.note = f"DDP is not compiled: {in_short(error)}"
            return
        if any(built for _, built in made.values()):
            self.note = f"DDP compiled in {time.monotonic() - begun:.0f} s, kept in {cache_folder(packages.PART)}"
        self._programs = programs

    def _file(self, name: str, compilers: ThreadPoolExecutor) -> tuple[Future[Path], bool]:
        """Where the program called ``name`` will be, and whether it is being built."""
        module = _Pass(self.problem, getattr(self.eager, name))
        key, folder = self._structure_hash(name, module), cache_folder(packages.PART)
        for path in sorted(folder.glob(f"{key}-*.so")):
            if path.stem.rpartition("-")[2] == digest(path):
                return compilers.submit(Path, path), False
            path.unlink(missing_ok=True)  # damaged; built anew
        return compilers.submit(_build, self._source(name, module), folder, key), True

    def _structure_hash(self, name: str, module: _Pass) -> str:
        example = self._example(name, self._work(1, _RECORDED_STEPS), _RECORDED_STEPS)
        inputs = [*example, *self._tensors]
        with torch.no_grad(), packages.Recorder(inputs) as operations:
            self._call(module, inputs)
        tables = [False] * len(example) + self._tables
        shapes = [
            f"{tensor.dtype} {tuple(tensor.shape)[table:]} {tensor.stride()}"
            for tensor, table in zip(inputs, tables, strict=True)
        ]
        writers = [digest(path) for path in sorted(Path(native.__file__).parent.glob("*.py"))]
        made_by = [*writers, *compiler(), *FLAGS, torch.__version__, processor()]
        everything = [*operations.lines, *shapes, repr(self._horizon), *made_by]
        return hashlib.sha256("\n".join(everything).encode()).hexdigest()[:16]

    def _work(self, batch: int, horizon: int) -> Work:
        """Numbers such as an optimisation may hold, at random."""
        generator = torch.Generator().manual_seed(0)
        size, count = self.problem.state_size, self.problem.action_size

        def some(*shape: int) -> torch.Tensor:
            return 0.1 * torch.randn(*shape, generator=generator, dtype=self._dtype)

        start, actions = some(batch, size), some(batch, horizon, count)
        limits = None if self.problem.low is None else (actions - 1, actions + 1)
        work = Work.begin(
            start,
            actions,
            some(batch, horizon + 1, size),
            some(batch, horizon, count, size),
            limits,
            constraints=self.eager.constraint_count(start, actions[:, 0]),
            second_order=self.eager.settings.second_order,
        )
        for tensor in vars(work).values():
            if tensor is not None and tensor.is_floating_point() and not bool(tensor.any()):
                tensor.copy_(some(*tensor.shape))
        work.hessian.copy_(torch.eye(size + count, dtype=self._dtype))
        work.end_hessian.copy_(torch.eye(size, dtype=self._dtype))
        for tensor in (work.multipliers, work.mu, work.gap, work.weight, work.rules):
            tensor.abs_()
        work.linear.abs_().neg_()
        return work

    def _example(self, name: str, work: Work, horizon: int) -> Tensors:
        """One problem's arguments of a pass.

        No tensor stands for two arguments: an exporter would take them for one.
        """
        return [work.example(one, horizon).contiguous().clone() for one in self.eager.inputs(name)]

    def _call(self, module: _Pass, inputs: Tensors) -> Tensors:
        arguments = len(inputs) - len(self._tensors)
        named = dict(zip(self._names, inputs[arguments:], strict=True))
        return torch.func.functional_call(module, named, tuple(inputs[:arguments]))

    def _source(self, name: str, module: _Pass) -> str:
        horizon = 1 if name in _BY_STEP else self._horizon
        example = self._example(name, self._work(1, self._horizon), horizon)
        inputs = [*example, *self._tensors]
        program = trace(lambda *inputs: self._call(module, list(inputs)), inputs)
        return source(program, inputs, [*[False] * len(example), *self._tables])

    def _load(self, path: Path, name: str) -> Program:
        """The program at ``path``, compared with plain torch on an example of two problems.

        Raises:
            RuntimeError: it computes something else.
        """
        program, everyone = Program(path), torch.ones(2, dtype=torch.bool)
        ours, theirs = self._work(2, self._horizon), self._work(2, self._horizon)
        with torch.no_grad():
            self._bound(program, name, ours, everyone)()
            self.eager.bind(name, theirs, everyone)()
        for one in RESULTS[name]:
            if not torch.allclose(getattr(ours, one), getattr(theirs, one), _TOLERANCE, _TOLERANCE, equal_nan=True):
                path.unlink(missing_ok=True)
                raise RuntimeError(f"{path} computes another {one} than the equations it was built from")
        return program


def _build(text: str, folder: Path, key: str) -> Path:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as place:  # another process may build the same
        built = Path(place) / "pass.so"
        compile_library(text, FLAGS, ["-lm"], built)
        return built.replace(folder / f"{key}-{digest(built)}.so")


def _kind(tensor: torch.Tensor) -> tuple[torch.dtype, torch.device, torch.Size]:
    """Of any number of steps and problems."""
    return tensor.dtype, tensor.device, tensor.shape[2:]


def _rows(name: str, tensor: torch.Tensor) -> Rows:
    """Where the numbers of each problem, and of each step, lie."""
    if name in SHARED:
        return Rows(tensor)
    size = tensor.element_size()
    if name in PROBLEM_FIRST:
        return Rows(tensor, size * tensor.stride(0))
    return Rows(tensor, size * tensor.stride(1), size * tensor.stride(0))


class _Pass(torch.nn.Module):
    """A pass as a module, so that the problem's tensors can be replaced by inputs."""

    def __init__(self, problem: torch.nn.Module, function: Any) -> None:
        super().__init__()
        self.problem = problem
        self._function = function

    def forward(self, *arguments: torch.Tensor) -> Tensors:
        return self._function(*arguments)
