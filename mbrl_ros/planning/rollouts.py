"""Rolling a model out along many action sequences, and what each earns: plain torch, or compiled ahead of time."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.planning import building, packages
from mbrl_ros.planning.compiler import TRACING
from mbrl_ros.planning.graphs import RolloutGraph

Backend = Literal["eager", "compiled"]

_TABLES = ("task.", "model.guide.")  # where tensors of a track may be: in tasks, and in laws that drive


@dataclass(frozen=True)
class Trace:
    """Rollouts in full.

    Args:
        states: [K, H + 1, S].
        costs: [K, T] by term, summed over the horizon.
    """

    states: torch.Tensor
    costs: torch.Tensor


class Rollouts:
    """Costs of action sequences under a model and a task: the negative sum of the task's rewards, in float32.

    Rewards count over the whole horizon, also after ``task.terminal``: a task's penalties go on growing beyond the
    track's edge, so the sooner back the better, whereas a rollout that ended there would be done with them.

    Both backends run the same torch code, "compiled" as a package (`planning.packages`) that has all parameters and
    buffers of model and task as inputs. They are read from the modules at every call, so that changing them in place
    (``fill_``, ``copy_``) takes effect at once.

    Internally everything lies as [entry, rollout], so that neighbouring rollouts are neighbours in memory. On a GPU
    compiled rollouts are recorded as a CUDA graph, once for each shape; states, actions and costs come from and go to
    this processor.

    Args:
        model: a torch module f(s, a) -> s'.
        task: a torch module; its reward terms are summed.
        members: of an ensemble that each go their own way (`planning.members`); a model has as many rows for each
            action sequence, and as many states to begin with.
        backend: "compiled" falls back to "eager" where it cannot be had; ``note`` then says why.
        device: where compiled ones shall run: "cpu", or "cuda", which falls back to "cpu" likewise.
    """

    def __init__(
        self,
        model: DynamicsModel,
        task: Task,
        backend: Backend = "compiled",
        *,
        members: int = 1,
        device: str = "cpu",
    ) -> None:
        if abs(model.dt - task.dt) > 1e-9:
            raise LayoutError(f"the model steps {model.dt:g} s, the task {task.dt:g} s")
        model.action_layout.require(task.action_layout, "actions of the model and of the task")
        self.term_names = task.term_names
        self.wanted: Backend = backend
        self.members = members
        self.note = ""
        """Why rollouts are not compiled although they should be, or what happened on the way; empty if nothing did."""
        self.wanted_device = device
        self._step = _Step(model, task)
        self._way = _Way(_Inputs(self._step, torch.device("cpu")), self._eager, "eager")

    @property
    def device(self) -> str:
        """Where the next evaluation is done: "cpu" or "cuda"."""
        return self._way.inputs.device.type

    @property
    def backend(self) -> Backend:
        """How the next evaluation is done."""
        return self._way.backend

    def warm_up(self) -> None:
        """Load the compiled rollout from the cache, or build it.

        What it takes to build it holds up whoever evaluates rollouts in plain torch meanwhile.
        """
        self._warm_up(beside=False)

    def warming_beside(self) -> Callable[[], None]:
        """What does as `warm_up` in a thread of its own, while whatever there is may be evaluated in plain torch.

        It works on copies, and what has to be built is built in another process (`planning.building`).
        """
        parts = copy.deepcopy((self._step.model, self._step.task))
        twin = Rollouts(*parts, self.wanted, members=self.members, device=self.wanted_device)
        inputs = {place: _Inputs(self._step, torch.device(place)) for place in (self.wanted_device, "cpu")}

        def warm_up() -> None:
            twin._warm_up(beside=True)
            if twin.backend == "compiled":
                self._way = _Way(inputs[twin.device], twin._way.step, "compiled")
            self.note = twin.note

        return warm_up

    def _warm_up(self, beside: bool) -> None:
        if self.wanted == "eager" or self.backend == "compiled":
            return
        notes = []
        for device in dict.fromkeys((self.wanted_device, "cpu")):
            way, note = self._compiled(torch.device(device), beside)
            notes.append(note)
            if way is not None:
                self._way = way
                break
        self.note = ". ".join(filter(None, notes))

    def evaluate(self, state: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """[K] costs of the applied ``actions`` [K, H, A] from ``state`` [S]; not finite where a rollout is not.

        Of several members the mean. Fastest where ``actions`` is a view of a contiguous [H, A, K].
        """
        return self.by_member(state, actions).mean(dim=0)

    def by_member(self, state: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """[M, K] costs of the applied ``actions`` [K, H, A] from ``state`` [S], or [M, S] with several members."""
        *_, (_, sums) = self._run(state, actions)
        return -sums.sum(dim=0).cpu().unflatten(0, (self.members, -1))[:, : len(actions)]

    def trace(self, state: torch.Tensor, actions: torch.Tensor) -> Trace:
        """States and costs by term of the applied ``actions`` [K, H, A] from ``state`` [S], the mean over members."""
        steps = list(self._run(state, actions))
        states = self._mean(torch.stack([following for following, _ in steps]).cpu())[..., : len(actions)]
        start = state.to(torch.float32).reshape(self.members, -1).mean(dim=0)[None, :, None].expand(1, -1, len(actions))
        return Trace(torch.cat([start, states]).permute(2, 0, 1), -self._mean(steps[-1][1].cpu())[:, : len(actions)].T)

    def _mean(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., M K] -> [..., K] mean over the members."""
        return rows.unflatten(-1, (self.members, -1)).mean(dim=-2)

    def _run(self, state: torch.Tensor, actions: torch.Tensor) -> Iterator[list[torch.Tensor]]:
        """State [S, K] and sums of rewards so far [T, K] after each step; K is padded to whole vectors."""
        way = self._way
        columns = actions.to(way.inputs.device, torch.float32).permute(1, 2, 0)
        if extra := -len(actions) % packages.LANES:
            columns = torch.nn.functional.pad(columns, (0, extra))
        columns = columns.repeat(1, 1, self.members) if self.members > 1 else columns.contiguous()
        begin = state.to(way.inputs.device, torch.float32).reshape(self.members, -1).T
        return way.run(begin.repeat_interleave(columns.shape[-1] // self.members, dim=1), columns, len(self.term_names))

    def _eager(
        self, state: torch.Tensor, sums: torch.Tensor, action: torch.Tensor, tensors: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        named = self._way.inputs.named(tensors)
        with TRACING:
            following, terms = torch.func.functional_call(self._step, named, (state.T, action.T))
        # Compiled code takes a state as it would lie in memory had it been made so, whatever it is given.
        return [following.T.contiguous(), sums + torch.stack([terms[name] for name in self.term_names])]

    def _compiled(self, device: torch.device, beside: bool) -> tuple[_Way | None, str]:
        """Compiled steps on a device, or None and why not."""
        model = self._step.model
        try:
            inputs = _Inputs(self._step, device)
            sizes = packages.Sizes(
                len(model.state_layout),
                len(model.action_layout),
                len(self.term_names),
                inputs.tables(),
                self.members,
            )
            order = building.Order(model, self._step.task, self.members, device.type)
            builder = partial(building.build_elsewhere, order) if beside else None
            step, note = packages.obtain(self._eager, inputs.current(), sizes, builder)
            way = None if step is None else _Way(inputs, step, "compiled")
            if way is not None and device.type != "cpu":
                self._try(way, sizes)
        except (RuntimeError, AssertionError) as error:  # of the GPU's driver, or of a torch that was built without
            if device.type == "cpu":
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            return None, f"Rollouts do not run on the GPU: {reason[0]}"
        return way, note

    def _try(self, way: _Way, sizes: packages.Sizes) -> None:
        """Record a rollout of two steps and replay it; what comes of it was compared when the package was loaded."""
        columns = torch.zeros(2, sizes.action, sizes.unit, device=way.inputs.device)
        for _ in range(2):
            list(way.run(torch.zeros(sizes.state, sizes.unit, device=way.inputs.device), columns, sizes.terms))
        torch.cuda.synchronize(way.inputs.device)


@dataclass(frozen=True)
class _Way:
    """How rollouts are evaluated.

    Args:
        inputs: parameters, weights and tables, where they run.
        step: eager or compiled, as ``backend`` says.
        graphs: of rollouts that were recorded, by the shape of their actions.
    """

    inputs: _Inputs
    step: packages.Step
    backend: Backend
    graphs: dict[torch.Size, RolloutGraph] = field(default_factory=dict)

    def run(self, begin: torch.Tensor, columns: torch.Tensor, terms: int) -> Iterator[list[torch.Tensor]]:
        """State [S, K] and sums of rewards so far [T, K] after each step of actions [H, A, K] from states [S, K]."""
        tensors = self.inputs.current()
        if begin.device.type == "cpu":
            return self._steps(begin, columns, tensors, terms)
        with torch.inference_mode():  # in every call: such tensors cannot be written to outside of it
            graph = self.graphs.get(columns.shape)
            if graph is None or not graph.fits(begin, columns, tensors):
                graph = RolloutGraph(partial(self._steps, terms=terms), begin, columns, tensors)
                self.graphs[columns.shape] = graph
            return graph(begin, columns, tensors)

    def _steps(
        self, begin: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor], terms: int
    ) -> Iterator[list[torch.Tensor]]:
        current, sums = begin, torch.zeros(terms, columns.shape[-1], device=begin.device)
        for action in columns.unbind(0):
            current, sums = self.step(current, sums, action, tensors)
            yield [current, sums]


class _Step(torch.nn.Module):
    """One step of model and task."""

    def __init__(self, model: DynamicsModel, task: Task) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        following = self.model(state, action)
        return following, self.task.terms(state, action, following)


class _Inputs:
    """Parameters and buffers of a module as a short list of float32 tensors on a device: scalars packed into the first.

    The list is another one after a value changed.
    """

    def __init__(self, module: torch.nn.Module, device: torch.device) -> None:
        self.device = device
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        packed = {name for name, tensor in tensors.items() if tensor.ndim == 0 and tensor.is_floating_point()}
        self._scalars = {name: tensors[name] for name in sorted(packed)}
        self._others = {name: tensors[name] for name in sorted(tensors.keys() - packed)}
        self._versions: tuple[int, ...] = ()
        self._current: list[torch.Tensor] = []

    def current(self) -> list[torch.Tensor]:
        """The present values; converted again only after one was written to."""
        everything = (*self._scalars.values(), *self._others.values())
        versions = tuple(tensor._version for tensor in everything)
        if versions != self._versions or not self._current:
            scalars = torch.tensor([tensor.item() for tensor in self._scalars.values()], dtype=torch.float32)
            tensors = [scalars, *(_single(tensor.detach()) for tensor in self._others.values())]
            self._current = [tensor.to(self.device) for tensor in tensors]
            self._versions = versions
        return self._current

    def tables(self) -> tuple[int, ...]:
        """Which of the list's entries are the task's tables, whose number of rows may differ between tracks."""
        least = packages.SMALLEST_TABLE
        large = (name.startswith(_TABLES) and tensor.numel() >= least for name, tensor in self._others.items())
        return tuple(k for k, is_table in enumerate(large, start=1) if is_table)

    def named(self, tensors: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The list's entries under the names that the module knows them by."""
        scalars = dict(zip(self._scalars, tensors[0].unbind(0), strict=True))
        return {**scalars, **dict(zip(self._others, tensors[1:], strict=True))}


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float32) if tensor.is_floating_point() else tensor
