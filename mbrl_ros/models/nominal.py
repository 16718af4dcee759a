"""A car's model before anything was identified: its vehicle file's parameters."""

from __future__ import annotations

from typing import Any

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import KINDS, Config, ParametricModel, build


def nominal_model(vehicle: Vehicle, kind: str = "kinematic_bicycle", **config: Any) -> ParametricModel:
    """A parametric model of ``kind`` with the nominal parameters and delays of ``vehicle``.

    A vehicle file serves every kind, so each takes the parameters it has; a name that no kind has is an error.

    Args:
        vehicle: the car.
        kind: a kind of models.parametric.
        config: the fields of models.parametric.Config, ``dt`` at least.

    Raises:
        ConfigError: the vehicle file names a parameter that no model has.
        ModelError: a parameter is out of bounds.
    """
    settled = Config(**config)
    known = {name for equations in KINDS.values() for name in equations.parameters(settled)}
    if unknown := vehicle.parameters.keys() - known:
        raise ConfigError(f"vehicle '{vehicle.name}': parameters: no model has {', '.join(sorted(unknown))}")
    table = KINDS[kind].parameters(settled)
    delays = {"steering_delay": vehicle.delays.steering_s, "drive_delay": vehicle.delays.drive_s}
    parameters = {**vehicle.parameters, **delays}
    return build(kind, {name: value for name, value in parameters.items() if name in table}, **config)
