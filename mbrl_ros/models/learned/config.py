"""What a learned model's weights do not say, and its passport must."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import DriveCommand, ReferencePoint
from mbrl_ros.models.parametric.integrators import Integrator

NetworkKind = Literal["mlp", "gru", "lstm"]
Seen = Literal["predicted", "state"]


@dataclass(frozen=True)
class Base:
    """What predicts before the network corrects it.

    Args:
        kind: a kind in `models.parametric.KINDS`, or "inertia": velocities stay as they are.
        drive: what the second action entry commands.
        delay_s: transport delay of each action [s]; of "inertia" only, physics has it among its parameters.
        integrator, substeps: of the physics.
    """

    kind: str
    drive: DriveCommand
    delay_s: tuple[float, ...] = ()
    integrator: Integrator = "rk4"
    substeps: int = 1


@dataclass(frozen=True)
class Network:
    """The residual's network.

    Args:
        kind: "mlp" sees the present alone; "gru" and "lstm" remember the driving before the start.
        members: networks side by side, each trained for itself; their mean is the residual.
        hidden: width of the hidden layers, or of the memory.
        layers: hidden layers of an "mlp".
        history_s: driving before a start that fills the memory [s].
        sees: the base's prediction, f_p(s, a) + f_np(f_p(s, a), a), or the state itself, f_p(s, a) + f_np(s, a).
        probabilistic: each member says how uncertain its output is, too.
        elites: members whose mean is the residual, by number; empty: all.

    Raises:
        ModelError: a value makes no sense.
    """

    kind: NetworkKind
    members: int = 1
    hidden: int = 32
    layers: int = 2
    history_s: float = 1.0
    sees: Seen = "predicted"
    probabilistic: bool = False
    elites: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in (("kind", NetworkKind), ("sees", Seen)):
            if getattr(self, name) not in get_args(choices):
                raise ModelError(f"network: {name} '{getattr(self, name)}' is none of {', '.join(get_args(choices))}")
        for name in ("members", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise ModelError(f"network: {name} is {getattr(self, name)}, must be at least 1")
        if len(set(self.elites)) < len(self.elites) or not set(self.elites) <= set(range(self.members)):
            raise ModelError(f"network: elites {self.elites} are not different ones of {self.members} members")
        if not 0 < self.history_s <= 30:
            raise ModelError(f"network: history_s is {self.history_s}, must be in (0, 30]")


@dataclass(frozen=True)
class Guard:
    """What tyres and engine can do, which no prediction exceeds whatever the network says.

    Args:
        residual: largest correction of d vx / dt, d vy / dt [m/s^2] and d yaw_rate / dt [rad/s^2].
        longitudinal: largest change of vx [m/s^2].
        lateral: largest ``|vx yaw_rate|`` [m/s^2].
        sideslip: largest ``|vy / vx|``.
    """

    residual: tuple[float, float, float]
    longitudinal: float
    lateral: float
    sideslip: float

    def __post_init__(self) -> None:
        if not min(*self.residual, self.longitudinal, self.lateral, self.sideslip) > 0:
            raise ModelError(f"every limit of the guard must be positive: {self}")


REGIME_PARAMETERS = ("friction_front", "friction_rear", "understeer")
"""What may differ between regimes: what tyres and road decide, acts within a step, and has no side."""


@dataclass(frozen=True)
class Regimes:
    """What else the car may be driven in than what its physics is of, as other tyres or a wet road.

    Args:
        others: of each further regime the physical parameters that differ, by name; the same names in all.
        history_s: driving before a start that tells in which of them the car is [s].
        surprise: standard deviations of what physics gets wrong of vy [m/s^2] and yaw_rate [rad/s^2] in the right
            regime, see `models.learned.regimes.surprises`.

    Raises:
        ModelError: a value makes no sense.
    """

    others: tuple[dict[str, float], ...]
    history_s: float
    surprise: tuple[float, float]

    def __post_init__(self) -> None:
        if not self.others or not self.names or any(other.keys() != set(self.names) for other in self.others):
            raise ModelError(f"regimes: others {self.others} must name parameters, all of them the same")
        if not 0 < self.history_s <= 30:
            raise ModelError(f"regimes: history_s is {self.history_s}, must be in (0, 30]")
        if unknown := set(self.names) - set(REGIME_PARAMETERS):
            allowed = ", ".join(REGIME_PARAMETERS)
            raise ModelError(f"regimes: others: {', '.join(sorted(unknown))} cannot differ; only {allowed} can")
        if len(self.surprise) != 2 or not all(0 < value < math.inf for value in self.surprise):
            raise ModelError(f"regimes: surprise is {self.surprise}, must be two positive numbers")

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters that differ."""
        return tuple(self.others[0])


@dataclass(frozen=True)
class Config:
    """Everything that a learned model is built from besides weights and normaliser.

    Args:
        dt: duration of one step [s].
        reference_point: the point of the car that position and velocity describe.
        base: what predicts before the network.
        network: the residual's.
        guard: limits of the outputs.
        regimes: further ones that the physics is known in, if any.
    """

    dt: float
    reference_point: ReferencePoint
    base: Base
    network: Network
    guard: Guard
    regimes: Regimes | None = None
