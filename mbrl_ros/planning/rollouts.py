"""Rolling a model out along many action sequences, and what each earns: plain torch, or compiled ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.planning import packages
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
        device: where they run: "cpu" or "cuda".
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
        self._step = _Step(model, task)
        self._device = torch.device(device)
        self._inputs = _Inputs(self._step, self._device)
        self._compiled: packages.Step | None = None
        self._graphs: dict[torch.Size, RolloutGraph] = {}

    @property
    def device(self) -> str:
        """Where rollouts run: "cpu" or "cuda"."""
        return self._device.type

    @property
    def backend(self) -> Backend:
        """How the next evaluation is done."""
        return "eager" if self._compiled is None else "compiled"

    def warm_up(self) -> None:
        """Load the compiled rollout from the cache, or build it.

        Nothing else may be evaluated in plain torch meanwhile: torch's compiler changes modules for every thread.
        """
        if self.wanted == "compiled" and self._compiled is None:
            self._compile()

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
        columns = actions.to(self._device, torch.float32).permute(1, 2, 0)
        if extra := -len(actions) % packages.LANES:
            columns = torch.nn.functional.pad(columns, (0, extra))
        columns = columns.repeat(1, 1, self.members) if self.members > 1 else columns.contiguous()
        begin = state.to(self._device, torch.float32).reshape(self.members, -1).T
        begin = begin.repeat_interleave(columns.shape[-1] // self.members, dim=1)
        tensors = self._inputs.current()
        if self._compiled is None or self._device.type == "cpu":
            return self._steps(begin, columns, tensors)
        return self._recorded(begin, columns, tensors)

    def _steps(
        self, current: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor]
    ) -> Iterator[list[torch.Tensor]]:
        step = self._compiled or self._eager
        sums = torch.zeros(len(self.term_names), columns.shape[-1], device=self._device)
        for action in columns.unbind(0):
            current, sums = step(current, sums, action, tensors)
            yield [current, sums]

    def _recorded(
        self, begin: torch.Tensor, columns: torch.Tensor, tensors: list[torch.Tensor]
    ) -> Iterator[list[torch.Tensor]]:
        """The same steps from a CUDA graph, recorded now where none fits."""
        with torch.inference_mode():  # in every call: such tensors cannot be written to outside of it
            graph = self._graphs.get(columns.shape)
            if graph is None or not graph.fits(begin, columns, tensors):
                graph = self._graphs[columns.shape] = RolloutGraph(self._steps, begin, columns, tensors)
            return graph(begin, columns, tensors)

    def _eager(
        self, state: torch.Tensor, sums: torch.Tensor, action: torch.Tensor, tensors: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        named = self._inputs.named(tensors)
        following, terms = torch.func.functional_call(self._step, named, (state.T, action.T))
        # Compiled code takes a state as it would lie in memory had it been made so, whatever it is given.
        return [following.T.contiguous(), sums + torch.stack([terms[name] for name in self.term_names])]

    def _compile(self) -> None:
        model = self._step.model
        sizes = packages.Sizes(
            len(model.state_layout),
            len(model.action_layout),
            len(self.term_names),
            self._inputs.tables(),
            self.members,
        )
        self._compiled, self.note = packages.obtain(self._eager, self._inputs.current(), sizes)


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
        self._device = device
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
            self._current = [tensor.to(self._device) for tensor in tensors]
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
