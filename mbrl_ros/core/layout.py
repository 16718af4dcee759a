"""Named columns of state and action vectors: which entry means what, and in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mbrl_ros.core.errors import LayoutError

ReferencePoint = Literal["cg", "rear_axle", "front_axle"]
"""The point of the car that position and velocity describe."""


@dataclass(frozen=True)
class Layout:
    """Names and units of a vector's entries, in order.

    Raises:
        LayoutError: names repeat, or names and units differ in number.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.units):
            raise LayoutError(f"{len(self.names)} names but {len(self.units)} units: {self}")
        if len(set(self.names)) != len(self.names):
            raise LayoutError(f"a name repeats in {self.names}")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Column of ``name``."""
        try:
            return self.names.index(name)
        except ValueError:
            raise LayoutError(f"no entry '{name}'; there are {', '.join(self.names)}") from None

    def indices(self, names: Sequence[str]) -> list[int]:
        """Columns of ``names``, in their order."""
        return [self.index(name) for name in names]

    def unit(self, name: str) -> str:
        """Unit of ``name``."""
        return self.units[self.index(name)]

    def require(self, other: Layout, what: str) -> None:
        """Raise LayoutError unless ``other`` has the same names and units in the same order."""
        if self != other:
            raise LayoutError(f"{what}: expected {self.names} {self.units}, got {other.names} {other.units}")


STATE = Layout(
    names=("x", "y", "yaw", "vx", "vy", "yaw_rate", "steering_angle", "acceleration"),
    units=("m", "m", "rad", "m/s", "m/s", "rad/s", "rad", "m/s^2"),
)
"""Pose of the reference point in the odometry frame, its velocity in the body frame (REP-103), the road
wheel's angle, and the longitudinal acceleration that the drive train delivers (d vx / dt on a straight)."""

X, Y, YAW, VX, VY, YAW_RATE, STEERING_ANGLE, ACCELERATION = range(8)

DriveCommand = Literal["acceleration", "speed", "duty"]
"""What the longitudinal entry of an action commands."""

STEERING_COMMAND, DRIVE_COMMAND = 0, 1

ACTIONS: dict[DriveCommand, Layout] = {
    "acceleration": Layout(("steering_command", "acceleration_command"), ("rad", "m/s^2")),
    "speed": Layout(("steering_command", "speed_command"), ("rad", "m/s")),
    "duty": Layout(("steering_command", "duty_command"), ("rad", "1")),
}
"""Action layouts by what the longitudinal entry commands. The first entry is always the commanded road
wheel angle, which reaches the wheel through a delay, a lag and a rate limit."""


def drive_command(actions: Layout) -> DriveCommand:
    """What the longitudinal entry of a layout in `ACTIONS` commands."""
    return next(command for command, layout in ACTIONS.items() if layout == actions)
