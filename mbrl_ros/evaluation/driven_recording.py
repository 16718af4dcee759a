"""The last seconds driven, kept as a recording that every command reads."""

from __future__ import annotations

from pathlib import Path

from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.evaluation.driven import SENT, Driven

_COMMAND_EVERY_S = 0.05  # readers take a command for lost that is not said again


def record(driven: Driven, path: Path) -> None:
    """Write ``driven`` to a new rosbag2 folder, as ``/vehicle_state`` and ``/drive``.

    Raises:
        DataError: ``path`` is there already, or nothing was driven.
    """
    names = {"steering_command": "steering_angle", "acceleration_command": "acceleration", "speed_command": "speed"}
    with BagWriter(path) as bag:
        for stamp_s, action in driven.commands(_COMMAND_EVERY_S):
            if stamp_s <= 0.0:  # which means "not set" in a recording
                continue
            fields = {names[name]: value for name, value in zip(SENT, action, strict=True)}
            command = messages.ackermann(_nanoseconds(stamp_s), **fields)
            bag.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, _nanoseconds(stamp_s))
        for stamp_s, state in zip(*driven.states(), strict=True):
            if stamp_s <= 0.0:
                continue
            message = messages.vehicle_state(_nanoseconds(stamp_s), state)
            bag.write("/vehicle_state", "mbrl_ros/msg/VehicleState", message, _nanoseconds(stamp_s))


def _nanoseconds(time_s: float) -> int:
    return round(time_s * 1e9)
