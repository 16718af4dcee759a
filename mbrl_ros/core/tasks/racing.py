"""Racing: as far along the track as possible, without leaving it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import ACCELERATION, ACTIONS, VX, VY, YAW, YAW_RATE, DriveCommand
from mbrl_ros.core.speed_profile import SpeedProfile, speed_profile
from mbrl_ros.core.tasks.obstacles import Obstacle, ObstacleField
from mbrl_ros.core.tasks.task import (
    ActuatorUse,
    action_bounds,
    angle_error_squared,
    excess,
    fill_scalars,
    held_finite,
    register_scalars,
    total,
)
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_grid import TrackGrid, TrackPoint
from mbrl_ros.core.vehicle import Vehicle

_SMALLEST_STRETCH = 0.2
"""Near the centre of a corner that is narrower than the track, arc length per distance is held at five."""

_SLOWEST_CAP_MPS = 0.1  # speed is judged by its share of what is allowed

_SOFTNESS = 0.1
"""Soft limits are rounded off over a tenth of themselves."""


class RacingSettings(Settings):
    """Weights [reward per second] at the scale that each names, and the soft limits."""

    progress_weight: NonNegativeFloat = Field(
        default=10.0, description="reward per second at top speed along the centre line"
    )
    lateral_weight: NonNegativeFloat = Field(default=0.1, description="penalty per second on the edge, quadratic")
    heading_weight: NonNegativeFloat = Field(
        default=0.1, description="penalty per second at 1 rad to the centre line, quadratic"
    )
    boundary_weight: NonNegativeFloat = Field(
        default=5.0, description="penalty per second with the margin to an edge used up, quadratic in its use"
    )
    crossing_weight: NonNegativeFloat = Field(default=100.0, description="penalty per second beyond an edge")
    speed_weight: NonNegativeFloat = Field(
        default=200.0, description="penalty per second at twice the allowed speed, quadratic in the excess"
    )
    slip_weight: NonNegativeFloat = Field(
        default=50.0, description="penalty per second at twice the limits below, quadratic in the excess"
    )
    effort_weight: NonNegativeFloat = Field(
        default=0.02, description="penalty per second at full steering or acceleration"
    )
    rate_weight: NonNegativeFloat = Field(
        default=0.1, description="penalty per second at full change of steering asked for, or full jerk"
    )
    boundary_margin: PositiveFloat = Field(default=0.5, description="distance to keep from the edges, in car widths")
    obstacles: int = Field(
        default=0,
        ge=0,
        le=32,
        description="most obstacles at a time, avoided as edges are; each costs time in every rollout",
    )
    acceleration_limit_mps2: PositiveFloat = Field(
        le=100.0, description="largest total acceleration that the tyres shall give: (vx yaw_rate, longitudinal)"
    )
    forward_demand: float = Field(
        default=1.0,
        ge=1.0,
        le=10.0,
        description="multiple of itself that forward acceleration counts as in it: more than 1 where one axle drives, "
        "whose inner wheel carries little in bends and spins",
    )
    braking_demand: float = Field(
        default=1.0,
        ge=1.0,
        le=10.0,
        description="likewise of braking: more than 1 where brakes take the grip that the front wheels need to steer",
    )
    capped_share: PositiveFloat = Field(
        default=1.0,
        le=1.0,
        description="share of that acceleration while the speed is capped: a model that is not trusted may be wrong "
        "about the grip, too",
    )
    slip_angle_limit_rad: PositiveFloat = Field(
        default=0.35, le=1.5, description="largest slip angle of the body, atan2(vy, vx)"
    )
    speed_limit_mps: PositiveFloat | None = Field(default=None, description="allowed speed; empty: the car's own limit")
    approach_acceleration_mps2: PositiveFloat | None = Field(
        default=None,
        description="lateral acceleration of a speed profile on the centre line that also limits the allowed speed, "
        "for horizons too short to see the end of a braking distance; empty: none",
    )


class RacingTask(torch.nn.Module):
    """Reward of one step of racing; a `core.tasks.task.Task`.

    Everything but the rates is taken at the end of the step, so one lookup of the track serves it all. Progress is
    ``s' = (vx cos psi - vy sin psi) / (1 - kappa e)`` times dt, with heading error psi, curvature kappa and lateral e:
    the exact rate of the arc length, smooth in the state, and bounded by the speed. (The difference of two
    projections would be exact over the step too, but it jumps where the nearest part of the track changes: it pays
    for cutting across the infield.) The right-end rule errs by half a step's change of speed at the ends of the
    horizon, and nowhere in between.

    The car's side is half its width from its reference point; ``boundary`` is a smooth wall that begins
    ``boundary_margin`` before an edge and a smooth step at the edge. ``slip`` limits ``|(vx yaw_rate, acceleration)|``,
    which a kinematic model has no other way to know, and the slip angle of the body. Forward acceleration counts
    ``forward_demand`` times in it, and braking ``braking_demand`` times: no model with one wheel to an axle knows that
    inner wheels spin out of bends, nor one whose tyres give all they have sideways that brakes take some of it. Where
    the settings allow obstacles there is one more term, of the same shape as that of the edges, from the car's outline
    to each of them.

    Args:
        track: the track.
        vehicle: the car.
        settings: weights and soft limits.
        dt: step [s].
        drive: what the second action entry commands.
        dtype: of states and rewards.
    """

    term_names: tuple[str, ...] = ("progress", "lateral", "heading", "boundary", "speed", "slip", "effort", "rate")

    progress_weight: torch.Tensor
    lateral_weight: torch.Tensor
    heading_weight: torch.Tensor
    boundary_weight: torch.Tensor
    crossing_weight: torch.Tensor
    speed_weight: torch.Tensor
    slip_weight: torch.Tensor
    effort_weight: torch.Tensor
    rate_weight: torch.Tensor
    boundary_margin: torch.Tensor
    acceleration_limit_mps2: torch.Tensor
    forward_demand: torch.Tensor
    braking_demand: torch.Tensor
    slip_angle_limit_rad: torch.Tensor
    car_width: torch.Tensor
    speed_cap: torch.Tensor
    top_speed: torch.Tensor
    action_low: torch.Tensor
    action_high: torch.Tensor

    def __init__(
        self,
        track: Track,
        vehicle: Vehicle,
        settings: RacingSettings,
        *,
        dt: float,
        drive: DriveCommand = "acceleration",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.dt = dt
        self.action_layout = ACTIONS[drive]
        self._track, self._limits, self._settings = track, vehicle.limits, settings
        self.grid = TrackGrid(track, profile=self._allowed_speed(settings), dtype=dtype)
        self.actuators = ActuatorUse(vehicle.limits, dt, dtype)
        self.obstacles = ObstacleField(settings.obstacles, vehicle, dtype) if settings.obstacles else None
        if self.obstacles is not None:
            self.term_names = (*self.term_names, "obstacles")
        register_scalars(self, _scalars(settings), dtype)
        register_scalars(self, {"speed_cap": math.inf}, dtype)
        register_scalars(self, {"car_width": vehicle.width_m, "top_speed": vehicle.limits.speed_mps}, dtype)
        low, high = action_bounds(vehicle.limits, drive)
        self.register_buffer("action_low", torch.tensor(low, dtype=dtype))
        self.register_buffer("action_high", torch.tensor(high, dtype=dtype))

    def configure(self, settings: RacingSettings) -> None:
        """Use other settings from now on, without building anything anew.

        Raises:
            ConfigError: they allow another number of obstacles.
        """
        allowed = self.obstacles.capacity if self.obstacles is not None else 0
        if settings.obstacles != allowed:
            raise ConfigError(f"field 'obstacles' is {allowed} and cannot change; build a new task")
        self._settings = settings
        fill_scalars(self, {**_scalars(settings), **self._asked(float(self.speed_cap))})
        self.grid.set_profile(self._allowed_speed(settings))

    def cap_speed(self, cap_mps: float) -> None:
        """Allow no more than ``cap_mps`` anywhere from now on, infinite for no cap, and ask the tyres for no more than
        the settings' ``capped_share`` under a cap; nothing is built anew."""
        cap_mps = max(cap_mps, _SLOWEST_CAP_MPS)
        if float(self.speed_cap) != cap_mps:
            fill_scalars(self, {"speed_cap": cap_mps, **self._asked(cap_mps)})

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """Keep away from these and no others from now on; nothing is built anew.

        Raises:
            ConfigError: there are more than the settings allow.
        """
        if self.obstacles is not None:
            self.obstacles.set(obstacles)
        elif obstacles:
            raise ConfigError(f"{len(obstacles)} obstacles, field 'obstacles' allows none; raise it")

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest action, [A] each."""
        return self.action_low, self.action_high

    def terms(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reward of each transition by term: [..., 8], [..., A], [..., 8] -> [...] each."""
        state, after = held_finite(state), held_finite(next_state)
        place = self.grid(after[..., :2])
        error = after[..., YAW] - place.heading
        vx, vy = after[..., VX], after[..., VY]
        stretch = (1 - place.curvature * place.lateral).clamp_min(_SMALLEST_STRETCH)
        along = (vx * torch.cos(error) - vy * torch.sin(error)) / stretch
        half_width = (place.width_left + place.width_right) / 2
        too_fast = excess(vx / torch.minimum(place.speed, self.speed_cap) - 1, _SOFTNESS)
        rates = {
            "progress": self.progress_weight * along / self.top_speed,
            "lateral": -self.lateral_weight * (place.lateral / half_width) ** 2,
            "heading": -self.heading_weight * angle_error_squared(error),
            "boundary": -self._walls(self._clearances(place)),
            "speed": -self.speed_weight * too_fast**2,
            "slip": -self.slip_weight * self._slip(after),
            "effort": -self.effort_weight * self.actuators.effort(after),
            "rate": -self.rate_weight * self.actuators.rate(state, action, after),
        }
        if self.obstacles is not None:
            rates["obstacles"] = -self._walls(self.obstacles.clearances(after))
        return {name: rate * self.dt for name, rate in rates.items()}

    def reward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] sum of the terms."""
        return total(self.terms(state, action, next_state))

    def terminal(self, state: torch.Tensor) -> torch.Tensor:
        """[...] bool: the car's side is beyond an edge, as `core.lap.LapTimer` counts exits."""
        left, right = self._clearances(self.grid(held_finite(state)[..., :2]))
        return torch.minimum(left, right) < 0

    def _asked(self, cap_mps: float) -> dict[str, float]:
        """What the tyres shall give at most [m/s^2] under a speed cap."""
        share = self._settings.capped_share if cap_mps < math.inf else 1.0
        return {"acceleration_limit_mps2": share * self._settings.acceleration_limit_mps2}

    def _clearances(self, place: TrackPoint) -> list[torch.Tensor]:
        """Distance [m] from the car's sides to the left and to the right edge, negative beyond."""
        side = self.car_width / 2
        return [place.width_left - place.lateral - side, place.width_right + place.lateral - side]

    def _walls(self, clearances: list[torch.Tensor]) -> torch.Tensor:
        """[...] penalty per second: a wall before each of the things so far away, and a step where it is met."""
        penalty = torch.zeros_like(clearances[0])
        for clearance in clearances:
            used = 1 - clearance / (self.boundary_margin * self.car_width)  # 0 at the margin, 1 on the edge
            wall = self.boundary_weight * excess(used, _SOFTNESS) ** 2
            penalty = penalty + wall + self.crossing_weight * torch.sigmoid((used - 1) / _SOFTNESS)
        return penalty

    def _slip(self, state: torch.Tensor) -> torch.Tensor:
        """[...] squared excess of total acceleration and of the body's slip angle over their limits."""
        lateral, longitudinal = state[..., VX] * state[..., YAW_RATE], state[..., ACCELERATION]
        counted = torch.where(longitudinal > 0, self.forward_demand, self.braking_demand) * longitudinal
        demand = torch.sqrt(lateral**2 + counted**2 + 1e-6) / self.acceleration_limit_mps2
        # The speed under the angle is at least 1 m/s: at standstill a slip angle means nothing.
        angle = torch.atan2(state[..., VY], torch.sqrt(state[..., VX] ** 2 + 1))
        slip = torch.sqrt(angle**2 + 1e-6) / self.slip_angle_limit_rad
        return excess(demand - 1, _SOFTNESS) ** 2 + excess(slip - 1, _SOFTNESS) ** 2

    def _allowed_speed(self, settings: RacingSettings) -> SpeedProfile:
        limits = self._limits
        return speed_profile(
            self._track,
            lateral_limit=settings.approach_acceleration_mps2 or math.inf,
            acceleration_limit=limits.acceleration_mps2,
            braking_limit=limits.braking_mps2,
            top_speed=settings.speed_limit_mps or limits.speed_mps,
        )


def _scalars(settings: RacingSettings) -> dict[str, float]:
    """What is used as a number in rewards; the allowed speed goes into the grid."""
    return settings.model_dump(exclude={"speed_limit_mps", "approach_acceleration_mps2", "obstacles", "capped_share"})
