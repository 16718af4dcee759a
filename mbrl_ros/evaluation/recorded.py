"""States and commands of a recording, as a planner beside the driver would have heard them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbrl_ros.core.angles import yaw_from_quaternion
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import STATE
from mbrl_ros.data.bag import message_types
from mbrl_ros.data.playback import COMMAND_TOPIC, STATE_TOPIC, Playback
from mbrl_ros.estimation.measurement import Measurement
from mbrl_ros.estimation.messages import (
    imu_message_measurements,
    planar_covariance,
    steering_measurement,
    wheel_measurement,
)
from mbrl_ros.estimation.state_estimator import StateEstimator

ESTIMATES_RATE_HZ = 100.0
"""Rate of estimates, as of the state estimator node."""

_FRAME = "odom"


@dataclass(frozen=True)
class Recorded:
    """What was heard, in the order of the stamps.

    Args:
        source: path of the recording.
        state_s: [N] stamps [s]; may repeat.
        state: [N, 8] core.layout.STATE of the centre of gravity.
        command_s: [M] stamps [s]; may repeat.
        command: [M, 2] what was really sent to the car: steering angle [rad], acceleration [m/s^2].
        notes: what was left out or made up, each a sentence.
    """

    source: str
    state_s: np.ndarray
    state: np.ndarray
    command_s: np.ndarray
    command: np.ndarray
    notes: tuple[str, ...]


def recorded(source: str, told: Playback, estimator: StateEstimator | None = None) -> Recorded:
    """States and commands that ``told`` plays.

    Args:
        source: path of the recording.
        told: from `data.playback.playback`.
        estimator: makes the states, from the sensors' messages; None takes the recorded ones.

    Raises:
        DataError: there are no states or no commands, or states are not of the centre of gravity.
    """
    commands: list[tuple[float, np.ndarray]] = []
    states: list[tuple[float, np.ndarray]] = []
    estimates = _Estimates(estimator, states) if estimator is not None else None
    store = message_types()
    for played in told.messages():
        heard = played.topic in (STATE_TOPIC, COMMAND_TOPIC) or (estimates is not None and played.topic in _SENSORS)
        if not heard:
            continue
        message = store.deserialize_cdr(played.data, told.types[played.topic])
        if played.topic == COMMAND_TOPIC:
            commands.append((_stamp_s(message), _action(message)))
        if estimates is not None:
            estimates.hear(played.topic, message, played.time_ns * 1e-9)
        elif played.topic == STATE_TOPIC:
            states.append((_stamp_s(message), _state(source, message)))
    if not states or not commands:
        missing = COMMAND_TOPIC if states else "state that could be estimated" if estimates else STATE_TOPIC
        raise DataError(f"{source}: holds no {missing}, so no planner can be compared with its driver")
    return Recorded(source, *_in_order(states), *_in_order(commands), told.notes)


class _Estimates:
    """Feeds an estimator with sensors' messages, in the order of their receipt, and keeps what it says."""

    def __init__(self, estimator: StateEstimator, states: list[tuple[float, np.ndarray]]) -> None:
        self._estimator, self._states = estimator, states
        self._next_s: float | None = None

    def hear(self, topic: str, message: Any, arrival_s: float) -> None:
        """Estimates up to the message's arrival, then the message."""
        self._next_s = arrival_s if self._next_s is None else self._next_s
        while self._next_s <= arrival_s:
            estimate = self._estimator.predict(self._next_s)
            if estimate is not None:
                self._states.append((estimate.stamp_s, estimate.mean[: len(STATE)]))
            self._next_s += 1.0 / ESTIMATES_RATE_HZ
        if topic == COMMAND_TOPIC:
            self._estimator.add_command(_stamp_s(message), _action(message), arrival_s)
            return
        for measurement in _SENSORS[topic](message, arrival_s):
            self._estimator.add(measurement)


def _pose(message: Any, arrival_s: float) -> list[Measurement]:
    if message.header.frame_id != _FRAME:
        raise DataError(f"/pose_fix is in frame '{message.header.frame_id}', the estimator works in '{_FRAME}'")
    position, turned = message.pose.pose.position, message.pose.pose.orientation
    yaw = yaw_from_quaternion(*(np.array(getattr(turned, axis)) for axis in "xyzw"))
    pose = np.array([position.x, position.y, float(yaw)])
    return [
        Measurement("pose", _stamp_s(message), arrival_s, pose, planar_covariance(np.asarray(message.pose.covariance)))
    ]


_SENSORS: Mapping[str, Callable[[Any, float], list[Measurement]]] = {
    "/wheel_odom": lambda message, arrival_s: [wheel_measurement(message, _stamp_s(message), arrival_s)],
    "/imu/data": lambda message, arrival_s: imu_message_measurements(message, _stamp_s(message), arrival_s),
    "/drive_feedback": lambda message, arrival_s: [steering_measurement(message, _stamp_s(message), arrival_s)],
    "/pose_fix": _pose,
}


def _stamp_s(message: Any) -> float:
    return float(message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec)


def _action(message: Any) -> np.ndarray:
    return np.array([message.drive.steering_angle, message.drive.acceleration], dtype=float)


def _state(source: str, message: Any) -> np.ndarray:
    if message.reference_point != "cg":
        raise DataError(
            f"{source}: {STATE_TOPIC} describes the {message.reference_point}, planners plan for the cg; record states "
            "of that"
        )
    return np.array([getattr(message, name) for name in STATE.names])


def _in_order(samples: list[tuple[float, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    stamps = np.array([stamp for stamp, _ in samples])
    order = np.argsort(stamps, kind="stable")
    return stamps[order], np.stack([values for _, values in samples])[order]
