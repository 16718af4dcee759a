"""Following a path at a speed profile, and stopping where it ends."""

from __future__ import annotations

import math

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings
from mbrl_ros.core.layout import ACTIONS, VX, YAW, DriveCommand
from mbrl_ros.core.speed_profile import SpeedProfile, speed_profile
from mbrl_ros.core.tasks.task import (
    ActuatorUse,
    action_bounds,
    angle_error_squared,
    fill_scalars,
    held_finite,
    register_scalars,
    total,
)
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_grid import TrackGrid
from mbrl_ros.core.vehicle import Vehicle


class PathSettings(Settings):
    """Weights [reward per second] at the scale that each names, and how fast to follow."""

    lateral_weight: NonNegativeFloat = Field(
        default=10.0, description="penalty per second at the path's half width beside it, quadratic"
    )
    heading_weight: NonNegativeFloat = Field(default=1.0, description="penalty per second at 1 rad, quadratic")
    speed_weight: NonNegativeFloat = Field(
        default=20.0, description="penalty per second at a speed error of the wanted top speed, quadratic"
    )
    effort_weight: NonNegativeFloat = Field(
        default=0.02, description="penalty per second at full steering or acceleration"
    )
    rate_weight: NonNegativeFloat = Field(
        default=0.1, description="penalty per second at full change of steering asked for, or full jerk"
    )
    speed_mps: PositiveFloat = Field(description="wanted speed where the path allows it")
    lateral_acceleration_mps2: PositiveFloat = Field(description="lateral acceleration wanted in corners")
    acceleration_share: float = Field(
        default=0.5, gt=0, le=1, description="share of the car's acceleration and braking that the profile uses"
    )
    arrival_m: PositiveFloat = Field(default=0.2, description="distance from an open path's end that is an arrival")


class PathTask(torch.nn.Module):
    """Reward of one step of path following; a `core.tasks.task.Task`.

    The wanted speed is the path's speed profile (`core.speed_profile`) at the car's place on the path; it falls to
    zero at the end of an open path. Everything but the rates is taken at the end of the step.

    Args:
        path: an open or a closed line; its widths are the scale of the lateral error.
        vehicle: the car.
        settings: weights and wanted speeds.
        dt: step [s].
        drive: what the second action entry commands.
        dtype: of states and rewards.
    """

    term_names = ("lateral", "heading", "speed", "effort", "rate")

    lateral_weight: torch.Tensor
    heading_weight: torch.Tensor
    speed_weight: torch.Tensor
    effort_weight: torch.Tensor
    rate_weight: torch.Tensor
    speed_mps: torch.Tensor
    arrival_m: torch.Tensor
    action_low: torch.Tensor
    action_high: torch.Tensor

    def __init__(
        self,
        path: Track,
        vehicle: Vehicle,
        settings: PathSettings,
        *,
        dt: float,
        drive: DriveCommand = "acceleration",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.dt = dt
        self.action_layout = ACTIONS[drive]
        self._path, self._limits = path, vehicle.limits
        self.grid = TrackGrid(path, profile=self._wanted_speed(settings), dtype=dtype)
        self.actuators = ActuatorUse(vehicle.limits, dt, dtype)
        register_scalars(self, _scalars(settings), dtype)
        low, high = action_bounds(vehicle.limits, drive)
        self.register_buffer("action_low", torch.tensor(low, dtype=dtype))
        self.register_buffer("action_high", torch.tensor(high, dtype=dtype))

    def configure(self, settings: PathSettings) -> None:
        """Use other settings from now on, without building anything anew."""
        fill_scalars(self, _scalars(settings))
        self.grid.set_profile(self._wanted_speed(settings))

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest action, [A] each."""
        return self.action_low, self.action_high

    def terms(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reward of each transition by term: [..., 8], [..., A], [..., 8] -> [...] each."""
        state, after = held_finite(state), held_finite(next_state)
        place = self.grid(after[..., :2])
        half_width = (place.width_left + place.width_right) / 2
        speed_error = (after[..., VX] - place.speed) / self.speed_mps
        rates = {
            "lateral": -self.lateral_weight * (place.lateral / half_width) ** 2,
            "heading": -self.heading_weight * angle_error_squared(after[..., YAW] - place.heading),
            "speed": -self.speed_weight * speed_error**2,
            "effort": -self.effort_weight * self.actuators.effort(after),
            "rate": -self.rate_weight * self.actuators.rate(state, action, after),
        }
        return {name: rate * self.dt for name, rate in rates.items()}

    def reward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] sum of the terms."""
        return total(self.terms(state, action, next_state))

    def terminal(self, state: torch.Tensor) -> torch.Tensor:
        """[...] bool: the end of an open path is reached; never on a closed one."""
        s = self.grid(held_finite(state)[..., :2]).s
        return s > (math.inf if self.grid.closed else self.grid.length - self.arrival_m)

    def _wanted_speed(self, settings: PathSettings) -> SpeedProfile:
        return speed_profile(
            self._path,
            lateral_limit=settings.lateral_acceleration_mps2,
            acceleration_limit=settings.acceleration_share * self._limits.acceleration_mps2,
            braking_limit=settings.acceleration_share * self._limits.braking_mps2,
            top_speed=settings.speed_mps,
            end_speed=0.0,
        )


def _scalars(settings: PathSettings) -> dict[str, float]:
    """What is used as a number; the rest goes into the speed profile."""
    return settings.model_dump(exclude={"lateral_acceleration_mps2", "acceleration_share"})
