"""Messages of one topic as named columns over their header stamps, checked for values that cannot be true."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from mbrl_ros.core.angles import yaw_from_quaternion
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.mapped import blocks, let_go
from mbrl_ros.data.bag import message_types
from mbrl_ros.data.spool import Spool

OnBad = Literal["error", "drop"]
"""What to do with a message that cannot be true: refuse the recording, or leave the message out and count it."""

LARGEST: dict[str, float] = {
    "x": 2e7,
    "y": 2e7,
    "vx": 150.0,
    "vy": 150.0,
    "speed": 150.0,
    "yaw_rate": 50.0,
    "steering_angle": 1.6,
    "acceleration": 1000.0,
}
"""Magnitudes [SI] that no car reaches; x and y hold any UTM coordinate."""

_LARGEST_TILT_DEG = 45.0
_RUNS, _RUN = 100, 1000  # of messages that stand for all


@dataclass(frozen=True)
class Signals:
    """What one topic says, column by column.

    Args:
        topic: its name.
        msgtype: its type, ``package/msg/Name``.
        stamp_ns: [N] int64 header stamps [ns]; strictly increasing once `checked`.
        columns: [N] float64 each, SI, by name: state entries (core.layout.STATE), ``speed``, ``gravity_x|y|z``,
            and the orientation ``qx|qy|qz|qw`` that a yaw came from.
        frame_id: frame of the header.
        child_frame_id: frame of an Odometry's twist, else empty.
        reference_point: what a VehicleState says it describes, else empty.
        notes: what was left out, each a sentence.
    """

    topic: str
    msgtype: str
    stamp_ns: np.ndarray
    columns: dict[str, np.ndarray]
    frame_id: str = ""
    child_frame_id: str = ""
    reference_point: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.stamp_ns)

    def has(self, *names: str) -> bool:
        """Whether the topic carries every one of ``names``."""
        return all(name in self.columns for name in names)

    def filled(self, *names: str) -> bool:
        """Whether any of ``names`` is ever other than zero; a field that nobody fills stays there for ever."""
        return any(bool(part.columns[name].any()) for part in self.blocks() for name in names)

    def rows(self, rows: slice | np.ndarray) -> Signals:
        """Those messages alone."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return replace(self, stamp_ns=self.stamp_ns[rows], columns=columns)

    def blocks(self) -> Iterator[Signals]:
        """All messages, a block after another, none of which stays in memory."""
        for rows in blocks(len(self)):
            yield self.rows(rows)
            self.let_go()

    def around(self, first_ns: int, last_ns: int) -> Signals:
        """What says how it was from one instant to another: two messages before it and after it, too, if there are."""
        first, last = np.searchsorted(self.stamp_ns, (first_ns, last_ns))
        return self.rows(slice(max(int(first) - 2, 0), int(last) + 2))

    def sample(self) -> Signals:
        """Of many messages some, in runs that are evenly spread, in memory."""
        if len(self) <= _RUNS * _RUN:
            return self.rows(np.arange(len(self)))
        firsts = np.linspace(0, len(self) - _RUN, _RUNS).astype(int)
        return self.rows((firsts[:, None] + np.arange(_RUN)).ravel())

    def let_go(self) -> None:
        """Of what lies on disk keep nothing in memory."""
        let_go(self.stamp_ns, *self.columns.values())


Decoder = Callable[[Any], Sequence[float]]

QUATERNION = ("qx", "qy", "qz", "qw")
"""Columns of an orientation."""


def _pose(pose: Any) -> tuple[float, ...]:
    q = pose.orientation
    return pose.position.x, pose.position.y, q.x, q.y, q.z, q.w


def _twist(twist: Any) -> tuple[float, ...]:
    return twist.linear.x, twist.linear.y, twist.angular.z


def _imu(message: Any) -> tuple[float, ...]:
    a = message.linear_acceleration
    return message.angular_velocity.z, a.x, a.x, a.y, a.z


def _vehicle_state(m: Any) -> tuple[float, ...]:
    return m.x, m.y, m.yaw, m.vx, m.vy, m.yaw_rate, m.steering_angle, m.acceleration


_POSE = ("x", "y", *QUATERNION)
_TWIST = ("vx", "vy", "yaw_rate")

