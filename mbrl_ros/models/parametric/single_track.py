"""Single-track model with Pacejka tyres, blended into the kinematic bicycle at low speed."""

from __future__ import annotations

from functools import partial

import torch

from mbrl_ros.models.parametric.actuators import ACTUATORS, DRIVE, RESISTANCE, resisted
from mbrl_ros.models.parametric.integrators import INTEGRATORS, Columns
from mbrl_ros.models.parametric.kinematic import REAR_FRACTION, WHEELBASE, reference_lever
from mbrl_ros.models.parametric.model import Config, Equations, Held, Parameters, ParametricModel
from mbrl_ros.models.parametric.parameters import ParameterSpec, Table, table
from mbrl_ros.models.parametric.tyres import magic_formula

GRAVITY = 9.81
"""[m/s^2]"""

CHASSIS: Table = table(
    WHEELBASE,
    REAR_FRACTION,
    ParameterSpec("yaw_inertia_ratio", "1", 1.0, 0.2, 4.0, "yaw inertia per m l_f l_r"),
    ParameterSpec(
        "cg_height_ratio",
        "1",
        0.0,
        0.0,
        0.5,
        "height of the centre of gravity per wheelbase; acceleration moves load to the rear",
        optional=True,
    ),
    ParameterSpec(
        "cornering_drag",
        "1",
        1.0,
        0.0,
        1.0,
        "share of the cornering terms in d vx / dt: 1 where the acceleration is a drive force per mass, "
        "0 where it is a recorded d vx / dt, which already contains them",
    ),
    ParameterSpec("blend_start", "m/s", 0.5, 0.02, 5.0, "speed up to which the car is kinematic"),
    ParameterSpec("blend_width", "m/s", 1.0, 0.05, 10.0, "further speed by which the tyres decide"),
)


def _tyre(axle: str) -> Table:
    return table(
        ParameterSpec(
            f"stiffness_{axle}", "1/rad", 8.0, 0.5, 80.0, f"{axle} cornering stiffness per axle load, B C mu"
        ),
        ParameterSpec(f"friction_{axle}", "1", 1.0, 0.1, 3.0, f"{axle} peak lateral force per axle load, mu"),
        ParameterSpec(f"shape_{axle}", "1", 1.4, 0.8, 2.2, f"Pacejka's C, {axle}"),
        ParameterSpec(f"curvature_{axle}", "1", 0.0, -10.0, 0.99, f"Pacejka's E, {axle}", optional=True),
    )


TYRES: Table = _tyre("front") | _tyre("rear")

_RETURN_PER_S = 20.0  # rate at which vy and yaw rate return to the kinematic relation near standstill [1/s]


def parameters(config: Config) -> Table:
    """Every parameter that the single-track model can have in a configuration."""
    return CHASSIS | TYRES | ACTUATORS | DRIVE[config.drive] | RESISTANCE


