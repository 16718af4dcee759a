"""What a car is and may do: read from ``config/vehicles/*.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings, parse_settings
from mbrl_ros.core.sensing import EstimatorSettings, Sensors

DriveInput = Literal["acceleration", "speed"]
"""What a car's drive follows: ``acceleration`` as it is commanded, signed; or ``speed``, approached at the
magnitude of ``acceleration``, where 0 means as fast as possible (ackermann_msgs/AckermannDrive)."""


class Limits(Settings):
    """What the car may be asked for. Every planner plans inside, and the command gate enforces them."""

    steering_angle_rad: PositiveFloat = Field(le=1.5, description="largest road wheel angle to either side")
    steering_rate_radps: PositiveFloat = Field(le=20.0, description="fastest change of the road wheel angle")
    speed_mps: PositiveFloat = Field(le=120.0, description="highest forward speed")
    acceleration_mps2: PositiveFloat = Field(le=50.0, description="strongest forward acceleration")
    braking_mps2: PositiveFloat = Field(le=50.0, description="strongest deceleration, positive")
    jerk_mps3: PositiveFloat = Field(le=10_000.0, description="fastest change of acceleration")
    stop_braking_mps2: PositiveFloat | None = Field(
        default=None,
        le=50.0,
        description="deceleration of a stop, so far below the tyres' limit that one in a bend does not end in a spin; "
        "empty: the strongest",
    )

    @property
    def stopping_mps2(self) -> float:
        """Deceleration of a stop [m/s^2], positive."""
        return self.stop_braking_mps2 or self.braking_mps2


class Delays(Settings):
    """Transport delay from a command to the beginning of its effect."""

    steering_s: NonNegativeFloat = Field(default=0.0, le=0.5, description="of the steering")
    drive_s: NonNegativeFloat = Field(default=0.0, le=0.5, description="of the drive train")


class PlantSettings(Settings):
    """The simulated car: a published vehicle model behind actuators of its own."""

    model: Literal["single_track_drift", "multi_body"] = "single_track_drift"
    parameters: str = Field(description="parameter set of commonroad-vehicle-models, or one of this package's own")
    drive: DriveInput = Field(default="acceleration", description="which field of AckermannDrive the car's drive obeys")
    delays: Delays = Field(default_factory=Delays, description="transport delay of the simulated actuators")
    steering_lag_s: NonNegativeFloat = Field(
        default=0.0, le=2.0, description="first-order time constant of the steering actuator"
    )
    drive_lag_s: NonNegativeFloat = Field(
        default=0.0, le=2.0, description="first-order time constant of the drive train"
    )
    steering_rate_limit_radps: PositiveFloat = Field(le=20.0, description="fastest change of the road wheel angle")
    drive_rate_limit_mps3: PositiveFloat = Field(
        le=10_000.0, description="fastest change of the delivered acceleration"
    )
    acceleration_limit_mps2: PositiveFloat = Field(
        le=50.0, description="strongest forward acceleration of the drive train"
    )
    braking_limit_mps2: PositiveFloat = Field(le=50.0, description="strongest deceleration of the brakes, positive")
    speed_gain_ps: PositiveFloat = Field(
        default=5.0, description="speed controller: acceleration per speed error [1/s]"
    )
    command_timeout_s: PositiveFloat = Field(
        default=0.2, le=10.0, description="silence after which the car brakes by itself"
    )
    friction_scale: PositiveFloat = Field(default=1.0, le=3.0, description="factor on the tyres' friction")
    step_s: PositiveFloat = Field(default=0.0025, le=0.01, description="integration step")


class Vehicle(Settings):
    """A car: geometry, limits, nominal parameters of the parametric models, and its simulated twin."""

    name: str = Field(description="what the car is called")
    length_m: PositiveFloat = Field(le=10.0, description="over everything")
    width_m: PositiveFloat = Field(le=4.0, description="over everything")
    limits: Limits = Field(description="what the car may be asked for")
    parameters: dict[str, float] = Field(
        default_factory=dict, description="nominal parameters of models.parametric, by name; others keep their default"
    )
    delays: Delays = Field(default_factory=Delays, description="nominal delays, until they are identified")
    plant: PlantSettings
    sensors: Sensors = Field(default_factory=Sensors)
    estimator: EstimatorSettings = Field(default_factory=EstimatorSettings)

    def with_plant(self, model: str, where: str) -> Vehicle:
        """The same car, simulated with another plant model; an empty ``model`` changes nothing.

        Args:
            model: a value of ``PlantSettings.model``.
            where: what names it, for errors.

        Raises:
            ConfigError: there is no such plant model.
        """
        if not model:
            return self
        return self.model_copy(
            update={"plant": parse_settings({**self.plant.model_dump(), "model": model}, PlantSettings, where)}
        )
