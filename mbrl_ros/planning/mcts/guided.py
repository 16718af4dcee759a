"""A car under a feedback law, whose actions are offsets from what the law commands; delays are inside of it."""

from __future__ import annotations

import math

import torch

from mbrl_ros.core.layout import Layout
from mbrl_ros.core.tasks.task import Task, total
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.planning.planner import PlanningError


class GuidedModel(torch.nn.Module):
    """A model and the feedback law that drives it as one; a `models.model.DynamicsModel`.

    A step commands ``u = clamp(law(state) + offset)``. What acts is a command of a delay ago, so the state begins with
    the commands sent last, the newest first; the model's own state stands behind them. Of a delay of ``n + f`` steps
    two commands act, ``(1 - f) u_(k-n) + f u_(k-n-1)``, as `core.delay.delayed` has it.

    Args:
        model: of the car.
        law: [..., S] -> [..., A] commands.
        low: [A] lowest commands.
        high: [A] highest commands.
    """

    kind = "guided"
    delay: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, model: DynamicsModel, law: torch.nn.Module, low: torch.Tensor, high: torch.Tensor) -> None:
        super().__init__()
        self.model, self.guide, self.dt = model, law, model.dt
        self.reference_point, self.action_layout = model.reference_point, model.action_layout
        self.remembered = math.ceil(float(model.delay.detach().max()) / model.dt - 1e-6) + 1
        names = [f"{name}_{k}" for k in range(self.remembered) for name in model.action_layout.names]
        units = self.remembered * model.action_layout.units
        self.state_layout = Layout(
            (*names, *model.state_layout.names),
            (*units, *model.state_layout.units),
        )
        self.register_buffer("low", low.detach().clone())
        self.register_buffer("high", high.detach().clone())
        self.register_buffer("delay", torch.zeros_like(low))  # of offsets; that of commands is inside

    @property
    def memory(self) -> int:
        """Entries of the state in front of the model's own."""
        return self.remembered * len(self.action_layout)

    def start(self, state: torch.Tensor, sent: torch.Tensor) -> torch.Tensor:
        """[M + S] state to begin with: the model's own ``state`` [S], after the commands ``sent`` [P, A], oldest first.

        Raises:
            PlanningError: the model's delay has grown beyond what is remembered.
        """
        delay = float(self.model.delay.detach().max())
        if delay > (self.remembered - 1 + 1e-6) * self.dt:
            raise PlanningError(f"the model's delay grew to {delay:.3f} s while it was planned with; start anew")
        return torch.cat([sent.flip(0).flatten().to(state.dtype), state])

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., M + S], offsets [..., A] -> [..., M + S] state after ``dt``."""
        count = self.memory
        own = state[..., count:]
        command = torch.maximum(torch.minimum(self.guide(own) + action, self.high), self.low)
        sent = torch.cat([command, state[..., : count - len(self.action_layout)]], dim=-1)
        return torch.cat([sent, self.model(own, self.applied(sent))], dim=-1)

    def applied(self, sent: torch.Tensor) -> torch.Tensor:
        """[..., A] what acts in a step with which the memory [..., M] becomes ``sent``."""
        actions = len(self.action_layout)
        steps = self.model.delay / self.dt
        columns = []
        for action in range(actions):
            shares = [torch.relu(1 - torch.abs(steps[action] - k)) for k in range(self.remembered)]
            parts = [share * sent[..., k * actions + action] for k, share in enumerate(shares)]
            columns.append(sum(parts[1:], parts[0]))
        return torch.stack(columns, dim=-1)


class GuidedTask(torch.nn.Module):
    """A task on the states of a `GuidedModel`, judged by what acts; a `core.tasks.task.Task`.

    Args:
        task: on the states of the car, actions being what acts.
        model: how states and actions are read.
    """

    def __init__(self, task: Task, model: GuidedModel) -> None:
        super().__init__()
        self.task, self.guided = task, model
        self.action_layout, self.dt = task.action_layout, task.dt

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms."""
        return self.task.term_names

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest offset, [A] each: from one end of the commands to the other."""
        low, high = self.task.bounds()
        return low - high, high - low

    def terms(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reward of each transition by term: [..., M + S], offsets [..., A], [..., M + S] -> [...]."""
        count = self.guided.memory
        acting = self.guided.applied(next_state[..., :count])
        return self.task.terms(state[..., count:], acting, next_state[..., count:])

    def reward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] sum of the terms."""
        return total(self.terms(state, action, next_state))

    def terminal(self, state: torch.Tensor) -> torch.Tensor:
        """[...] bool: whether the episode ends in ``state`` [..., M + S]."""
        return self.task.terminal(state[..., self.guided.memory :])
