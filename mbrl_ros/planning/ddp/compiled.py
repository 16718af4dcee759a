"""The passes of DDP compiled ahead of time: each is one program, its loop over the horizon included.

As with rollouts (`planning.packages`), programs are kept on disk under a hash of what they compute, and have all
parameters and buffers of the problem as inputs: changing those in place takes effect at once. A program is made for one
number of problems and one horizon, and for any track: the cost's tables may have any number of rows.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.planning import packages
from mbrl_ros.planning.ddp.backward import Policy
from mbrl_ros.planning.ddp.derivatives import Expansion
from mbrl_ros.planning.ddp.forward import Candidates
from mbrl_ros.planning.ddp.passes import Limits, Passes
from mbrl_ros.planning.rollouts import Backend

Tensors = list[torch.Tensor]
Function = Callable[..., Tensors]

_CONFIG = {"compile_threads": 1}
_TOLERANCE = 1e-6
_RECORDED_STEPS = 2
"""Steps of the horizon that the hash looks at: all are alike."""


class CompiledPasses:
    """Computes what `Passes` does; in plain torch until ``warm_up`` has loaded or built the programs, if it can.

    Args:
        eager: the passes.
        horizon: N.
        batch: B.
        step_sizes: L.
        dtype: of states, actions and costs.
        needed: names of the passes to compile; others stay in plain torch.
    """

    def __init__(
        self,
        eager: Passes,
        horizon: int,
        batch: int,
        step_sizes: int,
        dtype: torch.dtype = torch.float64,
        needed: Sequence[str] = ("expand", "backward", "forward"),
    ) -> None:
        self.eager, self._needed = eager, needed
        self.problem = eager.problem
        self.note = ""
        """Why programs are missing, or what was done; empty if nothing was."""
        self._horizon, self._batch, self._step_sizes, self._dtype = horizon, batch, step_sizes, dtype
        named = {**dict(self.problem.named_parameters()), **dict(self.problem.named_buffers())}
        self._names = [f"problem.{name}" for name in named]
        self._tensors = [tensor.detach() for tensor in named.values()]  # of the same memory
        self._tables = [
            name.startswith("cost.") and tensor.numel() >= packages.SMALLEST_TABLE for name, tensor in named.items()
        ]
        self._programs: dict[str, Function] = {}

    @property
    def backend(self) -> Backend:
        """How the passes are computed at present: "compiled" once all programs needed are there."""
        return "compiled" if self._programs else "eager"

    def warm_up(self, background: bool = False) -> None:
        """Load the programs or build them, which takes a minute; in a thread of its own where ``background`` is set."""
        if background:
            threading.Thread(target=self._obtain, name="compile DDP", daemon=True).start()
        elif not self._programs:
            self._obtain()

    def constraint_count(self, state: torch.Tensor, action: torch.Tensor) -> int:
        """See `Passes`."""
        return self.eager.constraint_count(state, action)

    def expand(
        self, states: torch.Tensor, actions: torch.Tensor, multipliers: torch.Tensor, penalty: torch.Tensor
    ) -> Expansion:
        """See `derivatives.expand`."""
        if "expand" not in self._programs:
            return self.eager.expand(states, actions, multipliers, penalty)
        return Expansion(*self._programs["expand"](states, actions, multipliers, penalty))

    def backward(
        self,
        expansion: Expansion,
        gaps: torch.Tensor,
        regularisation: torch.Tensor,
        limits: Limits | None,
    ) -> Policy:
        """See `backward.backward_pass`."""
        if "backward" not in self._programs:
            return self.eager.backward(expansion, gaps, regularisation, limits)
        return Policy(*self._programs["backward"](*expansion, gaps, regularisation, *(limits or ())))

    def forward(
        self,
        states: torch.Tensor,
        actions: torch.Tensor,
        gaps: torch.Tensor,
        policy: Policy,
        step_sizes: torch.Tensor,
        multipliers: torch.Tensor,
        penalty: torch.Tensor,
        limits: Limits | None,
    ) -> Candidates:
        """See `forward.forward_pass`."""
        if "forward" not in self._programs:
            return self.eager.forward(states, actions, gaps, policy, step_sizes, multipliers, penalty, limits)
        k, gains = policy.feedforward, policy.feedback
        return Candidates(
            *self._programs["forward"](
                states, actions, gaps, k, gains, step_sizes, multipliers, penalty, *(limits or ())
            )
        )

    def expected_change(
        self, expansion: Expansion, gaps: torch.Tensor, policy: Policy
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `forward.expected_change`; in plain torch, since gaps are closed after a few iterations."""
        return self.eager.expected_change(expansion, gaps, policy)

    def _obtain(self) -> None:
        begun = time.monotonic()
        if missing := packages.missing_tools():
            self.note = f"DDP is not compiled: {missing}"
            return
        try:
            found = {name: self._program(name, function) for name, function in self._functions().items()}
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            self.note = f"DDP is not compiled: {type(error).__name__}: {reason[0]}"
            return
        if any(built for _, built in found.values()):
            self.note = f"DDP compiled in {time.monotonic() - begun:.0f} s, kept in {cache_folder(packages.PART)}"
        self._programs = {name: program for name, (program, _) in found.items()}

    def _functions(self) -> dict[str, Function]:
        """The passes with flat lists of tensors for arguments and results."""

        def expand(*args: torch.Tensor) -> Tensors:
            return list(self.eager.expand(*args))

        def backward(*args: torch.Tensor) -> Tensors:
            gaps, mu, *limits = args[6:]
            low_high = (limits[0], limits[1]) if limits else None
            return list(self.eager.backward(Expansion(*args[:6]), gaps, mu, low_high))

        def forward(*args: torch.Tensor) -> Tensors:
            states, actions, gaps, k, gains, sizes, multipliers, penalty, *limits = args
            none = torch.zeros_like(penalty)
            policy = Policy(k, gains, none, none, none, none)
            low_high = (limits[0], limits[1]) if limits else None
            return list(self.eager.forward(states, actions, gaps, policy, sizes, multipliers, penalty, low_high))

        functions = {"expand": expand, "backward": backward, "forward": forward}
        return {name: functions[name] for name in self._needed}

    def _examples(self, horizon: int) -> dict[str, Tensors]:
        """Arguments of the passes, of the shapes that programs are made for but for the horizon.

        No tensor stands for two arguments: an exporter would take them for one.
        """
        generator = torch.Generator().manual_seed(0)
        size, count, batch = self.problem.state_size, self.problem.action_size, self._batch

        def some(*shape: int) -> torch.Tensor:
            return 0.1 * torch.randn(*shape, generator=generator, dtype=self._dtype)

        states, actions = some(horizon + 1, batch, size), some(horizon, batch, count)
        gaps, penalty = some(horizon, batch, size), torch.ones(batch, dtype=self._dtype)
        multipliers = some(horizon, batch, self.eager.constraint_count(states[0], actions[0])).abs()
        y = torch.arange(size + count)
        curvature = some(horizon, batch, size if self.eager.second_order else 0, len(y), len(y))
        hessian = torch.zeros(horizon, batch, len(y), len(y), dtype=self._dtype)
        hessian[..., y, y] = 1.0
        gradient, jacobian = some(horizon, batch, len(y)), some(horizon, batch, size, len(y))
        end = hessian[0, :, :size, :size].contiguous()
        expansion = [jacobian, gradient, hessian, curvature, some(batch, size), end]
        limits = [] if self.problem.low is None else [actions - 1, actions + 1]
        sizes = 0.5 ** torch.arange(self._step_sizes, dtype=self._dtype)
        policy = some(horizon, batch, count), some(horizon, batch, count, size)
        return {
            "expand": [states, actions, multipliers, penalty],
            "backward": [*expansion, gaps, penalty, *limits],
            "forward": [states, actions, gaps, *policy, sizes, multipliers, penalty, *limits],
        }

    def _program(self, name: str, function: Function) -> tuple[Function, bool]:
        """The program called ``name``, and whether it was built just now."""
        module = _Pass(self.problem, function)
        example = self._examples(self._horizon)[name]
        key = self._structure_hash(module, self._examples(_RECORDED_STEPS)[name])
        folder = cache_folder(packages.PART)
        for path in sorted(folder.glob(f"{key}-*.pt2")):
            if path.stem.rpartition("-")[2] == packages.digest(path):
                return self._load(path, module, example), False
            path.unlink(missing_ok=True)  # damaged; built anew
        return self._load(self._build(folder, key, name, module, example), module, example), True

    def _structure_hash(self, module: _Pass, example: Tensors) -> str:
        inputs = [*example, *self._tensors]
        with torch.no_grad(), packages.Recorder(inputs) as operations:
            self._call(module, inputs)
        sizes = self._horizon, self._batch, self._step_sizes
        tables = [False] * len(example) + self._tables
        shapes = [f"{tensor.dtype} {tuple(tensor.shape)[table:]}" for tensor, table in zip(inputs, tables, strict=True)]
        everything = [*operations.lines, *shapes, repr(sizes), repr(_CONFIG), torch.__version__, packages.processor()]
        return hashlib.sha256("\n".join(everything).encode()).hexdigest()[:16]

    def _call(self, module: _Pass, inputs: Tensors) -> Tensors:
        arguments = len(inputs) - len(self._tensors)
        named = dict(zip(self._names, inputs[arguments:], strict=True))
        return torch.func.functional_call(module, named, tuple(inputs[:arguments]))

    def _build(self, folder: Path, key: str, name: str, module: _Pass, example: Tensors) -> Path:
        import torch._inductor  # takes seconds
        from torch.fx.experimental.proxy_tensor import make_fx

        class Program(torch.nn.Module):
            def forward(program, *inputs: torch.Tensor) -> Tensors:  # noqa: N805
                return self._call(module, list(inputs))

        inputs = (*example, *self._tensors)
        rows = [{0: torch.export.Dim(f"rows_{k}", min=2)} if table else None for k, table in enumerate(self._tables)]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Derivatives are written out by one tracer, loops are kept by the other.
            traced = make_fx(Program())(*inputs) if name == "expand" else Program()
            shapes: tuple[Any, ...] = (*[None] * len(example), *rows)
            if name != "expand":
                shapes = (shapes,)  # any number of inputs under one name
            program = torch.export.export(traced, inputs, dynamic_shapes=shapes)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as place:
                built = Path(place) / "ddp.pt2"
                torch._inductor.aoti_compile_and_package(
                    program, package_path=str(built), inductor_configs=dict(_CONFIG)
                )
                path = folder / f"{key}-{packages.digest(built)}.pt2"
                built.replace(path)
        return path

    def _load(self, path: Path, module: _Pass, example: Tensors) -> Function:
        """The program at ``path``, compared with plain torch on an example.

        Raises:
            RuntimeError: it computes something else.
        """
        from torch._inductor import aoti_load_package

        loader = aoti_load_package(str(path)).loader

        def run(*arguments: torch.Tensor) -> Tensors:
            # Programs read memory as it lay in the example.
            return loader.run([*(argument.contiguous() for argument in arguments), *self._tensors])

        with torch.no_grad():
            ours, theirs = run(*example), self._call(module, [*example, *self._tensors])
        for a, b in zip(ours, theirs, strict=True):
            if not torch.allclose(a, b, _TOLERANCE, _TOLERANCE, equal_nan=True):
                path.unlink(missing_ok=True)
                raise RuntimeError(f"{path} computes something else than the equations it was built from")
        return run


class _Pass(torch.nn.Module):
    """A pass as a module, so that the problem's tensors can be replaced by inputs."""

    def __init__(self, problem: torch.nn.Module, function: Function) -> None:
        super().__init__()
        self.problem = problem
        self._function = function

    def forward(self, *arguments: torch.Tensor) -> Tensors:
        return self._function(*arguments)
