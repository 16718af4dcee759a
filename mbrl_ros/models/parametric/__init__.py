"""Vehicle models with physical parameters, and building them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import kinematic, single_track
from mbrl_ros.models.parametric.kinematic import KinematicBicycle
from mbrl_ros.models.parametric.model import Config, Equations, ParametricModel
from mbrl_ros.models.parametric.parameters import ParameterSpec, Table, require_known
from mbrl_ros.models.parametric.single_track import SingleTrack

KINDS: dict[str, Equations] = {equations.kind: equations for equations in (kinematic.EQUATIONS, single_track.EQUATIONS)}
"""The parametric kinds by name."""


def build(kind: str, parameters: Mapping[str, float] | None = None, **config: Any) -> ParametricModel:
    """A model of ``kind`` with ``parameters`` (others at their default) and the fields of `Config`.

    Raises:
        ModelError: the kind, a parameter or a configuration value is unknown or out of bounds.
    """
    if kind not in KINDS:
        raise ModelError(f"no parametric model of kind '{kind}'; there are {', '.join(KINDS)}")
    return ParametricModel(KINDS[kind], parameters, **config)


def build_for(vehicle: Vehicle, kind: str, **config: Any) -> ParametricModel:
    """A model of ``kind`` with a vehicle's nominal parameters and delays, limited as the vehicle is.

    Of ``vehicle.parameters`` those that this kind and configuration has are used, so that one vehicle file serves
    all kinds. The vehicle's delays, its steering rate limit and the acceleration limits of a speed controller
    stand in for parameters that the file does not name.

    Raises:
        ModelError: a name that no kind knows, a value out of bounds, or an unknown kind or configuration value.
    """
    require_known(vehicle.parameters, _every_parameter(), f"vehicle '{vehicle.name}'")
    nominal = {
        "steering_delay": vehicle.delays.steering_s,
        "drive_delay": vehicle.delays.drive_s,
        "steering_rate_limit": vehicle.limits.steering_rate_radps,
        "max_acceleration": vehicle.limits.acceleration_mps2,
        "max_braking": vehicle.limits.braking_mps2,
        **vehicle.parameters,
    }
    table = build(kind, **config).table
    return build(kind, {name: value for name, value in nominal.items() if name in table}, **config)


def _every_parameter() -> Table:
    configs = [Config(dt=1.0, drive=drive) for drive in ACTIONS]
    return {
        name: spec for kind in KINDS.values() for config in configs for name, spec in kind.parameters(config).items()
    }


__all__ = [
    "KINDS",
    "Config",
    "Equations",
    "KinematicBicycle",
    "ParameterSpec",
    "ParametricModel",
    "SingleTrack",
    "build",
    "build_for",
]
