"""The simulated car's motion: CommonRoad's single-track drift and multi-body models behind one face."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mbrl_ros.core.errors import ConfigError, ModelError
from mbrl_ros.core.vehicle import PlantSettings
from mbrl_ros.simulation.parameter_sets import has_suspension, parameter_set
from mbrl_ros.simulation.plant_models import PLANT_MODELS, PSI, SLIDING_MPS, STEERING, X, Y
from mbrl_ros.simulation.rosenbrock import rosenbrock_step, stiff_jacobian

_STANDSTILL_MPS = 0.02
_SIDEWAYS = 0.05  # least vx / |vy|: the models' slip angles jump where the car begins to move backwards
_CRAWL_MPS = 2.0
_CRAWL_SUBSTEPS = 5  # a wheel settles 1 / speed times faster: see rosenbrock.py


@dataclass(frozen=True)
class Motion:
    """How the centre of gravity moves: pose in the world; velocity and specific force in the body frame.

    ``wheel_speed_mps`` is the rolling speed of the driven wheels, slip included.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    vx_mps: float
    vy_mps: float
    yaw_rate_radps: float
    steering_angle_rad: float
    ax_mps2: float
    ay_mps2: float
    wheel_speed_mps: float


class Plant:
    """A car that starts at the origin, at rest.

    Reversing is not simulated: braking ends at standstill and the car stays there, and what a spin would carry
    backwards is taken out of the motion.

    Args:
        settings: model, parameter set, friction and step.

    Raises:
        ConfigError: the parameter set is unknown, or lacks what the model needs.
    """

    def __init__(self, settings: PlantSettings) -> None:
        self._name = settings.parameters
        self._car = parameter_set(settings.parameters, settings.friction_scale)
        if settings.model == "multi_body" and not has_suspension(self._car):
            raise ConfigError(
                f"plant.parameters: '{settings.parameters}' has no suspension, which plant.model multi_body needs; "
                "use single_track_drift"
            )
        if settings.steering_rate_limit_radps > self._car.steering.v_max:
            raise ConfigError(
                f"plant.steering_rate_limit_radps: {settings.steering_rate_limit_radps:g} exceeds the "
                f"{self._car.steering.v_max:g} rad/s of parameter set '{settings.parameters}'; lower it"
            )
        self._model = PLANT_MODELS[settings.model]
        self._inputs = (0.0, 0.0)
        self.set_pose(0.0, 0.0, 0.0)

    def set_pose(self, x_m: float, y_m: float, yaw_rad: float, speed_mps: float = 0.0) -> None:
        """Put the car there, wheels straight, at rest or rolling ahead."""
        self._state = self._model.initial([x_m, y_m, 0.0, speed_mps, yaw_rad, 0.0, 0.0], self._car)
        self._inputs = (0.0, 0.0)
        self._standing = speed_mps == 0.0
        self._jacobian_age = self._model.jacobian_steps

    def set_friction_scale(self, friction_scale: float) -> None:
        """Change the grip, also while driving: a factor on the parameter set's friction."""
        self._car = parameter_set(self._name, friction_scale)

    @property
    def delivered_share(self) -> float:
        """What is left for the car of a commanded acceleration when its wheels have been spun up too."""
        rotating = self._model.axle_inertias * self._car.I_y_w / self._car.R_w**2
        return self._car.m / (self._car.m + rotating)

    @property
    def standing(self) -> bool:
        """Whether the car is at rest and held there."""
        return self._standing

    @property
    def steering_angle_rad(self) -> float:
        """Road wheel angle."""
        return self._state[STEERING]

    @property
    def speed_mps(self) -> float:
        """Forward speed."""
        return self._model.velocity(self._state)[0]

    @property
    def steering_limit_rad(self) -> float:
        """Largest road wheel angle of the parameter set."""
        return self._car.steering.max

    def step(self, step_s: float, steering_rate_radps: float, acceleration_mps2: float) -> None:
        """Move on by ``step_s`` [s] under constant inputs, the acceleration being that of the drive's torque.

        Raises:
            ModelError: the motion has no end that is finite, as where a spin rolls the car over.
        """
        fastest = self._car.R_w * max(self._state[wheel] for wheel in self._model.wheels)
        if fastest > self._car.longitudinal.v_max:  # wheels that spin freely turn no faster than the motor can
            acceleration_mps2 = min(acceleration_mps2, 0.0)
        self._inputs = (steering_rate_radps, acceleration_mps2)
        if self._standing and acceleration_mps2 <= 0.0:
            self._state[STEERING] += step_s * steering_rate_radps
            self._stop()
            return
        self._standing = False
        crawling = self._model.velocity(self._state)[0] < _CRAWL_MPS
        substeps = _CRAWL_SUBSTEPS if crawling else 1
        stiff = self._model.stiff
        self._jacobian_age += 1
        if crawling or self._jacobian_age >= self._model.jacobian_steps:
            self._jacobian = stiff_jacobian(self._derivative, self._state, stiff)
            self._jacobian_age = 0
        for _ in range(substeps):
            self._state = rosenbrock_step(self._derivative, self._state, step_s / substeps, stiff, self._jacobian)
            self._settle(acceleration_mps2)
            if self._standing:
                break
        if not all(math.isfinite(value) for value in self._state):
            raise ModelError(f"the plant's state is not finite after {step_s:g} s under {self._inputs}: {self._state}")

    def motion(self) -> Motion:
        """How the car moves now, under the latest inputs."""
        state, slope = self._state, self._derivative(self._state)
        wheel_speed = self._car.R_w * sum(state[wheel] for wheel in self._model.driven) / len(self._model.driven)
        cos, sin = math.cos(state[PSI]), math.sin(state[PSI])
        # Velocities are what the pose does, which differs from the models' own states where these blend or switch
        # to their kinematic forms.
        vx, vy, yaw_rate = slope[X] * cos + slope[Y] * sin, -slope[X] * sin + slope[Y] * cos, slope[PSI]
        vx_slope, vy_slope = self._model.acceleration(state, slope)
        if self._standing:
            vx = vy = yaw_rate = vx_slope = vy_slope = 0.0
        return Motion(
            x_m=state[X],
            y_m=state[Y],
            yaw_rad=state[PSI],
            vx_mps=vx,
            vy_mps=vy,
            yaw_rate_radps=yaw_rate,
            steering_angle_rad=state[STEERING],
            ax_mps2=vx_slope - yaw_rate * vy,
            ay_mps2=vy_slope + yaw_rate * vx,
            wheel_speed_mps=wheel_speed,
        )

    def _derivative(self, state: list[float]) -> list[float]:
        try:
            return self._model.derivative(list(state), list(self._inputs), self._car)
        except (ArithmeticError, ValueError) as error:  # what Python's mathematics say of a car that rolled over
            raise ModelError(f"the plant's equations have no value ({error}) under {self._inputs}: {state}") from error

    def _settle(self, acceleration_mps2: float) -> None:
        """Keep the state where the models hold: wheels do not turn backwards, the car does not reverse."""
        for wheel in self._model.wheels:
            self._state[wheel] = max(self._state[wheel], 0.0)
        vx, vy = self._model.velocity(self._state)
        if vx < _SIDEWAYS * abs(vy):
            vx, vy = _SIDEWAYS * abs(vy), math.sqrt(1.0 - _SIDEWAYS**2) * vy  # never faster than before
            self._state = self._model.with_velocity(self._state, vx, vy)
        if vx < _STANDSTILL_MPS and abs(vy) < SLIDING_MPS and acceleration_mps2 <= 0.0:
            self._stop()

    def _stop(self) -> None:
        self._standing = True
        self._state = self._model.at_rest(self._state, self._car)
