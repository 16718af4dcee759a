"""Obstacles that a task keeps the car away from: circles and boxes, as many as wanted up to a fixed number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

import torch

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.core.vehicle import Vehicle

_AWAY_M = 1e4  # where obstacles lie that are not there

_FURTHEST_APART = 0.6  # middles of the car's circles, in car widths


@dataclass(frozen=True)
class Obstacle:
    """A box whose corners are rounded by a radius beyond it; without extent it is a circle, without a radius a box.

    Args:
        x_m, y_m: centre in the frame of states and track [m].
        radius_m: of a circle, or of the rounding [m].
        yaw_rad: direction of the box's length [rad].
        length_m, width_m: of the box, without the rounding [m].

    Raises:
        ConfigError: a number is not finite, or a size is negative.
    """

    x_m: float
    y_m: float
    radius_m: float = 0.0
    yaw_rad: float = 0.0
    length_m: float = 0.0
    width_m: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in astuple(self)):
            raise ConfigError(f"an obstacle is not finite: {self}")
        if min(self.radius_m, self.length_m, self.width_m) < 0.0:
            raise ConfigError(f"an obstacle has a negative size: {self}")


class _Boxes(NamedTuple):
    """Rounded boxes: centres [..., 2] [m], directions [..., 2] of their length (cosine, sine), half sizes [..., 2] and
    radii [...] [m]."""

    centre: torch.Tensor
    direction: torch.Tensor
    half_size: torch.Tensor
    radius: torch.Tensor

    @classmethod
    def of(cls, obstacles: Sequence[Obstacle]) -> _Boxes:
        """Those of N obstacles, in double precision."""
        numbers = torch.tensor([astuple(o) for o in obstacles], dtype=torch.float64)
        x, y, radius, yaw, length, width = numbers.reshape(-1, 6).unbind(-1)
        direction = torch.stack([torch.cos(yaw), torch.sin(yaw)], dim=-1)
        return cls(torch.stack([x, y], dim=-1), direction, torch.stack([length, width], dim=-1) / 2, radius)

    def distance(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """[...] signed distance [m] of points [...] to the outline, negative inside."""
        dx, dy = x - self.centre[..., 0], y - self.centre[..., 1]
        cos, sin = self.direction[..., 0], self.direction[..., 1]
        along = torch.abs(cos * dx + sin * dy) - self.half_size[..., 0]
        across = torch.abs(cos * dy - sin * dx) - self.half_size[..., 1]
        outside = torch.sqrt(along.clamp_min(0) ** 2 + across.clamp_min(0) ** 2 + 1e-12)
        inside = torch.maximum(along, across).clamp_max(0)
        return outside + inside - self.radius


def nearest(obstacles: Sequence[Obstacle], count: int, x_m: float, y_m: float) -> tuple[Obstacle, ...]:
    """The ``count`` obstacles whose outlines are nearest to a point [m], in the order given."""
    distances = _Boxes.of(obstacles).distance(*torch.tensor([x_m, y_m], dtype=torch.float64))
    chosen = torch.argsort(distances, stable=True)[:count].tolist()
    return tuple(obstacles[number] for number in sorted(chosen))


class ObstacleField(torch.nn.Module):
    """The obstacles that there are at present, as tensors of a fixed shape: new ones recompile nothing.

    The car is a row of circles as wide as itself, so close together that its flanks stand out of them by a tenth of its
    width at most; its corners do by a fifth. Its reference point is taken for its middle.

    Args:
        capacity: N, most obstacles.
        vehicle: the car.
        dtype: of states and distances.
    """

    centre: torch.Tensor
    direction: torch.Tensor
    half_size: torch.Tensor
    radius: torch.Tensor

    def __init__(self, capacity: int, vehicle: Vehicle, dtype: torch.dtype) -> None:
        super().__init__()
        self.capacity = capacity
        self._half_width = vehicle.width_m / 2
        reach = max(vehicle.length_m - vehicle.width_m, 0.0) / 2
        gaps = math.ceil(2 * reach / (_FURTHEST_APART * vehicle.width_m) - 1e-9)
        self._offsets = [reach * (2 * k / gaps - 1) for k in range(gaps + 1)] if gaps else [0.0]
        for name in ("centre", "direction", "half_size"):
            self.register_buffer(name, torch.zeros(capacity, 2, dtype=dtype))
        self.register_buffer("radius", torch.zeros(capacity, dtype=dtype))
        self._present: tuple[Obstacle, ...] | None = None
        self.set([])

    def set(self, obstacles: Sequence[Obstacle]) -> None:
        """These and no others from now on, in place.

        Raises:
            ConfigError: there are more than ``capacity``.
        """
        if len(obstacles) > self.capacity:
            raise ConfigError(f"{len(obstacles)} obstacles, field 'obstacles' allows {self.capacity}; raise it")
        if tuple(obstacles) == self._present:
            return  # tensors that were written to are converted again by whoever compiled with them
        self._present = tuple(obstacles)
        away = Obstacle(_AWAY_M, _AWAY_M)
        every = [*obstacles, *[away] * (self.capacity - len(obstacles))]
        own = self.centre, self.direction, self.half_size, self.radius
        for buffer, values in zip(own, _Boxes.of(every), strict=True):
            buffer.copy_(values)

    def clearances(self, state: torch.Tensor) -> list[torch.Tensor]:
        """[...] distance [m] from the car's outline to each of the N obstacles, negative inside; states [..., 8]."""
        ahead = torch.cos(state[..., YAW]), torch.sin(state[..., YAW])
        middles = [(state[..., X] + o * ahead[0], state[..., Y] + o * ahead[1]) for o in self._offsets]
        return [self._nearest(middles, number) - self._half_width for number in range(self.capacity)]

    def _nearest(self, points: list[tuple[torch.Tensor, torch.Tensor]], number: int) -> torch.Tensor:
        distances = [self._distance(x, y, number) for x, y in points]
        nearest = distances[0]
        for distance in distances[1:]:
            nearest = torch.minimum(nearest, distance)
        return nearest

    def _distance(self, x: torch.Tensor, y: torch.Tensor, number: int) -> torch.Tensor:
        """[...] signed distance [m] of points to one obstacle."""
        box = _Boxes(self.centre[number], self.direction[number], self.half_size[number], self.radius[number])
        return box.distance(x, y)
