"""What a car is and may do: read from ``config/vehicles/*.yaml``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings
from mbrl_ros.core.sensing import EstimatorSettings, Sensors

DriveInput = Literal["acceleration", "speed"]
"""What a car's drive follows: ``acceleration`` as it is commanded, signed; or ``speed``, approached at the
magnitude of ``acceleration``, where 0 means as fast as possible (ackermann_msgs/AckermannDrive)."""


class Limits(Settings):
    """What the car may be asked for. Every planner plans inside, and the command gate enforces them."""

    steering_angle_rad: PositiveFloat = Field(description="largest road wheel angle to either side")
    steering_rate_radps: PositiveFloat = Field(description="fastest change of the road wheel angle")
    speed_mps: PositiveFloat = Field(description="highest forward speed")
    acceleration_mps2: PositiveFloat = Field(description="strongest forward acceleration")
    braking_mps2: PositiveFloat = Field(description="strongest deceleration, positive")
    jerk_mps3: PositiveFloat = Field(description="fastest change of acceleration")


class Delays(Settings):
    """Transport delay from a command to the beginning of its effect."""

    steering_s: NonNegativeFloat = 0.0
    drive_s: NonNegativeFloat = 0.0


class PlantSettings(Settings):
    """The simulated car: a published vehicle model behind actuators of its own."""

    model: Literal["single_track_drift", "multi_body"] = "single_track_drift"
    parameters: str = Field(description="parameter set of commonroad-vehicle-models, or one of this package's own")
    drive: DriveInput = Field(default="acceleration", description="which field of AckermannDrive the car's drive obeys")
    delays: Delays = Field(default_factory=Delays, description="transport delay of the simulated actuators")
    steering_lag_s: NonNegativeFloat = Field(
        default=0.0, description="first-order time constant of the steering actuator"
    )
    drive_lag_s: NonNegativeFloat = Field(default=0.0, description="first-order time constant of the drive train")
    steering_rate_limit_radps: PositiveFloat = Field(description="fastest change of the road wheel angle")
    drive_rate_limit_mps3: PositiveFloat = Field(description="fastest change of the delivered acceleration")
    acceleration_limit_mps2: PositiveFloat = Field(description="strongest forward acceleration of the drive train")
    braking_limit_mps2: PositiveFloat = Field(description="strongest deceleration of the brakes, positive")
    speed_gain_ps: PositiveFloat = Field(
        default=5.0, description="speed controller: acceleration per speed error [1/s]"
    )
    command_timeout_s: PositiveFloat = Field(default=0.2, description="silence after which the car brakes by itself")
    friction_scale: PositiveFloat = Field(default=1.0, description="factor on the tyres' friction")
    step_s: PositiveFloat = Field(default=0.0025, le=0.01, description="integration step")


class Vehicle(Settings):
    """A car: geometry, limits, nominal parameters of the parametric models, and its simulated twin."""

    name: str
    length_m: PositiveFloat
    width_m: PositiveFloat
    limits: Limits
    parameters: dict[str, float] = Field(
        default_factory=dict, description="nominal parameters of models.parametric, by name; others keep their default"
    )
    delays: Delays = Field(default_factory=Delays, description="nominal delays, until they are identified")
    plant: PlantSettings
    sensors: Sensors = Field(default_factory=Sensors)
    estimator: EstimatorSettings = Field(default_factory=EstimatorSettings)
