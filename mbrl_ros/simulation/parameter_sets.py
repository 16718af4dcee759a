"""Parameter sets of the simulated cars, by name."""

from __future__ import annotations

from dataclasses import fields, replace

from vehiclemodels.utils.longitudinal_parameters import LongitudinalParameters
from vehiclemodels.utils.steering_parameters import SteeringParameters
from vehiclemodels.utils.tireParameters import TireParameters
from vehiclemodels.vehicle_parameters import VehicleParameters, setup_vehicle_parameters

from mbrl_ros.core.errors import ConfigError

COMMONROAD = {"ford_escort": 1, "bmw_320i": 2, "vw_vanagon": 3}
"""Cars of commonroad-vehicle-models (Althoff and Wuersching, "CommonRoad: Vehicle Models", 2020) by its number."""

F1TENTH = "f1tenth"


def parameter_set(name: str, friction_scale: float = 1.0) -> VehicleParameters:
    """Parameters of the car ``name``, its tyres' friction multiplied by ``friction_scale``.

    Raises:
        ConfigError: no such car.
    """
    if name == F1TENTH:
        car = _f1tenth()
    elif name in COMMONROAD:
        car = setup_vehicle_parameters(vehicle_id=COMMONROAD[name])
    else:
        raise ConfigError(f"no parameter set '{name}'; there are {', '.join([F1TENTH, *COMMONROAD])}")
    # Reversing is not simulated: at standstill the models' own acceleration limit then ends braking.
    return replace(
        car,
        longitudinal=replace(car.longitudinal, v_min=0.0),
        tire=replace(car.tire, p_dx1=car.tire.p_dx1 * friction_scale, p_dy1=car.tire.p_dy1 * friction_scale),
    )


def has_suspension(car: VehicleParameters) -> bool:
    """Whether the set holds what the multi-body model needs beyond the single-track model."""
    return all(getattr(car, item.name) is not None for item in fields(car))


def _f1tenth() -> VehicleParameters:
    """A 1:10 car with four driven wheels, for the single-track drift model.

    Mass, yaw inertia, axle distances, height, steering and drive limits: the values published with the F1TENTH
    simulator (O'Kelly et al., "F1TENTH: An Open-source Evaluation Environment for Continuous Control and
    Reinforcement Learning", 2020; f1tenth_gym's default parameters). The wheel's radius and inertia are those of a
    1:10 touring wheel of 0.1 kg, two to an axle, with the shafts; brake and motor act on all wheels equally.
    """
    return VehicleParameters(
        l=0.58,
        w=0.31,
        steering=SteeringParameters(min=-0.4189, max=0.4189, v_min=-3.2, v_max=3.2),
        longitudinal=LongitudinalParameters(a_max=9.51, v_max=20.0, v_min=0.0, v_switch=7.319),
        m=3.74,
        I_z=0.04712,
        a=0.15875,
        b=0.17145,
        h_s=0.074,
        I_y_w=3.0e-4,
        R_w=0.05,
        T_sb=0.5,
        T_se=0.5,
        tire=_softer(
            setup_vehicle_parameters(vehicle_id=COMMONROAD["bmw_320i"]).tire,
            lateral=0.244,
            longitudinal=0.5,
            friction=0.9,
        ),
    )


def _softer(tyre: TireParameters, lateral: float, longitudinal: float, friction: float) -> TireParameters:
    """A tyre that behaves at slip s as ``tyre`` does at slip ``scale * s``.

    Slopes grow with the scale, horizontal shifts shrink with it (similarity; Pacejka, "Tire and Vehicle Dynamics",
    ch. 4). With 0.244 the lateral stiffness per load is 5.3 / rad, the mean of f1tenth_gym's mu * C_S of both axles
    (1.0489 * 4.718 and 1.0489 * 5.4562); small rubber tyres are that soft. With a friction of 0.9 the peaks become
    1.06 lengthwise and 0.94 sideways.
    """
    return replace(
        tyre,
        p_dx1=tyre.p_dx1 * friction,
        p_dy1=tyre.p_dy1 * friction,
        p_kx1=tyre.p_kx1 * longitudinal,
        p_hx1=tyre.p_hx1 / longitudinal,
        p_ky1=tyre.p_ky1 * lateral,
        p_hy1=tyre.p_hy1 / lateral,
        r_bx1=tyre.r_bx1 * lateral,
        r_hx1=tyre.r_hx1 / lateral,
        r_bx2=tyre.r_bx2 * longitudinal,
        r_by1=tyre.r_by1 * longitudinal,
        r_hy1=tyre.r_hy1 / longitudinal,
        r_by2=tyre.r_by2 * lateral,
        r_by3=tyre.r_by3 / lateral,
        r_vy4=tyre.r_vy4 * lateral,
        r_vy6=tyre.r_vy6 * longitudinal,
    )
