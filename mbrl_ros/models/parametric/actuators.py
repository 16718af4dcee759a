"""What lies between a command and the road: scale, offset, lag and rate limit of steering and drive.

Transport delay is not here: ``core.delay`` shifts the commands before they reach a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from mbrl_ros.core.layout import DriveCommand
from mbrl_ros.models.parametric.parameters import ParameterSpec, Table, table

ACTUATORS: Table = table(
    ParameterSpec("steering_scale", "1", 1.0, 0.02, 5.0, "road wheel angle per commanded angle"),
    ParameterSpec("steering_offset", "rad", 0.0, -0.3, 0.3, "road wheel angle at a command of zero"),
    ParameterSpec("steering_lag", "s", 0.0, 0.0, 1.0, "steering's time constant; 0 is immediate", optional=True),
    ParameterSpec("steering_rate_limit", "rad/s", math.inf, 0.05, 50.0, "fastest steering", optional=True),
    ParameterSpec("steering_delay", "s", 0.0, 0.0, 1.0, "transport delay of the steering command"),
    ParameterSpec("drive_lag", "s", 0.0, 0.0, 2.0, "drive train's time constant; 0 is immediate", optional=True),
    ParameterSpec("drive_rate_limit", "m/s^3", math.inf, 0.5, 500.0, "fastest change of acceleration", optional=True),
    ParameterSpec("drive_delay", "s", 0.0, 0.0, 1.0, "transport delay of the drive command"),
)
"""Parameters that every parametric model has."""

DRIVE: dict[DriveCommand, Table] = {
    "acceleration": table(
        ParameterSpec("acceleration_scale", "1", 1.0, 0.1, 5.0, "acceleration per commanded acceleration"),
        ParameterSpec("acceleration_offset", "m/s^2", 0.0, -3.0, 3.0, "acceleration at a command of zero"),
    ),
    "speed": table(
        ParameterSpec("speed_scale", "1", 1.0, 0.2, 5.0, "speed reached per commanded speed"),
        ParameterSpec("speed_gain", "1/s", 5.0, 0.1, 50.0, "rate at which the controller closes a speed error"),
        ParameterSpec("max_acceleration", "m/s^2", 10.0, 0.3, 50.0, "the speed controller's strongest acceleration"),
        ParameterSpec("max_braking", "m/s^2", 10.0, 0.3, 50.0, "the speed controller's strongest deceleration"),
        ParameterSpec("speed_limit", "m/s", math.inf, 0.1, 200.0, "speed that no command exceeds", optional=True),
    ),
    "duty": table(
        ParameterSpec("motor_gain", "m/s^2", 8.0, 0.1, 60.0, "acceleration at full duty and standstill, Cm1"),
        ParameterSpec("motor_damping", "1/s", 1.0, 0.0, 20.0, "what of it each m/s takes away, Cm2"),
    ),
}
"""Further parameters by what the drive command means."""

RESISTANCE: Table = table(
    ParameterSpec("rolling_resistance", "m/s^2", 0.0, 0.0, 5.0, "deceleration of a rolling car, Cr0", optional=True),
    ParameterSpec("drag", "1/m", 0.0, 0.0, 1.0, "deceleration per squared speed, Cr2", optional=True),
)
"""What slows the car whatever is commanded."""

_SHORTEST_LAG_S = 1e-6  # keeps gradients finite where a fit arrives at zero
_ROLLING_SPEED_MPS = 0.1  # rolling resistance fades in over this speed, so that it never moves a standing car


def lagged(
    value: torch.Tensor,
    target: torch.Tensor,
    h: float | torch.Tensor,
    lag: torch.Tensor | None,
    rate_limit: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """An actuator's value after ``h`` seconds on the way to a held ``target``, and its mean on the way.

    First-order lag, discretised exactly, with the average rate limited:
    ``s = clip((1 - exp(-h / lag)) (target - value), -rate h, +rate h)``, end ``= value + s``.
    The mean is ``value + s (w - (w - 1/2) |s| / (rate h))`` with ``w = 1 / (1 - exp(-h / lag)) - lag / h``:
    exact for the lag alone (``s w``), for a saturated ramp (``s / 2``), and for a rate limit without lag
    (ramp, then hold); between them it interpolates.

    Args:
        value: [...] at the start.
        target: [...] held during ``h``.
        h: duration [s] > 0.
        lag: time constant [s]; None is immediate.
        rate_limit: [1/s]; None is unlimited.
    """
    if lag is None and rate_limit is None:
        return target, target
    error = target - value
    if lag is None:
        change, weight = error, torch.ones(())
    else:
        lag = lag.clamp_min(_SHORTEST_LAG_S)
        closed = -torch.expm1(-h / lag)
        change, weight = closed * error, 1 / closed - lag / h
    if rate_limit is not None:
        reach = rate_limit * h
        change = torch.clamp(change, -reach, reach)
        weight = weight - (weight - 0.5) * change.abs() / reach
    return value + change, value + weight * change


def drive_target(
    drive: DriveCommand, p: Mapping[str, torch.Tensor], command: torch.Tensor, vx: torch.Tensor, h: float | torch.Tensor
) -> torch.Tensor:
    """Drive acceleration [m/s^2] that ``command`` asks for, held over the next ``h`` seconds.

    ``speed``: first-order approach with saturation, ``clip((1 - exp(-gain h)) / h (command - vx))``, which
    without a drive lag reproduces the exact exponential at any step length. Beyond ``speed_limit`` a command for
    more holds the speed: the limit keeps the car from getting there, it does not brake one that is (downhill, or
    under a limit that was raised since). ``duty``: ``(Cm1 - Cm2 vx) d`` (Liniger et al. 2015, eq. 3), the rest of
    which is `resisted`.
    """
    if drive == "acceleration":
        return p["acceleration_scale"] * command + p["acceleration_offset"]
    if drive == "speed":
        rate = -torch.expm1(-p["speed_gain"] * h) / h
        speed = p["speed_scale"] * command
        if "speed_limit" in p:
            speed = torch.minimum(speed, torch.maximum(p["speed_limit"], vx))
        wanted = rate * (speed - vx)
        return torch.clamp(wanted, -p["max_braking"], p["max_acceleration"])
    return (p["motor_gain"] - p["motor_damping"] * vx) * command


def resisted(acceleration: torch.Tensor, p: Mapping[str, torch.Tensor], vx: torch.Tensor) -> torch.Tensor:
    """``acceleration`` [m/s^2] less what rolling and drag take from it; unchanged where the model has neither."""
    if "rolling_resistance" in p:
        acceleration = acceleration - p["rolling_resistance"] * torch.tanh(vx / _ROLLING_SPEED_MPS)
    if "drag" in p:
        acceleration = acceleration - p["drag"] * vx * vx.abs()
    return acceleration
