"""CommonRoad's vehicle models as the plant needs them: where their states lie, and what they leave open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from vehiclemodels.init_mb import init_mb
from vehiclemodels.init_std import init_std
from vehiclemodels.vehicle_dynamics_mb import vehicle_dynamics_mb
from vehiclemodels.vehicle_dynamics_std import vehicle_dynamics_std
from vehiclemodels.vehicle_parameters import VehicleParameters

X, Y, STEERING, SPEED, PSI, PSI_RATE = range(6)
"""Entries that both models share; the speed is |v| in the drift model and vx in the multi-body model."""

SLIDING_MPS = 0.3
"""Sideways speed above which a car that does not roll forward is still moving."""


@dataclass(frozen=True)
class PlantModel:
    """A vehicle model of commonroad-vehicle-models (Althoff and Wuersching, 2020).

    Args:
        derivative: right-hand side, of a state that it may change, [steering rate, acceleration] and parameters.
        initial: full state from [x, y, steering angle, speed, yaw, yaw rate, slip angle].
        stiff: entries that must be integrated implicitly.
        jacobian_steps: integration steps for which one Jacobian serves.
        wheels: angular speeds of the wheels.
        driven: those whose speed a wheel speed sensor reads.
        axle_inertias: rotating inertia, in multiples of the parameter set's wheel inertia.
        velocity: body velocity (vx, vy) of a state.
        acceleration: its time derivative, from a state and the state's derivative.
        with_velocity: the state with another body velocity.
        at_rest: the state, standing still.
    """

    derivative: Callable[[list[float], list[float], VehicleParameters], list[float]]
    initial: Callable[[list[float], VehicleParameters], list[float]]
    stiff: tuple[int, ...]
    jacobian_steps: int
    wheels: tuple[int, ...]
    driven: tuple[int, ...]
    axle_inertias: float
    velocity: Callable[[list[float]], tuple[float, float]]
    acceleration: Callable[[list[float], list[float]], tuple[float, float]]
    with_velocity: Callable[[list[float], float, float], list[float]]
    at_rest: Callable[[list[float], VehicleParameters], list[float]]


# Single-track drift: x, y, steering, |v|, yaw, yaw rate, slip angle, angular speeds of front and rear wheel.

_SLIP_ANGLE = 6


def _drift_velocity(state: list[float]) -> tuple[float, float]:
    return state[SPEED] * math.cos(state[_SLIP_ANGLE]), state[SPEED] * math.sin(state[_SLIP_ANGLE])


def _drift_acceleration(state: list[float], slope: list[float]) -> tuple[float, float]:
    cos, sin = math.cos(state[_SLIP_ANGLE]), math.sin(state[_SLIP_ANGLE])
    turning = state[SPEED] * slope[_SLIP_ANGLE]
    return slope[SPEED] * cos - turning * sin, slope[SPEED] * sin + turning * cos


def _drift_with_velocity(state: list[float], vx: float, vy: float) -> list[float]:
    changed = list(state)
    changed[SPEED], changed[_SLIP_ANGLE] = math.hypot(vx, vy), math.atan2(vy, vx)
    return changed


def _drift_at_rest(state: list[float], car: VehicleParameters) -> list[float]:
    # The model integrates its slip angle from the kinematic one's rate, so it must start on it.
    slip_angle = math.atan(math.tan(state[STEERING]) * car.b / (car.a + car.b))
    return init_std([*state[:SPEED], 0.0, state[PSI], 0.0, slip_angle], car)


# Multi-body: x, y, steering, vx, yaw, yaw rate, roll and pitch with rates (6-9), vy, heave (11, 12), the front and
# rear axles' roll, vy and heave (13-17, 18-22), angular speeds of the wheels (23-26), lateral joint travel (27, 28).

_LATERAL_VELOCITIES = (10, 15, 20)
_RATES = (PSI_RATE, 7, 9, 12, 14, 17, 19, 22)
_WHEELS = (23, 24, 25, 26)
_KINEMATIC_MPS = 0.1  # below, the library's model has no tyre slip
_SLOWEST_ROLL_MPS = 0.05
_WHEEL_SETTLING_S = 0.002


def _multi_body_derivative(state: list[float], inputs: list[float], car: VehicleParameters) -> list[float]:
    """The library's model, guarded where it divides by the rolling speed of a wheel that moves backwards.

    There, in a spin, the tyres are evaluated as if the car moved forward just fast enough for all wheels to roll.
    """
    vx, vy = state[SPEED], state[10]
    rolling = _rolling_speeds(state, car)
    sliding = math.hypot(vy, state[PSI_RATE] * (car.a + car.b)) > SLIDING_MPS
    if vx >= _KINEMATIC_MPS or sliding:
        missing = max(0.0, _SLOWEST_ROLL_MPS - min(rolling)) / math.cos(state[STEERING])
        state[SPEED] = max(vx + missing, _KINEMATIC_MPS)
        slope = vehicle_dynamics_mb(state, inputs, car)
        cos, sin = math.cos(state[PSI]), math.sin(state[PSI])
        slope[X], slope[Y] = vx * cos - vy * sin, vx * sin + vy * cos
        for entry in _LATERAL_VELOCITIES:
            slope[entry] += state[PSI_RATE] * (state[SPEED] - vx)
        return slope
    slope = vehicle_dynamics_mb(state, inputs, car)
    # The library's kinematic range has no tyre force that holds the wheels against the drive's torque: they roll.
    for wheel, speed in zip(_WHEELS, rolling, strict=True):
        slope[wheel] = (max(speed, 0.0) / car.R_w - state[wheel]) / _WHEEL_SETTLING_S
    return slope


def _rolling_speeds(state: list[float], car: VehicleParameters) -> tuple[float, float, float, float]:
    vx, yaw_rate = state[SPEED], state[PSI_RATE]
    cos, sideways = math.cos(state[STEERING]), (state[10] + car.a * yaw_rate) * math.sin(state[STEERING])
    front, rear = 0.5 * car.T_f * yaw_rate, 0.5 * car.T_r * yaw_rate
    return (vx + front) * cos + sideways, (vx - front) * cos + sideways, vx + rear, vx - rear


def _multi_body_with_velocity(state: list[float], vx: float, vy: float) -> list[float]:
    changed = list(state)
    changed[SPEED], changed[10] = vx, vy
    return changed


def _multi_body_at_rest(state: list[float], car: VehicleParameters) -> list[float]:
    changed = list(state)
    for entry in (SPEED, *_LATERAL_VELOCITIES, *_RATES, *_WHEELS):
        changed[entry] = 0.0
    return changed


PLANT_MODELS = {
    "single_track_drift": PlantModel(
        derivative=vehicle_dynamics_std,
        initial=init_std,
        stiff=(SPEED, PSI_RATE, _SLIP_ANGLE, 7, 8),
        jacobian_steps=1,
        wheels=(7, 8),
        driven=(8,),
        axle_inertias=2.0,
        velocity=_drift_velocity,
        acceleration=_drift_acceleration,
        with_velocity=_drift_with_velocity,
        at_rest=_drift_at_rest,
    ),
    "multi_body": PlantModel(
        derivative=_multi_body_derivative,
        initial=init_mb,
        stiff=(SPEED, PSI_RATE, *range(6, 29)),
        jacobian_steps=4,
        wheels=_WHEELS,
        driven=(25, 26),
        axle_inertias=4.0,
        velocity=lambda state: (state[SPEED], state[10]),
        acceleration=lambda state, slope: (slope[SPEED], slope[10]),
        with_velocity=_multi_body_with_velocity,
        at_rest=_multi_body_at_rest,
    ),
}
"""The models by the name that PlantSettings knows them by."""
