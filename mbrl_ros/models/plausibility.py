"""Whether a model can be of a car at all."""

from __future__ import annotations

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import ParametricModel, build_for
from mbrl_ros.models.passport import LoadedModel

LARGEST_RATIO = 1.5
"""Between a fitted and a nominal wheelbase: fits are off by a tenth, cars of another size by a factor."""


def require_same_car(loaded: LoadedModel, vehicle: Vehicle) -> None:
    """ModelError where the model's wheelbase, if there is physics in it, is not that of ``vehicle``."""
    physics = getattr(loaded.model, "base", loaded.model)
    if not isinstance(physics, ParametricModel):
        return
    has = physics.values()["wheelbase"]
    nominal = build_for(vehicle, "kinematic_bicycle", dt=loaded.model.dt).values()["wheelbase"]
    if not 1 / LARGEST_RATIO < has / nominal < LARGEST_RATIO:
        raise ModelError(
            f"model {loaded.id} is of a car with a wheelbase of {has:.2f} m, {vehicle.name} has {nominal:.2f} m; "
            "choose the vehicle that the model was fitted to"
        )