DECODERS: dict[str, tuple[tuple[str, ...], Decoder]] = {
    "nav_msgs/msg/Odometry": ((*_POSE, *_TWIST), lambda m: (*_pose(m.pose.pose), *_twist(m.twist.twist))),
    "geometry_msgs/msg/PoseStamped": (_POSE, lambda m: _pose(m.pose)),
    "geometry_msgs/msg/PoseWithCovarianceStamped": (_POSE, lambda m: _pose(m.pose.pose)),
    "geometry_msgs/msg/TwistStamped": (_TWIST, lambda m: _twist(m.twist)),
    "geometry_msgs/msg/TwistWithCovarianceStamped": (_TWIST, lambda m: _twist(m.twist.twist)),
    "sensor_msgs/msg/Imu": (("yaw_rate", "acceleration", "gravity_x", "gravity_y", "gravity_z"), _imu),
    "ackermann_msgs/msg/AckermannDriveStamped": (
        ("steering_angle", "speed", "acceleration"),
        lambda m: (m.drive.steering_angle, m.drive.speed, m.drive.acceleration),
    ),
    "mbrl_ros/msg/VehicleState": (
        ("x", "y", "yaw", *_TWIST, "steering_angle", "acceleration"),
        _vehicle_state,
    ),
}
"""Readable message types: the columns each gives, and how."""

_IMU_COVARIANCES = {
    "angular_velocity_covariance": ("yaw_rate",),
    "linear_acceleration_covariance": ("acceleration", "gravity_x", "gravity_y", "gravity_z"),
}
"""What an Imu does not measure where such a field begins with -1 (its message definition)."""


def read_signals(reader: AnyReader) -> dict[str, Signals]:
    """Columns of every topic of a readable type in an open recording, by topic, as they were recorded.

    What an Imu says that it does not measure (a covariance that begins with -1) is no column.

    Raises:
        DataError: a message cannot be decoded.
    """
    connections = [c for c in reader.connections if c.msgtype in DECODERS]
    rows = {c.topic: Spool(len(DECODERS[c.msgtype][0]), np.float64) for c in connections}
    stamps = {c.topic: Spool(1, np.int64) for c in connections}
    newest: dict[str, Any] = {}
    decoders = {c.topic: DECODERS[c.msgtype][1] for c in connections}
    for connection, message in _messages(reader, connections):
        topic = connection.topic
        stamp = message.header.stamp
        stamps[topic].add((stamp.sec * 1_000_000_000 + stamp.nanosec,))
        rows[topic].add(decoders[topic](message))
        newest[topic] = message
    result = {}
    for connection in connections:
        topic = connection.topic
        if topic in result or not len(rows[topic]):
            continue
        columns = dict(zip(DECODERS[connection.msgtype][0], rows[topic].array().T, strict=True))
        for name in _not_measured(newest[topic]):
            del columns[name]
        if set(QUATERNION) <= set(columns):
            columns["yaw"] = _yaw([columns[name] for name in QUATERNION])
        result[topic] = Signals(
            topic,
            connection.msgtype,
            stamps[topic].array()[:, 0],
            columns,
            newest[topic].header.frame_id,
            getattr(newest[topic], "child_frame_id", ""),
            getattr(newest[topic], "reference_point", ""),
        )
    return result


def _yaw(quaternion: Sequence[np.ndarray]) -> np.ndarray:
    """[N] heading [rad]."""
    spool = Spool(1, np.float64)
    for rows in blocks(len(quaternion[0])):
        spool.extend(np.asarray(yaw_from_quaternion(*(entry[rows] for entry in quaternion)))[:, None])
        let_go(*quaternion)
    return spool.array()[:, 0]


def _not_measured(message: Any) -> list[str]:
    """Columns of an Imu's `message` that it says it has no measurement for, of other messages none."""
    return [
        name
        for covariance, names in _IMU_COVARIANCES.items()
        if getattr(message, covariance, (0.0,))[0] == -1.0
        for name in names
    ]


def _messages(reader: AnyReader, connections: Sequence[Connection]) -> Iterator[tuple[Connection, Any]]:
    """Decoded messages in the order in which they were received."""
    where = "the beginning"
    raw_messages = reader.messages(connections) if connections else iter(())
    while True:
        try:
            connection, received_ns, raw = next(raw_messages)
            where = f"topic '{connection.topic}' at {received_ns * 1e-9:.3f} s (received)"
            if connection.msgtype in reader.typestore.fielddefs:
                message = reader.deserialize(raw, connection.msgtype)
            else:
                message = message_types().deserialize_cdr(raw, connection.msgtype)
        except StopIteration:
            return
        except Exception as error:  # decompressors and decoders raise types of their own
            raise DataError(f"{reader.paths[0]}: damaged at or after {where}: {error}") from error
        yield connection, message