def integrate(p: Parameters, config: Config, state: Columns, held: Held, h: float | torch.Tensor) -> Columns:
    """(x, y, yaw, vx, vy, yaw_rate) after ``h`` seconds.

    Per unit of mass, since only ratios are observable. At the centre of gravity, with axle forces per mass
    ``F = N mu(alpha)`` and loads ``N_f = (g l_r - a h_cg) / L``, ``N_r = (g l_f + a h_cg) / L``
    (Rajamani 2012, section 2.3; Liniger et al. 2015, eq. 1)::

        alpha_f = delta - atan((vy + l_f r) / |vx|)      alpha_r = atan((l_r r - vy) / |vx|)
        vx' = a - resistance + c (vy r - F_f sin(delta))
        vy' = F_f cos(delta) + F_r - vx r
        r'  = (l_f F_f cos(delta) - l_r F_r) / (i l_f l_r)

    with ``c`` = ``cornering_drag``, ``i`` = ``yaw_inertia_ratio``; driving backwards, ``delta`` in ``alpha_f``
    changes sign. At small angles the steady turn is the kinematic bicycle's with the understeer
    ``K = (1 / c_f - 1 / c_r) / g``, c being an axle's ``stiffness``. The state's ``vy`` is the reference point's,
    ``vy_cg + (l - l_r) r``.

    Slip angles lose their meaning near standstill. There these rates blend (smoothstep in ``|vx|``) into the
    kinematic bicycle's, ``r_k = vx tan(delta) / L`` and ``vy_k = l r_k``: the derivative of the kinematic value
    plus a return to it. At rest ``vy`` and ``r`` therefore decay to zero, and nothing drifts.
    """
    wheelbase = p["wheelbase"]
    l_r = p["rear_fraction"] * wheelbase
    l_f = wheelbase - l_r
    ahead_of_rear = reference_lever(p, config.reference_point)
    behind_front, behind_cg = wheelbase - ahead_of_rear, l_r - ahead_of_rear
    acceleration, tangent = held.acceleration, held.tan_steering
    squared_secant = 1 + tangent * tangent
    cos_steering = torch.rsqrt(squared_secant)
    sin_steering = tangent * cos_steering
    curvature = tangent / wheelbase  # of the kinematic path of the rear axle
    curvature_rate = squared_secant * held.steering_change / (h * wheelbase)
    load_front, load_rear = axle_loads(p, acceleration)
    front, rear = _tyre_factors(p, "front", load_front), _tyre_factors(p, "rear", load_rear)
    turn_front, turn_rear = 1 / (p["yaw_inertia_ratio"] * l_r), 1 / (p["yaw_inertia_ratio"] * l_f)
    per_width = 1 / p["blend_width"]

    def derivative(columns: Columns) -> Columns:
        _, _, yaw, vx, vy, yaw_rate = columns
        speed = vx.abs()
        share = ((speed - p["blend_start"]) * per_width).clamp(0, 1)
        share = share * share * (3 - 2 * share)

        per_speed = 1 / speed.clamp_min(p["blend_start"])  # slower, the tyres have no share
        direction = vx * per_speed
        slip_front = direction * held.steering - torch.atan((vy + behind_front * yaw_rate) * per_speed)
        slip_rear = torch.atan((ahead_of_rear * yaw_rate - vy) * per_speed)
        force_front, force_rear = magic_formula(slip_front, *front), magic_formula(slip_rear, *rear)
        across = force_front * cos_steering
        cornering = (vy + behind_cg * yaw_rate) * yaw_rate - force_front * sin_steering
        vx_rate = resisted(acceleration, p, vx) + p["cornering_drag"] * share * cornering

        turning = turn_front * across - turn_rear * force_rear
        turning_slow = vx_rate * curvature + vx * curvature_rate + _RETURN_PER_S * (vx * curvature - yaw_rate)
        sliding = across + force_rear - vx * yaw_rate - behind_cg * turning
        sliding_slow = ahead_of_rear * turning_slow + _RETURN_PER_S * (ahead_of_rear * yaw_rate - vy)

        cos, sin = torch.cos(yaw), torch.sin(yaw)
        return (
            vx * cos - vy * sin,
            vx * sin + vy * cos,
            yaw_rate,
            vx_rate,
            sliding_slow + share * (sliding - sliding_slow),
            turning_slow + share * (turning - turning_slow),
        )

    return INTEGRATORS[config.integrator](derivative, state, h)


def axle_loads(p: Parameters, acceleration: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Front and rear axle load per mass of the car [m/s^2], never negative (a lifted axle carries none)."""
    front, rear = GRAVITY * p["rear_fraction"], GRAVITY * (1 - p["rear_fraction"])
    if "cg_height_ratio" not in p:
        return front, rear
    transfer = p["cg_height_ratio"] * acceleration
    return (front - transfer).clamp_min(0), (rear + transfer).clamp_min(0)


Factors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]


def _tyre_factors(p: Parameters, axle: str, load: torch.Tensor) -> Factors:
    """B, C, D and E of an axle, D as a force per mass of the car."""
    stiffness, friction, shape = p[f"stiffness_{axle}"], p[f"friction_{axle}"], p[f"shape_{axle}"]
    return stiffness / (shape * friction), shape, friction * load, p.get(f"curvature_{axle}")


EQUATIONS = Equations("single_track", parameters, integrate)

SingleTrack = partial(ParametricModel, EQUATIONS)
"""``SingleTrack(parameters, *, dt, drive, reference_point, integrator, substeps, dtype)``"""
