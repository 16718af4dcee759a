"""A recording as it is, broken or not: every message counted, every readable field kept, nothing refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys.store import Typestore

from mbrl_ros.core.angles import yaw_from_quaternion
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ReferencePoint
from mbrl_ros.data.bag import message_types, open_bag
from mbrl_ros.data.doctor.motion import Motion
from mbrl_ros.data.doctor.order import in_order
from mbrl_ros.data.doctor.spans import Trace
from mbrl_ros.data.signals import DECODERS, LARGEST, QUATERNION, Decoder, Signals
from mbrl_ros.data.topics import TopicMapping, feeds

_HEADER = "std_msgs/msg/Header"
_FEWEST, _SHORTEST_S, _UPRIGHT_DEG = 50, 5.0, 45.0
_BEYOND_UNITS = 100.0  # times


def _filled(covariance: Any) -> float:
    return float(np.any(covariance))


def _imu_extra(m: Any) -> tuple[float, ...]:
    q = m.orientation
    filled = [_filled(m.angular_velocity_covariance), _filled(m.linear_acceleration_covariance)]
    return m.angular_velocity.x, m.angular_velocity.y, q.x, q.y, q.z, q.w, *filled


_EXTRA: dict[str, tuple[tuple[str, ...], Decoder]] = {
    "nav_msgs/msg/Odometry": (
        ("z", "vz", "pose_covariance", "twist_covariance"),
        lambda m: (
            m.pose.pose.position.z,
            m.twist.twist.linear.z,
            _filled(m.pose.covariance),
            _filled(m.twist.covariance),
        ),
    ),
    "geometry_msgs/msg/PoseWithCovarianceStamped": (("pose_covariance",), lambda m: (_filled(m.pose.covariance),)),
    "geometry_msgs/msg/TwistWithCovarianceStamped": (("twist_covariance",), lambda m: (_filled(m.twist.covariance),)),
    "sensor_msgs/msg/Imu": (
        ("gyro_x", "gyro_y", "imu_qx", "imu_qy", "imu_qz", "imu_qw", "gyro_covariance", "acceleration_covariance"),
        _imu_extra,
    ),
}
"""Fields that only the doctor looks at, beside those of data.signals.DECODERS."""


@dataclass(frozen=True, eq=False)
class TopicLog:
    """Everything that was recorded of one topic, in the order of receipt.

    Args:
        topic: its name.
        msgtype: its type, ``package/msg/Name``.
        received_ns: [N] int64 when the recorder got each message [ns].
        stamp_ns: [N] int64 header stamps [ns]; empty where the type has no header.
        columns: [N] float64 each, by name; NaN where a message cannot be decoded; empty for unreadable types.
        undecodable: [N] bool.
        frame_id: of the newest header.
        child_frame_id: of an Odometry's twist, else empty.
        reference_point: what a VehicleState says it describes, else empty.
    """

    topic: str
    msgtype: str
    received_ns: np.ndarray
    stamp_ns: np.ndarray
    columns: dict[str, np.ndarray]
    undecodable: np.ndarray
    frame_id: str = ""
    child_frame_id: str = ""
    reference_point: str = ""

    def __len__(self) -> int:
        return len(self.received_ns)

    @property
    def stamped(self) -> bool:
        """Whether the messages have header stamps, and any of them is set."""
        return bool(np.any(self.stamp_ns))

    @cached_property
    def bad_values(self) -> dict[str, np.ndarray]:
        """[N] bool rows whose values cannot be true, by what is wrong with them.

        A magnitude that no car reaches is a glitch where it stands out from its neighbours in time, or is beyond any
        unit; otherwise it is another unit, and kept.
        """
        found = {}
        for name in DECODERS[self.msgtype][0] if self.columns else ():
            column = self.columns[name]
            found[f"{name} is not finite"] = ~np.isfinite(column) & ~self.undecodable
            if name in LARGEST:
                found[f"{name} is beyond {LARGEST[name]:g}"] = _glitches(column, LARGEST[name])
        if set(QUATERNION) <= set(self.columns):
            norm = np.sqrt(sum(self.columns[name] ** 2 for name in QUATERNION))
            found["the orientation is no unit quaternion"] = np.abs(norm - 1) > 0.01
        return {what: rows for what, rows in found.items() if rows.any()}

    @cached_property
    def usable(self) -> np.ndarray:
        """[N] bool: rows with values that can be true and stamps in order."""
        if not self.stamped:
            return np.zeros(len(self), dtype=bool)
        fine = ~self.undecodable & (self.stamp_ns != 0)
        for rows in self.bad_values.values():
            fine &= ~rows
        return in_order(self.stamp_ns, fine)

    def signals(self) -> Signals | None:
        """The usable rows, None where there are too few to say anything."""
        rows = self.usable
        if not self.columns or rows.sum() < 2:
            return None
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Signals(
            self.topic,
            self.msgtype,
            self.stamp_ns[rows],
            columns,
            self.frame_id,
            self.child_frame_id,
            self.reference_point,
        )


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording and what feeds what in it.

    Args:
        path: where it is.
        topics: every topic, by name.
        sources: the topic that each quantity of data.topics.QUANTITIES is read from.
        notes: what was passed over in that choice.
        damage: why reading ended early, empty where it did not.
        unclear: why a quantity has no source though several topics give it, empty where that is not so.
        wheelbase_m: told by the user, None where it is not known.
        reference_point: told by the user, None where it is not known.
        signals: the usable rows of every topic that can be read.
        listed: messages of each topic that the recording says it holds.
    """

    path: Path
    topics: dict[str, TopicLog]
    sources: dict[str, Signals]
    notes: tuple[str, ...] = ()
    damage: str = ""
    unclear: str = ""
    wheelbase_m: float | None = None
    reference_point: ReferencePoint | None = None
    signals: dict[str, Signals] = field(default_factory=dict)
    listed: dict[str, int] = field(default_factory=dict)

    @cached_property
    def origin_ns(self) -> int:
        """The first usable stamp [ns]: times in seconds count from here."""
        return min((int(s.stamp_ns[0]) for s in self.signals.values()), default=0)

    def time_s(self, signals: Signals) -> np.ndarray:
        """[N] stamps from ``origin_ns`` on [s]."""
        return np.asarray((signals.stamp_ns - self.origin_ns) * 1e-9)

    def trace(self, signals: Signals, *names: str) -> Trace:
        """Columns of a topic over the recording's seconds; commands are held."""
        held = signals is self.sources.get("command")
        return Trace(self.time_s(signals), np.stack([signals.columns[name] for name in names], axis=1), held)

    def motion_by(self, signals: Signals) -> Motion | None:
        """How the car moved by the poses of one topic; None where they last for less than a few seconds."""
        time_s, column = self.time_s(signals), signals.columns
        if len(time_s) < _FEWEST or time_s[-1] - time_s[0] < _SHORTEST_S or self.tilt_deg(signals) > _UPRIGHT_DEG:
            return None
        return Motion.by(signals.topic, time_s, column["x"], column["y"], column["yaw"])

    def tilt_deg(self, signals: Signals) -> float:
        """Median angle between a pose's z axis and the vertical [deg]; 0 where the type has none."""
        if not signals.has(*QUATERNION):
            return 0.0
        upright = np.median(1 - 2 * (signals.columns["qx"] ** 2 + signals.columns["qy"] ** 2))
        return float(np.degrees(np.arccos(np.clip(upright, -1.0, 1.0))))

    @cached_property
    def motion(self) -> Motion | None:
        """How the car moved by the pose that predictions are held to; None where there is no usable pose."""
        return self.motion_by(self.sources["pose"]) if "pose" in self.sources else None

    @property
    def measured(self) -> list[Signals]:
        """Topics of measurements: no commands, no ground truth of a simulator."""
        command = self.sources.get("command")
        return [s for s in self.signals.values() if s is not command and "ground_truth" not in s.topic]

    def used(self, topic: str) -> bool:
        """Whether any quantity is read from ``topic``."""
        return any(s.topic == topic for s in self.sources.values())

    def feeds(self, topic: str) -> list[str]:
        """The quantities that are read from ``topic``."""
        return [quantity for quantity, s in self.sources.items() if s.topic == topic]


