"""The base of a model that has no physics: the car moves on as it did, and its actuators do as they are told."""

from __future__ import annotations

import torch

from mbrl_ros.core.layout import ACTIONS, STATE, DriveCommand, ReferencePoint


class Inertia(torch.nn.Module):
    """``f(s, a)``: body velocities and yaw rate stay, the pose follows their arc exactly.

    Args:
        drive: what the second action entry commands.
        delay_s: transport delay of each action [s].
        dt: step [s].
        reference_point: the point of the car that the state describes.
    """

    kind = "inertia"
    delay: torch.Tensor

    def __init__(
        self, drive: DriveCommand, delay_s: tuple[float, ...], dt: float, reference_point: ReferencePoint
    ) -> None:
        super().__init__()
        self.drive = drive
        self.state_layout = STATE
        self.action_layout = ACTIONS[drive]
        self.reference_point: ReferencePoint = reference_point
        self.dt = dt
        self.register_buffer("delay", torch.tensor(delay_s, dtype=torch.float64), persistent=False)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., 8], [..., A] -> [..., 8] state after ``dt``."""
        x, y, yaw, vx, vy, yaw_rate, _, acceleration = state.unbind(-1)
        turn = self.dt * yaw_rate
        middle = yaw + turn / 2
        chord = self.dt * torch.sinc(turn / (2 * torch.pi))
        cos, sin = chord * torch.cos(middle), chord * torch.sin(middle)
        told = action[..., 1] if self.drive == "acceleration" else acceleration
        columns = (x + cos * vx - sin * vy, y + sin * vx + cos * vy, yaw + turn, vx, vy, yaw_rate, action[..., 0], told)
        return torch.stack(torch.broadcast_tensors(*columns), dim=-1)
