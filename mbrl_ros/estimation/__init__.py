"""State estimation: a filter that predicts with a car model."""

from mbrl_ros.estimation.fusion import Outcome
from mbrl_ros.estimation.measurement import ESTIMATE, GYRO_BIAS, Measurement
from mbrl_ros.estimation.messages import (
    imu_measurements,
    imu_message_measurements,
    odometry_covariances,
    planar_covariance,
    steering_measurement,
    wheel_measurement,
)
from mbrl_ros.estimation.state_estimator import Estimate, StateEstimator

__all__ = [
    "ESTIMATE",
    "GYRO_BIAS",
    "Estimate",
    "Measurement",
    "Outcome",
    "StateEstimator",
    "imu_measurements",
    "imu_message_measurements",
    "odometry_covariances",
    "planar_covariance",
    "steering_measurement",
    "wheel_measurement",
]