def checked(signals: Signals, on_bad: OnBad = "error") -> Signals:
    """The same without messages that cannot be true.

    Raises:
        DataError: a message has a zero, repeated or backward stamp, or one that lies ahead of those that follow, a
            value that is not finite or beyond ``LARGEST``, or a quaternion that is none (with ``on_bad="drop"`` such
            messages are left out and counted in ``notes``); or nothing usable is left.
    """
    bad = np.zeros(0 if _faultless(signals) else len(signals), dtype=bool)
    notes: list[str] = []
    for what, rows in _faults(signals) if len(bad) else []:
        new = rows & ~bad
        if not new.any():
            continue
        first = int(np.flatnonzero(new)[0])
        when = f"{signals.stamp_ns[first] * 1e-9:.3f} s (message {first})"
        if on_bad == "error":
            raise DataError(
                f"topic '{signals.topic}' at {when}: {what}; {int(new.sum())} of {len(signals)} messages are so; "
                "leave them out with on_bad='drop' (--on-bad drop), or choose another topic"
            )
        notes.append(f"{signals.topic}: left out {int(new.sum())} of {len(signals)} messages, {what}, first at {when}")
        bad |= new
    usable = len(signals) - int(bad.sum())
    if usable < 2:
        raise DataError(f"topic '{signals.topic}': {usable} usable messages of {len(signals)}; {notes}")
    if bad.any():
        signals = _only(signals, ~bad)
    if signals.has(*QUATERNION):
        some = signals.sample().columns
        upright = np.median(1 - 2 * (some["qx"] ** 2 + some["qy"] ** 2))
        signals.let_go()
        tilt = np.degrees(np.arccos(np.clip(upright, -1.0, 1.0)))
        if tilt > _LARGEST_TILT_DEG:
            notes.append(
                f"{signals.topic}: its frame is tilted by {tilt:.0f} degrees (median), so its yaw is no heading "
                "and its x no forward; REP-103 wants x forward, y left, z up"
            )
    return replace(signals, notes=tuple(notes))


def _only(signals: Signals, keep: np.ndarray) -> Signals:
    """The messages at ``keep`` [N] bool, on disk as all of them were."""
    stamps, values = Spool(1, np.int64), Spool(len(signals.columns), np.float64)
    for rows in blocks(len(signals)):
        part = signals.rows(rows).rows(keep[rows])
        stamps.extend(part.stamp_ns[:, None])
        values.extend(np.stack(list(part.columns.values()), axis=1))
        signals.let_go()
    columns = dict(zip(signals.columns, values.array().T, strict=True))
    return replace(signals, stamp_ns=stamps.array()[:, 0], columns=columns)


def _faultless(signals: Signals) -> bool:
    """Whether no message has a fault, found out in little memory."""
    newest = 0
    for part in signals.blocks():
        rising = part.stamp_ns[0] > newest and bool((np.diff(part.stamp_ns) > 0).all())
        if not rising or any(rows.any() for _, rows in _bad_values(part)):
            return False
        newest = int(part.stamp_ns[-1])
    return True


def _faults(signals: Signals) -> list[tuple[str, np.ndarray]]:
    """Each kind of fault with the [N] bool rows that have it."""
    faults = [("the header stamp is zero", signals.stamp_ns == 0), *_bad_values(signals)]
    usable = ~np.any([rows for _, rows in faults], axis=0)
    stamps = signals.stamp_ns
    rising = np.zeros(len(stamps), dtype=bool)
    rising[np.flatnonzero(usable)[_rising(stamps[usable])]] = True
    before = np.maximum.accumulate(np.where(rising, stamps, 0))
    faults.append(("the stamp repeats", usable & ~rising & (stamps == before)))
    faults.append(("the stamp goes backwards", usable & ~rising & (stamps < before)))
    faults.append(("the stamp lies ahead of those that follow", usable & ~rising & (stamps > before)))
    return faults


def _bad_values(signals: Signals) -> list[tuple[str, np.ndarray]]:
    """Each kind of value that cannot be true with the [N] bool rows that have it."""
    faults = []
    for name, column in signals.columns.items():
        faults.append((f"{name} is not finite", ~np.isfinite(column)))
        if name in LARGEST:
            absurd = np.abs(column) > LARGEST[name]
            faults.append((f"{name} = {column[absurd][0]:.4g} is absurd" if absurd.any() else "", absurd))
    if signals.has(*QUATERNION):
        norm = np.sqrt(sum(signals.columns[name] ** 2 for name in QUATERNION))
        faults.append(("the orientation is no unit quaternion", np.abs(norm - 1) > 0.01))
    return faults


def _rising(stamps: np.ndarray) -> np.ndarray:
    """Indices of a longest strictly increasing part of ``stamps`` [N], of equally long ones the earliest.

    So a single stamp that lies far ahead is one fault, not one for every message after it (patience sorting; Fredman
    1975), run from the end.
    """
    if (np.diff(stamps) > 0).all():
        return np.arange(len(stamps))
    tails, ends = array("q"), array("q")
    following = np.full(len(stamps), -1)
    for index in range(len(stamps) - 1, -1, -1):
        place = bisect_left(tails, -int(stamps[index]))
        following[index] = ends[place - 1] if place else -1
        tails[place : place + 1] = array("q", [-int(stamps[index])])
        ends[place : place + 1] = array("q", [index])
    kept = [ends[-1]]
    while following[kept[-1]] >= 0:
        kept.append(int(following[kept[-1]]))
    return np.array(kept)
