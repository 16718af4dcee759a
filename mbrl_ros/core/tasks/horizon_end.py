"""What the last state of a racing plan costs, for what lies beyond the plan."""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings
from mbrl_ros.core.layout import VX, YAW
from mbrl_ros.core.speed_profile import speed_profile
from mbrl_ros.core.tasks.task import angle_error_squared, excess, held_finite, register_scalars
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_grid import TrackGrid
from mbrl_ros.core.vehicle import Vehicle

_SOFTNESS = 0.1  # the limit is rounded off over a tenth of itself


class HorizonEndSettings(Settings):
    """Weights [reward, once per plan] of how a plan ends; 0 leaves its end free."""

    heading_weight: NonNegativeFloat = Field(
        default=0.0, description="penalty on ending at 1 rad to the centre line, quadratic"
    )
    speed_weight: NonNegativeFloat = Field(
        default=0.0, description="penalty on ending at twice the speed that can go on, quadratic in the excess"
    )
    acceleration_mps2: PositiveFloat = Field(
        default=10.0,
        le=100.0,
        description="with which the tyres turn and brake, at most as the car brakes, where a speed goes on along the "
        "centre line",
    )

    @property
    def wanted(self) -> bool:
        """Whether anything counts."""
        return self.heading_weight > 0 or self.speed_weight > 0


class HorizonEnd(torch.nn.Module):
    """Cost of the state that a plan ends with.

    Without it the last second of a plan runs as fast and as wide as its horizon allows, into what no car could get out
    of: progress ends with the plan. Each cycle then has to find another end, and the line before it suffers. So plans
    shall end about along the track, and no faster than a speed profile on the centre line allows, which knows the bends
    and braking distances beyond.

    Args:
        track: the track.
        vehicle: the car.
        settings: see there.
        dtype: of the states.
    """

    heading_weight: torch.Tensor
    speed_weight: torch.Tensor

    def __init__(
        self, track: Track, vehicle: Vehicle, settings: HorizonEndSettings, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        limits, grip = vehicle.limits, settings.acceleration_mps2
        profile = speed_profile(
            track,
            lateral_limit=grip,
            acceleration_limit=limits.acceleration_mps2,
            braking_limit=min(limits.braking_mps2, grip),
            top_speed=limits.speed_mps,
        )
        self.grid = TrackGrid(track, profile=profile, dtype=dtype)
        register_scalars(self, settings.model_dump(include={"heading_weight", "speed_weight"}), dtype)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        """[...] cost of ending in ``state`` [..., S]."""
        state = held_finite(state)
        place = self.grid(state[..., :2])
        too_fast = excess(state[..., VX] / place.speed - 1, _SOFTNESS)
        turned = angle_error_squared(state[..., YAW] - place.heading)
        return self.heading_weight * turned + self.speed_weight * too_fast**2