def read_recording(
    path: str | Path,
    mapping: TopicMapping | None = None,
    wheelbase_m: float | None = None,
    reference_point: ReferencePoint | None = None,
) -> Recording:
    """Everything that can be read of a recording.

    Args:
        path: rosbag2 folder or storage file, or ROS 1 ``.bag``.
        mapping: topics by quantity, chosen by content where it says nothing.
        wheelbase_m: of the car, where it is known.
        reference_point: that the poses describe, where it is known.

    Raises:
        DataError: nothing is there, it cannot be opened, it holds no messages, or a topic that was asked for is not
            in it.
    """
    mapping = mapping or TopicMapping()
    with open_bag(path) as reader:
        listed = Counter[str]()
        for connection in reader.connections:
            listed[connection.topic] += connection.msgcount
        topics, damage = _read(reader)
    if not topics:
        raise DataError(f"{path}: holds no readable message" + (f": {damage}" if damage else ""))
    signals = {topic: s for topic, log in topics.items() if (s := log.signals()) is not None}
    unclear = ""
    try:
        sources, notes = feeds(signals, mapping, str(path))
    except DataError as error:
        if mapping.command is not None:
            raise
        sources, notes = feeds(signals, mapping.model_copy(update={"command": "none"}), str(path))
        unclear = str(error)
    return Recording(
        Path(path), topics, sources, tuple(notes), damage, unclear, wheelbase_m, reference_point, signals, listed
    )


