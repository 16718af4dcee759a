"""A drive in one process, recorded as that of the graph is: doctor, fit and train read it like any other."""

from __future__ import annotations

import numpy as np

from mbrl_ros.core.command_gate import Command
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.simulation.sensors import Reading

TRUE_STATE = "/ground_truth/state"

_ODOMETRY, _STATE = "nav_msgs/msg/Odometry", "mbrl_ros/msg/VehicleState"
_IMU, _ACKERMANN = "sensor_msgs/msg/Imu", "ackermann_msgs/msg/AckermannDriveStamped"


class DriveRecorder:
    """Writes what `evaluation.closed_loop.ClosedLoop` does, under the topics and stamps of the real graph.

    Args:
        bag: where to.
    """

    def __init__(self, bag: BagWriter) -> None:
        self._bag = bag

    def command(self, stamp_s: float, sent: Command) -> None:
        """What went to the car."""
        stamp_ns = _nanoseconds(stamp_s)
        message = messages.ackermann(
            stamp_ns, sent.steering_angle_rad, speed=sent.speed_mps, acceleration=sent.acceleration_mps2
        )
        self._bag.write("/drive", _ACKERMANN, message, stamp_ns)

    def reading(self, reading: Reading) -> None:
        """A sensor's message, at its arrival; those that only the estimator reads are left out."""
        stamp_ns, arrival_ns = _nanoseconds(reading.stamp_s), _nanoseconds(reading.arrival_s)
        if reading.sensor == "imu":
            yaw_rate, *force = map(float, reading.values)
            message = messages.imu(stamp_ns, yaw_rate, (force[0], force[1], force[2]))
            self._bag.write("/imu/data", _IMU, message, arrival_ns)
        elif reading.sensor == "steering":
            message = messages.ackermann(stamp_ns, float(reading.values[0]))
            self._bag.write("/drive_feedback", _ACKERMANN, message, arrival_ns)

    def estimate(self, stamp_s: float, state: np.ndarray) -> None:
        """The estimator's state [8]."""
        stamp_ns = _nanoseconds(stamp_s)
        self._bag.write("/vehicle_state", _STATE, messages.vehicle_state(stamp_ns, state), stamp_ns)

    def truth(self, stamp_s: float, state: np.ndarray) -> None:
        """The true state [8]; with its actuators, which an Odometry does not hold, on a topic of its own."""
        stamp_ns = _nanoseconds(stamp_s)
        self._bag.write("/ground_truth", _ODOMETRY, messages.odometry(stamp_ns, state), stamp_ns)
        self._bag.write(TRUE_STATE, _STATE, messages.vehicle_state(stamp_ns, state), stamp_ns)


def _nanoseconds(time_s: float) -> int:
    return round(time_s * 1e9)
