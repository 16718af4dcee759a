"""A parametric model: actuators, then one kind of equations of motion, integrated over a step."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import get_args

import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import ACTIONS, STATE, DriveCommand, ReferencePoint
from mbrl_ros.models.parametric.actuators import drive_target, lagged
from mbrl_ros.models.parametric.integrators import Columns, Integrator
from mbrl_ros.models.parametric.parameters import ParameterSpec, Table, require_known, resolve, table

Parameters = Mapping[str, torch.Tensor]

MOUNTING: Table = table(
    ParameterSpec("heading_offset", "rad", 0.0, -0.2, 0.2, "recorded heading less the car's own", optional=True),
    ParameterSpec("velocity_scale", "1", 1.0, 0.5, 2.0, "recorded velocity per velocity over ground", optional=True),
)
"""How the sensors that give the state's heading and body velocities are turned against the car, and scaled."""

_SIDED = ("steering_offset", "heading_offset")


@dataclass(frozen=True)
class Config:
    """What the parameters do not say, and a passport must.

    Args:
        dt: duration of one step [s].
        drive: what the second action entry commands.
        reference_point: the point of the car that position and velocity describe.
        integrator: explicit method, applied ``substeps`` times per step.

    Raises:
        ModelError: a value is not one of those offered.
    """

    dt: float
    drive: DriveCommand = "acceleration"
    reference_point: ReferencePoint = "cg"
    integrator: Integrator = "rk4"
    substeps: int = 1

    def __post_init__(self) -> None:
        _require_step(self.dt)
        if self.substeps < 1:
            raise ModelError(f"substeps is {self.substeps}, must be at least 1")
        offered = {"drive": DriveCommand, "reference_point": ReferencePoint, "integrator": Integrator}
        for name, choices in offered.items():
            value = getattr(self, name)
            if value not in get_args(choices):
                raise ModelError(f"{name} '{value}' is none of {', '.join(get_args(choices))}")


@dataclass(frozen=True)
class Held:
    """What acts during one substep, from the actuators.

    Args:
        steering: [...] mean road wheel angle [rad].
        tan_steering: [...] its tangent.
        tan_steering_end: [...] tangent of the road wheel angle at the end.
        steering_change: [...] change of the road wheel angle [rad].
        acceleration: [...] mean acceleration the drive train delivers [m/s^2].
    """

    steering: torch.Tensor
    tan_steering: torch.Tensor
    tan_steering_end: torch.Tensor
    steering_change: torch.Tensor
    acceleration: torch.Tensor


@dataclass(frozen=True)
class Equations:
    """One kind of vehicle model.

    Args:
        kind: its name in passports.
        parameters: the table of every parameter it can have in a configuration.
        integrate: ``(p, config, (x, y, yaw, vx, vy, yaw_rate), held, h)`` -> the same six after ``h`` seconds.
    """

    kind: str
    parameters: Callable[[Config], Table]
    integrate: Callable[[Parameters, Config, Columns, Held, float | torch.Tensor], Columns]


