"""A feedback law that drives along the centre line: where tree search begins, and what its leaves go on with."""

from __future__ import annotations

import torch

from mbrl_ros.core.layout import VX, YAW, X, Y
from mbrl_ros.core.speed_profile import speed_profile
from mbrl_ros.core.tasks.racing import RacingTask
from mbrl_ros.core.tasks.task import register_scalars
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_grid import TrackGrid
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.mcts.planner_settings import GuideSettings


class Guide(torch.nn.Module):
    """Pure pursuit (Coulter 1992) of the centre line, and of a speed profile on it.

    The point a preview distance L straight ahead lies ``e`` beside the centre line; the arc through the line there has
    the curvature ``-2 e / L^2``, to first order in e, and the steering angle is that of a rolling car on it. The
    acceleration takes the speed to that of the profile at the same point within the preview time. Both are functions of
    one lookup of the track.

    Args:
        track: the track.
        vehicle: the car.
        task: whose cap on the speed holds here, too, and whose bounds.
        settings: preview, and how fast.
        dtype: of states and commands.
    """

    preview_s: torch.Tensor
    shortest_preview_m: torch.Tensor
    strongest: torch.Tensor
    wheelbase: torch.Tensor
    speed_cap: torch.Tensor

    def __init__(
        self,
        track: Track,
        vehicle: Vehicle,
        task: RacingTask,
        settings: GuideSettings,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        limits, grip = vehicle.limits, settings.lateral_acceleration_mps2
        profile = speed_profile(
            track,
            lateral_limit=grip,
            acceleration_limit=min(grip, limits.acceleration_mps2),
            braking_limit=min(grip, limits.braking_mps2),
            top_speed=limits.speed_mps,
        )
        self.grid = TrackGrid(track, profile=profile, dtype=dtype)
        scalars = settings.model_dump(include={"preview_s", "shortest_preview_m"})
        wheelbase = build_for(vehicle, "kinematic_bicycle", dt=task.dt).values()["wheelbase"]
        register_scalars(self, {**scalars, "strongest": grip, "wheelbase": wheelbase}, dtype)
        self.register_buffer("speed_cap", task.speed_cap)  # the same tensor: the task is told of a cap, and this obeys

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """[..., S] -> [..., 2] steering angle [rad] and acceleration [m/s^2]; the steering may lie beyond its limit."""
        yaw, speed = state[..., YAW], state[..., VX]
        distance = torch.maximum(speed * self.preview_s, self.shortest_preview_m)
        ahead = torch.stack(
            [state[..., X] + distance * torch.cos(yaw), state[..., Y] + distance * torch.sin(yaw)], dim=-1
        )
        place = self.grid(ahead)
        steering = torch.atan(-2 * self.wheelbase * place.lateral / distance**2)
        wanted = torch.minimum(place.speed, self.speed_cap)
        acceleration = (wanted - speed) / self.preview_s
        acceleration = torch.maximum(torch.minimum(acceleration, self.strongest), -self.strongest)
        return torch.stack([steering, acceleration], dim=-1)