def _glitches(column: np.ndarray, largest: float) -> np.ndarray:
    """[N] bool: values beyond ``largest`` that are alone in it."""
    size = np.abs(column)
    absurd = size > largest
    if not absurd.any():
        return absurd
    around = np.lib.stride_tricks.sliding_window_view(np.pad(np.nan_to_num(column), 2, mode="edge"), 5)
    alone = np.abs(column - np.median(around, axis=1)) > size / 2
    return absurd & (alone | (size > _BEYOND_UNITS * largest))


@dataclass
class _Rows:
    msgtype: str
    received_ns: list[int] = field(default_factory=list)
    stamp_ns: list[int] = field(default_factory=list)
    values: list[Sequence[float] | None] = field(default_factory=list)
    newest: Any = None


def _read(reader: AnyReader) -> tuple[dict[str, TopicLog], str]:
    """Every topic, and why reading ended early."""
    rows: dict[str, _Rows] = {}
    damage = ""
    messages = reader.messages()
    while True:
        try:
            connection, received_ns, raw = next(messages)
        except StopIteration:
            break
        except Exception as error:  # decompressors raise types of their own
            damage = f"{type(error).__name__}: {error}"
            break
        row = rows.setdefault(connection.topic, _Rows(connection.msgtype))
        row.received_ns.append(received_ns)
        types = types_of(reader, connection.msgtype)
        if types is None or not _has_header(types, connection.msgtype):
            continue
        try:
            message = decode(reader, raw, connection.msgtype)
            values = _values(connection.msgtype, message)
        except Exception:  # decoders raise types of their own
            row.stamp_ns.append(0)
            row.values.append(None)
            continue
        stamp = message.header.stamp
        row.stamp_ns.append(stamp.sec * 1_000_000_000 + stamp.nanosec)
        row.values.append(values)
        row.newest = message
    return {topic: _log(topic, r) for topic, r in rows.items()}, damage


def types_of(reader: AnyReader, msgtype: str) -> Typestore | None:
    """The store that knows ``msgtype``: the recording's own definitions, or this package's, or None."""
    stores = (reader.typestore, message_types())
    return next((store for store in stores if msgtype in store.fielddefs), None)


def decode(reader: AnyReader, raw: bytes, msgtype: str) -> Any:
    """A message of a type that `types_of` knows."""
    if msgtype in reader.typestore.fielddefs:
        return reader.deserialize(raw, msgtype)
    return message_types().deserialize_cdr(raw, msgtype)


def _has_header(types: Typestore, msgtype: str) -> bool:
    fields = types.fielddefs[msgtype][1]
    return bool(fields) and fields[0][0] == "header" and fields[0][1][1] == _HEADER


def _values(msgtype: str, message: Any) -> Sequence[float]:
    return [value for _, decoder in _decoders(msgtype) for value in decoder(message)]


def _decoders(msgtype: str) -> list[tuple[tuple[str, ...], Callable[[Any], Sequence[float]]]]:
    return [table[msgtype] for table in (DECODERS, _EXTRA) if msgtype in table]


def _log(topic: str, rows: _Rows) -> TopicLog:
    names = [name for columns, _ in _decoders(rows.msgtype) for name in columns]
    missing = [np.nan] * len(names)
    columns: dict[str, np.ndarray] = {}
    if names and rows.values:
        table = np.array([missing if v is None else v for v in rows.values], dtype=float)
        columns = dict(zip(names, table.T, strict=True))
        if set(QUATERNION) <= set(columns):
            columns["yaw"] = np.asarray(yaw_from_quaternion(*(columns[name] for name in QUATERNION)))
    count = len(rows.received_ns)
    return TopicLog(
        topic,
        rows.msgtype,
        np.asarray(rows.received_ns, dtype=np.int64),
        np.asarray(rows.stamp_ns, dtype=np.int64),
        columns,
        np.array([v is None for v in rows.values] if rows.values else [False] * count, dtype=bool),
        getattr(getattr(rows.newest, "header", None), "frame_id", ""),
        getattr(rows.newest, "child_frame_id", ""),
        getattr(rows.newest, "reference_point", ""),
    )
