"""Kinematic bicycle with an understeer term, at any of its three reference points."""

from __future__ import annotations

from functools import partial

import torch

from mbrl_ros.core.layout import ReferencePoint
from mbrl_ros.models.parametric.actuators import ACTUATORS, DRIVE, RESISTANCE, resisted
from mbrl_ros.models.parametric.integrators import INTEGRATORS, Columns
from mbrl_ros.models.parametric.model import Config, Equations, Held, Parameters, ParametricModel
from mbrl_ros.models.parametric.parameters import ParameterSpec, Table, table

WHEELBASE = ParameterSpec("wheelbase", "m", 0.33, 0.02, 10.0, "distance between the axles (L)")
REAR_FRACTION = ParameterSpec(
    "rear_fraction", "1", 0.5, 0.2, 0.8, "distance from the rear axle to the centre of gravity per wheelbase (l_r / L)"
)
UNDERSTEER = ParameterSpec(
    "understeer", "s^2/m", 0.0, 0.0, 0.5, "growth of the effective wheelbase with squared speed (K)"
)


def parameters(config: Config) -> Table:
    """Every parameter that the kinematic bicycle can have in a configuration."""
    centre = table(REAR_FRACTION) if config.reference_point == "cg" else {}
    return table(WHEELBASE) | centre | table(UNDERSTEER) | ACTUATORS | DRIVE[config.drive] | RESISTANCE


def reference_lever(p: Parameters, reference_point: ReferencePoint) -> torch.Tensor:
    """Distance [m] of the reference point ahead of the rear axle: 0, l_r or L."""
    if reference_point == "rear_axle":
        return torch.zeros_like(p["wheelbase"])
    if reference_point == "front_axle":
        return p["wheelbase"]
    return p["rear_fraction"] * p["wheelbase"]


def integrate(p: Parameters, config: Config, state: Columns, held: Held, h: float | torch.Tensor) -> Columns:
    """(x, y, yaw, vx, vy, yaw_rate) after ``h`` seconds.

    In body velocities one form serves all three reference points, which share ``vx``:
    ``yaw_rate = vx tan(delta) / (L + K vx^2)``, ``vy = l yaw_rate`` with ``l`` = 0, l_r, L at the rear axle, the
    centre of gravity and the front axle; ``vx' = acceleration - resistance``; ``(x', y') = R(yaw) (vx, vy)``.
    For K = 0 it equals the textbook's three (Rajamani 2012, section 2.2), whose ``v`` is ``|(vx, vy)|``.
    ``vy`` and ``yaw_rate`` follow from speed and steering; their values at the start are not used.
    """
    lever = reference_lever(p, config.reference_point)

    def yaw_rate_of(vx: torch.Tensor, tan_steering: torch.Tensor) -> torch.Tensor:
        return vx * tan_steering / (p["wheelbase"] + p["understeer"] * vx * vx)

    def derivative(columns: Columns) -> Columns:
        _, _, yaw, vx = columns
        yaw_rate = yaw_rate_of(vx, held.tan_steering)
        vy = lever * yaw_rate
        cos, sin = torch.cos(yaw), torch.sin(yaw)
        return (vx * cos - vy * sin, vx * sin + vy * cos, yaw_rate, resisted(held.acceleration, p, vx))

    x, y, yaw, vx = INTEGRATORS[config.integrator](derivative, state[:4], h)
    yaw_rate = yaw_rate_of(vx, held.tan_steering_end)
    return x, y, yaw, vx, lever * yaw_rate, yaw_rate


EQUATIONS = Equations("kinematic_bicycle", parameters, integrate)

KinematicBicycle = partial(ParametricModel, EQUATIONS)
"""``KinematicBicycle(parameters, *, dt, drive, reference_point, integrator, substeps, dtype)``"""