class ParametricModel(torch.nn.Module):
    """``f(s, a) -> s'`` of a car with named physical parameters; a `models.model.DynamicsModel`.

    Within each of the ``substeps`` the actuators move first (exact lag, rate limit; see `lagged`), and the
    equations of motion are then integrated with the actuators' mean over the substep, which is second order in
    it; for held actuators the integrator's own order holds. Yaw is not wrapped, so that it stays continuous.
    With a ``heading_offset`` the state's heading and body velocities are those of a sensor turned by that angle,
    with a ``velocity_scale`` (slipping wheels, a wrong wheel radius) the velocities are so many times the car's own.

    Every parameter in force is a scalar ``nn.Parameter`` under its own name, so
    ``torch.func.functional_call(model, {"wheelbase": L}, (state, action))`` supplies it.

    Args:
        equations: the kind.
        parameters: values by name; those not given take the table's default.
        dtype: of the parameters.
        config: the fields of `Config`.

    Raises:
        ModelError: an unknown parameter, a value out of bounds, or an unknown configuration.
    """

    def __init__(
        self,
        equations: Equations,
        parameters: Mapping[str, float] | None = None,
        *,
        dt: float,
        drive: DriveCommand = "acceleration",
        reference_point: ReferencePoint = "cg",
        integrator: Integrator = "rk4",
        substeps: int = 1,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.equations = equations
        self.kind = equations.kind
        self.config = Config(dt, drive, reference_point, integrator, substeps)
        self.state_layout = STATE
        self.action_layout = ACTIONS[drive]
        self.reference_point: ReferencePoint = reference_point
        self.dt = dt
        self.table = equations.parameters(self.config) | MOUNTING
        values = resolve(self.table, parameters or {}, f"{self.kind} with drive='{drive}'")
        for name, value in values.items():
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(value, dtype=dtype)))

    @property
    def delay(self) -> torch.Tensor:
        """[A] transport delay of steering and drive [s], for ``core.delay``."""
        p = self.parameters_by_name()
        return torch.stack([p["steering_delay"], p["drive_delay"]])

    def parameters_by_name(self) -> dict[str, torch.Tensor]:
        """The parameters in force; optional ones at their default are not among them."""
        return dict(self.named_parameters(remove_duplicate=False))

    def values(self) -> dict[str, float]:
        """The parameters in force as numbers."""
        return {name: value.item() for name, value in self.parameters_by_name().items()}

    def with_parameters(self, parameters: Mapping[str, float]) -> ParametricModel:
        """A copy with some parameters replaced, or an optional one brought in or taken out.

        Raises:
            ModelError: an unknown name or a value out of bounds.
        """
        require_known(parameters, self.table, f"{self.kind} with drive='{self.config.drive}'")
        return self._copy({**self.values(), **parameters}, self.config)

    def with_dt(self, dt: float, substeps: int | None = None) -> ParametricModel:
        """A copy that steps ``dt`` seconds, with the same number of substeps unless given."""
        return self._copy(self.values(), replace(self.config, dt=dt, substeps=substeps or self.config.substeps))

    def mirrored(self) -> ParametricModel:
        """The same car seen in a mirror along it: what is off to one side is off to the other."""
        turned = copy.deepcopy(self)
        with torch.no_grad():
            for name, value in turned.parameters_by_name().items():
                if name in _SIDED:
                    value.neg_()
        return turned

    def forward(self, state: torch.Tensor, action: torch.Tensor, replaced: Parameters | None = None) -> torch.Tensor:
        """[..., 8], [..., 2] -> [..., 8] state after ``dt``, some parameters ``replaced`` by others [...]."""
        return self._advance(state, action, self.dt, replaced)

    def step(self, state: torch.Tensor, action: torch.Tensor, dt: float | torch.Tensor) -> torch.Tensor:
        """[..., 8], [..., 2] -> [..., 8] state after ``dt`` [s] > 0, a number or a tensor [...]."""
        if not isinstance(dt, torch.Tensor):
            _require_step(dt)
        return self._advance(state, action, dt, None)

    def _advance(
        self, state: torch.Tensor, action: torch.Tensor, dt: float | torch.Tensor, replaced: Parameters | None
    ) -> torch.Tensor:
        p: Parameters = {**self.parameters_by_name(), **(replaced or {})}
        h = dt / self.config.substeps
        x, y, yaw, vx, vy, yaw_rate, steering, acceleration = state.unbind(-1)
        steering_command, drive_command = action.unbind(-1)
        steering_target = p["steering_scale"] * steering_command + p["steering_offset"]
        yaw, vx, vy = _true_motion(p, yaw, vx, vy)
        columns: Columns = (x, y, yaw, vx, vy, yaw_rate)
        for _ in range(self.config.substeps):
            wanted = drive_target(self.config.drive, p, drive_command, columns[3], h)
            acceleration, mean_acceleration = lagged(
                acceleration, wanted, h, p.get("drive_lag"), p.get("drive_rate_limit")
            )
            end, mean = lagged(steering, steering_target, h, p.get("steering_lag"), p.get("steering_rate_limit"))
            tangent = torch.tan(mean)
            tangent_end = tangent if end is mean else torch.tan(end)
            # Brakes bring the car to rest within a substep at most; they never drive it backwards.
            delivered = torch.maximum(mean_acceleration, (-columns[3] / h).clamp_max(0.0))
            held = Held(mean, tangent, tangent_end, end - steering, delivered)
            columns = self.equations.integrate(p, self.config, columns, held, h)
            steering = end
        x, y, yaw, vx, vy, yaw_rate = columns
        columns = (x, y, *_recorded_motion(p, yaw, vx, vy), yaw_rate)
        # Each entry contiguous, so that compiled rollouts read and write whole vectors.
        return torch.stack(torch.broadcast_tensors(*columns, steering, acceleration)).movedim(0, -1)

    def _copy(self, values: Mapping[str, float], config: Config) -> ParametricModel:
        like = next(self.parameters())
        return ParametricModel(self.equations, values, dtype=like.dtype, **asdict(config)).to(like.device)


Motion = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""(yaw, vx, vy)."""


def _true_motion(p: Parameters, yaw: torch.Tensor, vx: torch.Tensor, vy: torch.Tensor) -> Motion:
    """The car's own heading and body velocity, from what its sensors read."""
    if "heading_offset" in p:
        cos, sin = torch.cos(p["heading_offset"]), torch.sin(p["heading_offset"])
        yaw, vx, vy = yaw - p["heading_offset"], cos * vx - sin * vy, sin * vx + cos * vy
    if "velocity_scale" in p:
        vx, vy = vx / p["velocity_scale"], vy / p["velocity_scale"]
    return yaw, vx, vy


def _recorded_motion(p: Parameters, yaw: torch.Tensor, vx: torch.Tensor, vy: torch.Tensor) -> Motion:
    """The inverse of `_true_motion`."""
    if "velocity_scale" in p:
        vx, vy = vx * p["velocity_scale"], vy * p["velocity_scale"]
    if "heading_offset" in p:
        cos, sin = torch.cos(p["heading_offset"]), torch.sin(p["heading_offset"])
        yaw, vx, vy = yaw + p["heading_offset"], cos * vx + sin * vy, cos * vy - sin * vx
    return yaw, vx, vy


def _require_step(dt: float) -> None:
    if not (math.isfinite(dt) and dt > 0):
        raise ModelError(f"dt is {dt} s, must be finite and positive")
