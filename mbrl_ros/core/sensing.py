"""A car's sensors, and what its state estimator believes about them and about its model."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings


class SensorTiming(Settings):
    """When a sensor measures, and when its reading arrives."""

    rate_hz: PositiveFloat = Field(le=2000.0, description="readings per second")
    latency_s: NonNegativeFloat = Field(default=0.0, le=1.0, description="from the measurement's stamp to its arrival")


class WheelSpeedSensor(SensorTiming):
    """Rolling speed of the driven wheels."""

    noise_std_mps: NonNegativeFloat = Field(le=5.0, description="white noise on the speed")


class InertialSensor(SensorTiming):
    """Gyroscope and accelerometer at the centre of gravity."""

    gyro_noise_std_radps: NonNegativeFloat = Field(le=1.0, description="white noise on the yaw rate")
    gyro_bias_std_radps: NonNegativeFloat = Field(
        default=0.0, le=1.0, description="spread of the bias that a run starts with"
    )
    gyro_bias_walk_radps_rts: NonNegativeFloat = Field(
        default=0.0, description="random walk of the bias: its standard deviation after 1 s [rad/s/sqrt(s)]"
    )
    acceleration_noise_std_mps2: NonNegativeFloat = Field(le=10.0, description="white noise on each axis")


class SteeringSensor(SensorTiming):
    """Angle of the road wheels."""

    noise_std_rad: NonNegativeFloat = Field(le=0.5, description="white noise on the angle")


class PoseSensor(SensorTiming):
    """Position and heading from localisation."""

    position_noise_std_m: NonNegativeFloat = Field(le=10.0, description="white noise on each axis")
    yaw_noise_std_rad: NonNegativeFloat = Field(le=1.0, description="white noise on the heading")


class Sensors(Settings):
    """The sensors that a car has; one left out is one it lacks."""

    wheel_speed: WheelSpeedSensor | None = None
    imu: InertialSensor | None = None
    steering: SteeringSensor | None = None
    pose: PoseSensor | None = None


class MeasurementNoise(Settings):
    """Standard deviation of each measured component, where a message brings no covariance."""

    wheel_speed_mps: PositiveFloat = Field(default=0.05, le=5.0, description="of the wheels' speed")
    gyro_radps: PositiveFloat = Field(default=0.01, le=1.0, description="of the yaw rate")
    acceleration_mps2: PositiveFloat = Field(default=0.2, le=10.0, description="of accelerations")
    steering_rad: PositiveFloat = Field(default=0.005, le=0.5, description="of the road wheel angle")
    position_m: PositiveFloat = Field(default=0.05, le=10.0, description="of a pose's position, each axis")
    yaw_rad: PositiveFloat = Field(default=0.02, le=1.0, description="of a pose's heading")


class UnmodelledNoise(Settings):
    """What the filter's measurement equations leave out, added to the sensor's own noise: standard deviations."""

    wheel_speed_mps: NonNegativeFloat = Field(default=0.1, description="slip in bends, changing tyre radius")
    longitudinal_acceleration_mps2: NonNegativeFloat = Field(default=1.0, description="pitch, slope, drag")
    lateral_acceleration_mps2: NonNegativeFloat = Field(default=0.5, description="roll, banking")


class ProcessNoise(Settings):
    """How far the car departs from its model, per channel: the square root of a continuous-time spectral density.

    A density of q [unit/sqrt(s)] lets the entry spread by ``q sqrt(t)`` in t seconds, whatever the step. Those of a car
    that slides are for each m/s of sliding, and add to the others as independent noise does.
    """

    position_m_rts: NonNegativeFloat = Field(default=0.02, description="velocity that the model misses, both axes")
    yaw_rad_rts: NonNegativeFloat = Field(default=0.01, description="yaw rate that the model misses")
    longitudinal_velocity_mps_rts: NonNegativeFloat = Field(
        default=0.5, description="longitudinal acceleration it misses"
    )
    lateral_velocity_mps_rts: NonNegativeFloat = Field(default=0.4, description="lateral acceleration it misses")
    yaw_rate_radps_rts: NonNegativeFloat = Field(default=2.0, description="yaw acceleration it misses")
    steering_rad_rts: NonNegativeFloat = Field(default=0.05, description="steering rate it misses")
    acceleration_mps2_rts: NonNegativeFloat = Field(default=1.0, description="jerk it misses")
    unheard_mps2_rts: NonNegativeFloat = Field(
        default=0.0, description="jerk it misses while no command is heard, and the car does what it is told elsewhere"
    )
    gyro_bias_radps_rts: NonNegativeFloat = Field(default=5e-4, description="random walk of the gyroscope's bias")
    sliding_rts: NonNegativeFloat = Field(
        default=0.0,
        description="longitudinal and lateral acceleration it misses for each m/s at which the rear axle slides "
        "sideways, beyond a slip angle of 0.3 rad [1/sqrt(s)]: tyres that slide are what it knows least",
    )
    sliding_radpm_rts: NonNegativeFloat = Field(
        default=0.0, description="yaw acceleration it misses for each m/s of such sliding [rad/m/sqrt(s)]"
    )


class EstimatorSettings(Settings):
    """Noise, gates and memory of the state estimator."""

    measurement: MeasurementNoise = Field(default_factory=MeasurementNoise)
    unmodelled: UnmodelledNoise = Field(default_factory=UnmodelledNoise)
    process: ProcessNoise = Field(default_factory=ProcessNoise)
    wheel_slip_s2pm: NonNegativeFloat = Field(
        default=0.0,
        description="how much faster the driven wheels turn, per acceleration: 1 / (slip stiffness per load * 9.81)",
    )
    wheel_slide_s2pm: NonNegativeFloat = Field(
        default=0.0,
        description="how unsure the wheels' speed is, per speed and acceleration, since a wheel with little load locks "
        "or spins",
    )
    use_accelerometer: bool = Field(default=False, description="whether accelerations are fused")
    follow_sideways: bool = Field(
        default=False,
        description="whether the lateral velocity follows the accelerometer where that contradicts the model's tyres, "
        "which know nothing of a grip that is lost",
    )
    discrepancy_time_s: PositiveFloat = Field(
        default=0.5, description="how long lateral velocity and yaw rate stay away from a kinematic model's values"
    )
    initial_speed_std_mps: PositiveFloat = Field(
        default=10.0, description="of the forward speed, when only the pose is known"
    )
    initial_gyro_bias_std_radps: PositiveFloat = Field(
        default=0.02, le=1.0, description="of the gyroscope's bias, at the start"
    )
    gate_probability: PositiveFloat = Field(
        default=0.999, lt=1.0, description="share of good measurements that the gates let pass"
    )
    gate_patience_s: PositiveFloat = Field(
        default=1.0,
        description="uninterrupted rejection after which the filter is taken to be wrong, and follows the sensor; "
        "wheels are not followed while positions are believed",
    )
    check_patience_s: PositiveFloat = Field(
        default=1.0, description="how long the last position that was believed speaks against wheels, which may slip"
    )
    history_s: PositiveFloat = Field(default=1.0, le=10.0, description="oldest delayed measurement that is still used")
    outage_s: PositiveFloat = Field(
        default=0.25,
        le=10.0,
        description="silence of all sensors that ends an estimate: nothing is predicted further than that, and what "
        "comes after it starts the filter anew",
    )
    future_tolerance_s: NonNegativeFloat = Field(
        default=0.01, le=1.0, description="how far a stamp may lie ahead of its arrival"
    )
    command_timeout_s: PositiveFloat = Field(
        default=0.3, le=10.0, description="silence after which the actuators are taken to hold their state"
    )
    step_s: PositiveFloat = Field(default=0.01, le=0.1, description="longest step of the prediction")

    @model_validator(mode="after")
    def _follows_what_is_used(self) -> EstimatorSettings:
        if self.follow_sideways and not self.use_accelerometer:
            raise ValueError("follow_sideways wants use_accelerometer")
        return self
