"""A clean recording of a simulated car, and copies of it with faults planted message by message."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.layout import STEERING_ANGLE, VX
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import messages
from mbrl_ros.data.bag import message_types, open_bag
from mbrl_ros.data.doctor import Diagnosis
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.simulation.simulator import Simulator

ROOT = Path(__file__).resolve().parents[3]
START_S, SECONDS, DT = 1_700_000_000.0, 30.0, 0.02
ODOMETRY, IMU = "nav_msgs/msg/Odometry", "sensor_msgs/msg/Imu"
ACKERMANN = "ackermann_msgs/msg/AckermannDriveStamped"

Plant = Callable[[str, int, Any, int], "tuple[Any, int] | None"]
"""(topic, place among its messages, message, time of receipt) -> what is recorded instead, None for nothing."""


def _smooth(rng: np.random.Generator, times: np.ndarray, hold_s: float) -> np.ndarray:
    knots = np.arange(0.0, times[-1] + 2 * hold_s, hold_s)
    return np.interp(times, knots, rng.uniform(-1, 1, len(knots)))


def drive_car(path: Path, seed: int = 0) -> Path:
    """A simulated BMW, weaving to both sides at 5 to 15 m/s, its sensors as noisy and as late as they are."""
    vehicle = read_settings(ROOT / "config" / "vehicles" / "bmw_320i.yaml", Vehicle)
    rng = np.random.default_rng(seed)
    car = Simulator(vehicle, seed=seed, start_s=START_S)
    car.set_pose(10.0, -20.0, 2.0, 10.0)
    times = np.arange(round(SECONDS / DT)) * DT
    wanted = 10.0 + 5.0 * _smooth(rng, times, 3.0)
    steering = 0.1 * (11.0 / wanted) ** 1.5 * _smooth(rng, times, 0.8)
    with BagWriter(path) as bag:
        for k, now in enumerate(START_S + times):
            truth = car.truth()
            stamp = round(now * 1e9)
            acceleration = float(np.clip(2.0 * (wanted[k] - truth[VX]), -4.0, 3.0))
            if k % 2 == 0:
                car.command(now, steering[k], acceleration=acceleration)
                command = messages.ackermann(stamp, steering[k], acceleration=acceleration)
                bag.write("/drive", ACKERMANN, command, stamp)
            noisy = truth + rng.normal(size=8) * [0.02, 0.02, 0.002, 0.03, 0.02, 0.004, 0.002, 0.05]
            received = stamp + round(abs(rng.normal(0.004, 0.0005)) * 1e9)
            bag.write("/odom", ODOMETRY, messages.odometry(stamp, noisy), received)
            feedback = messages.ackermann(stamp, noisy[STEERING_ANGLE], speed=noisy[VX], acceleration=noisy[7])
            bag.write("/drive_feedback", ACKERMANN, feedback, received)
            for reading in [r for r in car.advance(now + DT) if r.sensor == "imu"][:1]:  # one of two
                yaw_rate, *force = reading.values
                message = messages.imu(round(reading.stamp_s * 1e9), float(yaw_rate), tuple(force))
                bag.write("/imu/data", IMU, message, round(reading.arrival_s * 1e9))
    return path


def copy_with(source: Path, target: Path, plant: Plant, topics: tuple[str, ...]) -> Path:
    """``source`` with ``plant`` applied to every message of ``topics``."""
    types = message_types()
    places = {topic: count() for topic in topics}
    with open_bag(source) as reader, BagWriter(target) as writer:
        for connection, received_ns, raw in reader.messages():
            if connection.topic not in topics:
                writer.write(connection.topic, connection.msgtype, bytes(raw), received_ns)
                continue
            message = types.deserialize_cdr(raw, connection.msgtype)
            planted = plant(connection.topic, next(places[connection.topic]), message, received_ns)
            if planted is not None:
                writer.write(connection.topic, connection.msgtype, *planted)
    return target


def serious(diagnosis: Diagnosis) -> set[tuple[str, str]]:
    """Check and topic of the findings that are more than good to know."""
    return {(finding.check, finding.topic) for finding in diagnosis.findings if finding.severity != "info"}
