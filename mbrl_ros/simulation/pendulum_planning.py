"""The pendulum as planners see systems: a model and a task."""

from __future__ import annotations

import torch

from mbrl_ros.core.layout import Layout
from mbrl_ros.simulation.pendulum import Pendulum

DT_S = 0.05
TORQUE = Layout(("torque",), ("Nm",))


class PendulumModel(torch.nn.Module):
    """Gymnasium's Pendulum-v1; a `models.model.DynamicsModel` of angle from upright and rate [rad, rad/s]."""

    kind = "pendulum"
    state_layout = Layout(("angle", "rate"), ("rad", "rad/s"))
    action_layout = TORQUE
    reference_point = "cg"
    dt = DT_S

    delay: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._pendulum = Pendulum()
        self.register_buffer("delay", torch.zeros(1))

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[B, 2], [B, 1] -> [B, 2] state after ``DT_S``."""
        return self._pendulum.step(state, action)[0]


class PendulumTask(torch.nn.Module):
    """Its reward; a `core.tasks.task.Task` that never ends."""

    term_names = ("upright",)
    action_layout = TORQUE
    dt = DT_S

    action_low: torch.Tensor
    action_high: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._pendulum = Pendulum()
        self.register_buffer("action_low", torch.tensor(Pendulum.action_low))
        self.register_buffer("action_high", torch.tensor(Pendulum.action_high))

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest torque, [1] each [Nm]."""
        return self.action_low, self.action_high

    def terms(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reward of each transition: [B, 2], [B, 1], [B, 2] -> [B]."""
        return {"upright": self._pendulum.step(state, action)[1]}

    def reward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[B] the only term."""
        return self.terms(state, action, next_state)["upright"]

    def terminal(self, state: torch.Tensor) -> torch.Tensor:
        """[B] bool: never."""
        return torch.zeros_like(state[..., 0], dtype=torch.bool)
