"""A drive whose truth is known, recorded in whatever way a test asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from scipy.integrate import cumulative_trapezoid

from mbrl_ros.core.layout import VX, YAW_RATE
from mbrl_ros.data import messages
from mbrl_ros.data.bag import message_types

START_NS = 1_700_000_000_000_000_000
ODOMETRY, IMU = "nav_msgs/msg/Odometry", "sensor_msgs/msg/Imu"
ACKERMANN, VEHICLE_STATE = "ackermann_msgs/msg/AckermannDriveStamped", "mbrl_ros/msg/VehicleState"


@dataclass
class Record:
    """One message and when it was received."""

    topic: str
    msgtype: str
    message: Any
    received_ns: int


@dataclass
class Course:
    """A car on a weaving course at 5 to 7 m/s, 50 Hz, and what it does at each sample."""

    count: int = 250
    dt: float = 0.02
    records: list[Record] = field(default_factory=list)

    @cached_property
    def stamps_ns(self) -> np.ndarray:
        return START_NS + (np.arange(self.count) * round(self.dt * 1e9)).astype(np.int64)

    @cached_property
    def states(self) -> np.ndarray:
        t = np.arange(self.count) * self.dt
        yaw, vx, vy = 3.0 + 0.4 * t, 6.0 + np.sin(t), 0.1 * np.sin(t)  # yaw crosses +pi
        x = cumulative_trapezoid(vx * np.cos(yaw) - vy * np.sin(yaw), t, initial=0)
        y = cumulative_trapezoid(vx * np.sin(yaw) + vy * np.cos(yaw), t, initial=0)
        states = np.stack([x, y, yaw, vx, vy, np.full_like(t, 0.4), 0.2 * np.cos(t), np.cos(t)], axis=1)
        states[:, 2] = (states[:, 2] + np.pi) % (2 * np.pi) - np.pi
        return states

    @cached_property
    def actions(self) -> np.ndarray:
        t = np.arange(self.count) * self.dt
        return np.stack([0.3 * np.sin(t), 0.5 * np.cos(2 * t)], axis=1)

    def add(self, topic: str, msgtype: str, make: Callable[[int, int], Any]) -> Course:
        """Record ``make(k, stamp_ns)`` at every sample; the receive time trails the stamp."""
        for k, stamp in enumerate(self.stamps_ns):
            self.records.append(Record(topic, msgtype, make(k, int(stamp)), int(stamp) + 3_000_000))
        return self

    def odom(self, topic: str = "/odom", **frames: str) -> Course:
        return self.add(topic, ODOMETRY, lambda k, t: messages.odometry(t, self.states[k], **frames))

    def imu(self, topic: str = "/imu", up: float = 9.81) -> Course:
        return self.add(topic, IMU, lambda k, t: messages.imu(t, self.states[k, YAW_RATE], (0, 0, up)))

    def feedback(self, topic: str = "/drive_feedback") -> Course:
        def make(k: int, t: int) -> Any:
            s = self.states[k]
            return messages.ackermann(t, s[6], speed=s[VX], acceleration=s[7])

        return self.add(topic, ACKERMANN, make)

    def drive(self, topic: str = "/drive", field_name: str = "acceleration") -> Course:
        def make(k: int, t: int) -> Any:
            u = self.actions[k]
            return messages.ackermann(t, u[0], **{field_name: u[1]})

        return self.add(topic, ACKERMANN, make)

    def vehicle_state(self, topic: str = "/vehicle_state") -> Course:
        return self.add(topic, VEHICLE_STATE, lambda k, t: messages.vehicle_state(t, self.states[k], "rear_axle"))

    def own(self) -> Course:
        """What ``mbrl drive --record`` writes."""
        return self.odom("/state").vehicle_state().drive().odom("/ground_truth")

    def topic(self, topic: str) -> list[Record]:
        return [record for record in self.records if record.topic == topic]


@pytest.fixture
def course() -> Course:
    return Course()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes records in one of the storages and answers with the path."""

    def write(records: Course | Iterable[Record], storage: str = "mcap", name: str = "bag") -> Path:
        listed = sorted(getattr(records, "records", records), key=lambda r: r.received_ns)
        if storage == "ros1":
            return _write_ros1(tmp_path / f"{name}.bag", listed)
        if storage == "split":
            return _write_split(tmp_path / name, listed)
        return _write(tmp_path / name, listed, storage)

    return write


STORAGES = {
    "mcap": (StoragePlugin.MCAP, CompressionMode.NONE),
    "mcap-chunks": (StoragePlugin.MCAP, CompressionMode.STORAGE),
    "mcap-messages": (StoragePlugin.MCAP, CompressionMode.MESSAGE),
    "mcap-file": (StoragePlugin.MCAP, CompressionMode.FILE),
    "sqlite3": (StoragePlugin.SQLITE3, CompressionMode.NONE),
    "sqlite3-messages": (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    "sqlite3-file": (StoragePlugin.SQLITE3, CompressionMode.FILE),
}


def _write(path: Path, records: list[Record], storage: str) -> Path:
    plugin, compression = STORAGES[storage]
    types = message_types()
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for r in records:
            if r.topic not in connections:
                connections[r.topic] = writer.add_connection(r.topic, r.msgtype, typestore=types)
            writer.write(connections[r.topic], r.received_ns, types.serialize_cdr(r.message, r.msgtype))
    return path


def _write_split(path: Path, records: list[Record]) -> Path:
    """Two storage files in one folder with one metadata.yaml, as ``ros2 bag record -d`` leaves them."""
    import yaml

    half = len(records) // 2
    parts = [
        _write(path.parent / f"{path.name}_{i}", part, "mcap")
        for i, part in enumerate((records[:half], records[half:]))
    ]
    path.mkdir()
    merged: dict[str, Any] = {}
    for part in parts:
        information = yaml.safe_load((part / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        for file in information["relative_file_paths"]:
            (part / file).rename(path / file)
        if not merged:
            merged = information
            continue
        merged["relative_file_paths"] += information["relative_file_paths"]
        merged["files"] += information["files"]
        merged["message_count"] += information["message_count"]
        merged["duration"]["nanoseconds"] = records[-1].received_ns - records[0].received_ns
        for mine, other in zip(
            merged["topics_with_message_count"], information["topics_with_message_count"], strict=True
        ):
            mine["message_count"] += other["message_count"]
    (path / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": merged}))
    return path


def _write_ros1(path: Path, records: list[Record]) -> Path:
    types = get_typestore(Stores.ROS1_NOETIC)
    types.register({n: d for n, d in message_types().fielddefs.items() if n.startswith("ackermann_msgs")})
    with Writer1(path) as writer:
        connections: dict[str, Any] = {}
        for r in records:
            if r.topic not in connections:
                connections[r.topic] = writer.add_connection(r.topic, r.msgtype, typestore=types)
            message = _as_ros1(r.message, types)
            writer.write(connections[r.topic], r.received_ns, types.serialize_ros1(message, r.msgtype))
    return path


def _as_ros1(value: Any, types: Any) -> Any:
    name = getattr(value, "__msgtype__", None)
    if name is None:
        return value
    fields = [f for f, _ in types.fielddefs[name][1]]
    return types.types[name](**{f: _as_ros1(getattr(value, f, 0), types) for f in fields})
