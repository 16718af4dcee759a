"""What is optimised: dynamics, costs and limits over a horizon."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel

Dynamics = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""[..., S], [..., A] -> [..., S] next state."""

Cost = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""State [..., S], action [..., A], next state [..., S] -> [...] cost of the transition."""

Constraint = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""State, action, next state -> [..., C], each wanted to be <= 0."""


class OptimalControlProblem(torch.nn.Module):
    """Minimise ``sum_k l(x_k, u_k, x_k+1) + l_T(x_N)`` with ``x_k+1 = f(x_k, u_k)`` and ``low <= u_k <= high``.

    Whatever of the functions is a torch module becomes a part of this one: programs compiled from it take its
    parameters and buffers as inputs, read at every call. Other functions may hold numbers, but, to be compiled, no
    tensors.

    Args:
        dynamics: f.
        cost: l; it is given ``f(x, u)`` as the next state, also where a trajectory guessed has gaps.
        terminal_cost: l_T, [..., S] -> [...]; None is zero.
        state_size: S.
        action_size: A.
        bounds: lowest and highest action, [A] each; None is unlimited.
        constraints: soft limits, see `augmented_lagrangian`.

    Raises:
        LayoutError: bounds do not fit the actions, or are not in order.
    """

    low: torch.Tensor | None
    high: torch.Tensor | None

    def __init__(
        self,
        dynamics: Dynamics,
        cost: Cost,
        terminal_cost: Callable[[torch.Tensor], torch.Tensor] | None,
        *,
        state_size: int,
        action_size: int,
        bounds: tuple[torch.Tensor, torch.Tensor] | None = None,
        constraints: Constraint | None = None,
    ) -> None:
        super().__init__()
        self.dynamics, self.cost, self.terminal_cost = dynamics, cost, terminal_cost or _nothing
        self.constraints = constraints
        self.state_size, self.action_size = state_size, action_size
        low, high = (None, None) if bounds is None else bounds
        if low is not None and high is not None:
            if low.shape != (action_size,) or high.shape != (action_size,):
                raise LayoutError(
                    f"bounds have shapes {tuple(low.shape)} and {tuple(high.shape)}, not ({action_size},)"
                )
            if not bool((low < high).all()):
                raise LayoutError(f"a lower bound {low.tolist()} is not below the upper one {high.tolist()}")
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    @classmethod
    def from_functions(
        cls,
        dynamics: Dynamics,
        cost: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        terminal_cost: Callable[[torch.Tensor], torch.Tensor],
        *,
        state_size: int,
        action_size: int,
        bounds: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> OptimalControlProblem:
        """The textbook's form, with a cost ``l(x, u)`` of state and action."""
        return cls(
            dynamics,
            lambda state, action, _: cost(state, action),
            terminal_cost,
            state_size=state_size,
            action_size=action_size,
            bounds=bounds,
        )

    @classmethod
    def from_task(
        cls, model: DynamicsModel, task: Task, terminal_cost: Callable[[torch.Tensor], torch.Tensor] | None = None
    ) -> OptimalControlProblem:
        """Least cost is most reward: the task's rewards are negated here and nowhere else.

        Raises:
            LayoutError: model and task step different times or take different actions.
        """
        if abs(model.dt - task.dt) > 1e-9:
            raise LayoutError(f"the model steps {model.dt:g} s, the task {task.dt:g} s")
        model.action_layout.require(task.action_layout, "actions of the model and of the task")
        low, high = (bound.clone() for bound in task.bounds())
        return cls(
            model,
            NegatedReward(task),
            terminal_cost,
            state_size=len(model.state_layout),
            action_size=len(model.action_layout),
            bounds=(low, high),
        )


class NegatedReward(torch.nn.Module):
    """A task's reward as a cost."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] cost of a transition."""
        return -self.task.reward(state, action, next_state)


def _nothing(state: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(state[..., 0])
