"""Reaching a pose and stopping there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import ACTIONS, VX, VY, YAW, DriveCommand
from mbrl_ros.core.tasks.task import (
    ActuatorUse,
    action_bounds,
    angle_error_squared,
    fill_scalars,
    held_finite,
    register_scalars,
    total,
)
from mbrl_ros.core.vehicle import Vehicle


class GoalSettings(Settings):
    """Weights [reward per second] at the scale that each names, and when the goal counts as reached."""

    distance_weight: NonNegativeFloat = Field(
        default=10.0, description="penalty per second and approach distance; quadratic within that distance"
    )
    heading_weight: NonNegativeFloat = Field(default=3.0, description="penalty per second at 1 rad, at the goal")
    speed_weight: NonNegativeFloat = Field(default=5.0, description="penalty per second at top speed, at the goal")
    effort_weight: NonNegativeFloat = Field(
        default=0.02, description="penalty per second at full steering or acceleration"
    )
    rate_weight: NonNegativeFloat = Field(
        default=0.1, description="penalty per second at full change of steering asked for, or full jerk"
    )
    approach_m: PositiveFloat = Field(default=1.0, description="distance within which heading and speed matter")
    reached_m: PositiveFloat = Field(default=0.1, description="distance from the goal that counts as reached")
    reached_rad: PositiveFloat = Field(default=0.2, description="heading error that counts as reached")
    reached_mps: PositiveFloat = Field(default=0.1, description="speed that counts as stopped")


class GoalTask(torch.nn.Module):
    """Reward of one step towards a goal pose; a `core.tasks.task.Task`.

    With d the distance in units of ``approach_m``, the distance term is ``sqrt(1 + d^2) - 1`` (linear far away, so a
    distant goal pulls no harder than a near one), and heading and speed count by ``1 / (1 + d^2)``. Everything but the
    rates is taken at the end of the step.

    Args:
        goal: x [m], y [m], yaw [rad].
        vehicle: the car.
        settings: weights and tolerances.
        dt: step [s].
        drive: what the second action entry commands.
        dtype: of states and rewards.

    Raises:
        ConfigError: the goal is not three finite numbers.
    """

    term_names = ("distance", "heading", "speed", "effort", "rate")

    goal: torch.Tensor
    distance_weight: torch.Tensor
    heading_weight: torch.Tensor
    speed_weight: torch.Tensor
    effort_weight: torch.Tensor
    rate_weight: torch.Tensor
    approach_m: torch.Tensor
    reached_m: torch.Tensor
    reached_rad: torch.Tensor
    reached_mps: torch.Tensor
    top_speed: torch.Tensor
    action_low: torch.Tensor
    action_high: torch.Tensor

    def __init__(
        self,
        goal: Sequence[float],
        vehicle: Vehicle,
        settings: GoalSettings,
        *,
        dt: float,
        drive: DriveCommand = "acceleration",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.dt = dt
        self.action_layout = ACTIONS[drive]
        self.actuators = ActuatorUse(vehicle.limits, dt, dtype)
        self.register_buffer("goal", torch.zeros(3, dtype=dtype))
        register_scalars(self, settings.model_dump(), dtype)
        register_scalars(self, {"top_speed": vehicle.limits.speed_mps}, dtype)
        low, high = action_bounds(vehicle.limits, drive)
        self.register_buffer("action_low", torch.tensor(low, dtype=dtype))
        self.register_buffer("action_high", torch.tensor(high, dtype=dtype))
        self.set_goal(goal)

    def configure(self, settings: GoalSettings) -> None:
        """Use other settings from now on, without building anything anew."""
        fill_scalars(self, settings.model_dump())

    def set_goal(self, goal: Sequence[float]) -> None:
        """Another goal: x [m], y [m], yaw [rad]; ConfigError when it is not three finite numbers."""
        values = torch.tensor(list(goal), dtype=self.goal.dtype)
        if values.shape != (3,) or not bool(values.isfinite().all()):
            raise ConfigError(f"a goal is three finite numbers, x [m], y [m] and yaw [rad]; got {list(goal)}")
        self.goal.copy_(values)

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest action, [A] each."""
        return self.action_low, self.action_high

    def terms(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reward of each transition by term: [..., 8], [..., A], [..., 8] -> [...] each."""
        state, after = held_finite(state), held_finite(next_state)
        away = (((after[..., :2] - self.goal[:2]) / self.approach_m) ** 2).sum(dim=-1)
        near = 1 / (1 + away)
        speed = (after[..., VX] ** 2 + after[..., VY] ** 2) / self.top_speed**2
        rates = {
            "distance": -self.distance_weight * (torch.sqrt(1 + away) - 1),
            "heading": -self.heading_weight * near * angle_error_squared(after[..., YAW] - self.goal[2]),
            "speed": -self.speed_weight * near * speed,
            "effort": -self.effort_weight * self.actuators.effort(after),
            "rate": -self.rate_weight * self.actuators.rate(state, action, after),
        }
        return {name: rate * self.dt for name, rate in rates.items()}

    def reward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] sum of the terms."""
        return total(self.terms(state, action, next_state))

    def terminal(self, state: torch.Tensor) -> torch.Tensor:
        """[...] bool: at the goal, in its direction, and stopped."""
        state = held_finite(state)
        distance = torch.linalg.vector_norm(state[..., :2] - self.goal[:2], dim=-1)
        error = wrap_angle(state[..., YAW] - self.goal[2]).abs()
        speed = torch.linalg.vector_norm(state[..., [VX, VY]], dim=-1)
        return (distance < self.reached_m) & (error < self.reached_rad) & (speed < self.reached_mps)
