"""Recordings as messages to be played again: as they were recorded, or made from what the reader makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS, STATE
from mbrl_ros.core.recording import Drive
from mbrl_ros.data import messages
from mbrl_ros.data.bag import message_types, open_bag
from mbrl_ros.data.drives import read_drive
from mbrl_ros.data.topics import TopicMapping

STATE_TOPIC, COMMAND_TOPIC = "/vehicle_state", "/drive"
SENSOR_TOPICS = ("/wheel_odom", "/pose_fix")
"""What the state estimator cannot do without."""

_STATE_TYPE, _COMMAND_TYPE = "mbrl_ros/msg/VehicleState", "ackermann_msgs/msg/AckermannDriveStamped"
_ESTIMATES = (STATE_TOPIC, "/state")
_OF_THE_GRAPH = ("/clock", "/rosout", "/parameter_events", "/diagnostics")
_OF_THE_SERVER = "/dynamics_server/"
_TRANSIENT_LOCAL = 1


@dataclass(frozen=True)
class Message:
    """A message in CDR, and when it is to be published [ns]."""

    time_ns: int
    topic: str
    data: bytes


@dataclass(frozen=True)
class Playback:
    """What is to be played.

    Args:
        types: message type by topic.
        start_ns, end_ns: when the first and the last message were received [ns].
        messages: gives them all, in the order of their receipt.
        latched: topics whose last message is kept for those who come late.
        notes: what was left out or made up, each a sentence.
    """

    types: Mapping[str, str]
    start_ns: int
    end_ns: int
    messages: Callable[[], Iterator[Message]]
    latched: frozenset[str] = field(default_factory=frozenset)
    notes: tuple[str, ...] = ()


def playback(path: str | Path, mapping: TopicMapping | None = None, *, estimate: bool = False) -> Playback:
    """What to play of the recording at ``path`` to nodes that want ``/vehicle_state`` and ``/drive``.

    A recording that has both is played as it is, without what the nodes of a replay publish
    themselves. Of any other, `read_drive` makes states and actions: one ``/vehicle_state`` and one ``/drive`` per row.

    Args:
        path: rosbag2 folder or storage file, or ROS 1 ``.bag``.
        mapping: topics by quantity, where states have to be made.
        estimate: leave recorded estimates out, because a state estimator is run on the recorded sensors.

    Raises:
        DataError: the recording cannot be read, lacks what is wanted, or commands no acceleration.
    """
    with open_bag(path) as reader:
        recorded = {c.topic: c.msgtype for c in reader.connections} if reader.is2 else {}
    missing = [topic for topic in SENSOR_TOPICS if topic not in recorded]
    if estimate and missing:
        raise DataError(f"{path}: records no {', '.join(missing)}, so no state can be estimated; replay it without")
    if estimate or (recorded.get(STATE_TOPIC) == _STATE_TYPE and COMMAND_TOPIC in recorded):
        return _recorded(path, _ESTIMATES if estimate else ())
    return _made(read_drive(path, mapping))


def _recorded(path: str | Path, left_out: tuple[str, ...]) -> Playback:
    """Everything but ``left_out``, and types that are unknown here or were other ones then."""
    known, notes = message_types().fielddefs, []
    with open_bag(path) as reader:
        played: dict[str, str] = {}
        latched = set()
        for connection in reader.connections:
            topic, msgtype = connection.topic, connection.msgtype
            if topic in (*_OF_THE_GRAPH, *left_out) or topic.startswith(_OF_THE_SERVER):
                continue
            if msgtype not in known or reader.typestore.fielddefs.get(msgtype, known[msgtype]) != known[msgtype]:
                notes.append(f"{topic} is not played: {msgtype} is not known here, or was another type then")
                continue
            played[topic] = msgtype
            if any(_durability(qos) == _TRANSIENT_LOCAL for qos in getattr(connection.ext, "offered_qos_profiles", ())):
                latched.add(topic)
        start_ns, end_ns = reader.start_time, reader.end_time

    def every() -> Iterator[Message]:
        with open_bag(path) as reader:
            for connection, time_ns, data in reader.messages([c for c in reader.connections if c.topic in played]):
                yield Message(time_ns, connection.topic, bytes(data))

    return Playback(played, start_ns, end_ns, every, frozenset(latched), tuple(dict.fromkeys(notes)))


def _durability(qos: Any) -> int:
    return int(qos.durability.value)


def _made(drive: Drive) -> Playback:
    """States and actions of ``drive``; what is not recorded of a state is published as zero, and said."""
    if drive.segments[0].action_layout != ACTIONS["acceleration"]:
        names = ", ".join(drive.segments[0].action_layout.names)
        raise DataError(f"{drive.source}: has {names} for actions; models are served and replayed with acceleration")
    missing = [name for name, seen in zip(STATE.names, drive.segments[0].observed, strict=True) if not seen]
    notes = list(drive.notes)
    if missing:
        notes.append(f"{STATE_TOPIC}: {', '.join(missing)} not recorded, played as 0: errors of a model include that")

    def every() -> Iterator[Message]:
        types = message_types()
        for segment in drive.segments:
            for time_s, state, action in zip(segment.time_s, segment.state, segment.action, strict=True):
                stamp_ns = round(time_s * 1e9)
                command = messages.ackermann(stamp_ns, action[0], acceleration=action[1])
                yield Message(stamp_ns, COMMAND_TOPIC, bytes(types.serialize_cdr(command, _COMMAND_TYPE)))
                told = messages.vehicle_state(stamp_ns, np.nan_to_num(state), drive.reference_point)
                yield Message(stamp_ns, STATE_TOPIC, bytes(types.serialize_cdr(told, _STATE_TYPE)))

    types = {STATE_TOPIC: _STATE_TYPE, COMMAND_TOPIC: _COMMAND_TYPE}
    return Playback(types, round(drive.start_s * 1e9), round(drive.end_s * 1e9), every, notes=tuple(notes))
