"""What every task offers, and the arithmetic that tasks share."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch

from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, STEERING_COMMAND, DriveCommand, Layout
from mbrl_ros.core.tasks.obstacles import Obstacle
from mbrl_ros.core.vehicle import Limits

LARGEST = 1e6
"""State entries beyond this (in SI units) count as this, so that every term of a finite state is finite."""


@runtime_checkable
class Task(Protocol):
    """A batched torch module: reward of transitions, bounds of actions, end of episodes.

    A term is a reward: penalties are negative. Rates are integrated over the step (multiplied by ``dt``), so weights
    do not depend on the step; quantities are divided by what the car or the track offers, so they hardly depend on
    the car's size. Nothing depends on the sum's offset. All weights and limits are buffers under the settings' names.
    """

    action_layout: Layout
    dt: float

    @property
    def term_names(self) -> tuple[str, ...]:
        """Names of the terms."""
        ...

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest action, [A] each."""
        ...

    def terms(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> dict[str, torch.Tensor]:
        """Reward of each transition by term, in the order of ``term_names``: [..., 8], [..., A], [..., 8] -> [...]."""
        ...

    def reward(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] sum of the terms."""
        ...

    def terminal(self, state: torch.Tensor) -> torch.Tensor:
        """[...] bool: whether the episode ends in ``state`` [..., 8]."""
        ...


@runtime_checkable
class SpeedCapped(Protocol):
    """A task that can be told to keep below a speed."""

    def cap_speed(self, cap_mps: float) -> None:
        """No faster than ``cap_mps`` from now on; infinite for no cap."""
        ...


@runtime_checkable
class Avoiding(Protocol):
    """A task that can be told what is in the way."""

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """Keep away from these and no others from now on."""
        ...


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    """[...] sum of the terms, added one by one: compiled, a stack of them would be computed without vectors."""
    return functools.reduce(torch.add, terms.values())


def action_bounds(limits: Limits, drive: DriveCommand) -> tuple[list[float], list[float]]:
    """Lowest and highest action that ``limits`` allow; cars drive forward here, so a commanded speed is >= 0."""
    low, high = {
        "acceleration": (-limits.braking_mps2, limits.acceleration_mps2),
        "speed": (0.0, limits.speed_mps),
        "duty": (-1.0, 1.0),
    }[drive]
    return [-limits.steering_angle_rad, low], [limits.steering_angle_rad, high]


def register_scalars(module: torch.nn.Module, values: Mapping[str, float], dtype: torch.dtype) -> None:
    """Every value as a scalar buffer of ``module`` under its name."""
    for name, value in values.items():
        module.register_buffer(name, torch.tensor(value, dtype=dtype))


def fill_scalars(module: torch.nn.Module, values: Mapping[str, float]) -> None:
    """New values for buffers of ``module``, in place: whatever was compiled or shares them sees them at once."""
    for name, value in values.items():
        module.get_buffer(name).fill_(value)


def held_finite(state: torch.Tensor) -> torch.Tensor:
    """``state`` with entries held within +-LARGEST; what is not a number stays so, for the planner to refuse."""
    return state.clamp(-LARGEST, LARGEST)


def excess(value: torch.Tensor, softness: torch.Tensor | float) -> torch.Tensor:
    """``max(value, 0)``, rounded off within about ``softness`` of zero so that all derivatives exist."""
    return (value + torch.sqrt(value**2 + softness**2)) / 2


def angle_error_squared(error: torch.Tensor) -> torch.Tensor:
    """``2 - 2 cos(error)``: the square of a small angle, smooth and without wrapping for any."""
    return 2 - 2 * torch.cos(error)


class ActuatorUse(torch.nn.Module):
    """How hard the actuators work and how fast they change, as shares of what the car allows.

    Args:
        limits: of the car.
        dt: step [s].
        dtype: of states and results.
    """

    steering_limit: torch.Tensor
    acceleration_limit: torch.Tensor
    jerk_limit: torch.Tensor

    def __init__(self, limits: Limits, dt: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.dt = dt
        strongest = max(limits.acceleration_mps2, limits.braking_mps2)
        scales = {
            "steering_limit": limits.steering_angle_rad,
            "acceleration_limit": strongest,
            "jerk_limit": limits.jerk_mps3,
        }
        register_scalars(self, scales, dtype)

    def effort(self, state: torch.Tensor) -> torch.Tensor:
        """[...] squared steering angle and acceleration of ``state``, each as a share of its limit."""
        steering = state[..., STEERING_ANGLE] / self.steering_limit
        acceleration = state[..., ACCELERATION] / self.acceleration_limit
        return steering**2 + acceleration**2

    def rate(self, state: torch.Tensor, action: torch.Tensor, next_state: torch.Tensor) -> torch.Tensor:
        """[...] squared change of steering that is asked for, and squared jerk, each as a share of its limit.

        The state holds what the actuators did last: no memory of earlier actions is needed.
        """
        change = (held_finite(action[..., STEERING_COMMAND]) - state[..., STEERING_ANGLE]) / self.steering_limit
        jerk = (next_state[..., ACCELERATION] - state[..., ACCELERATION]) / (self.dt * self.jerk_limit)
        return change**2 + jerk**2
