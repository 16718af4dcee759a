"""Writing a corrected copy of a recording: what the findings know how to put right, message by message."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from mbrl_ros.core.errors import DataError
from mbrl_ros.data.bag import about, message_types, open_bag
from mbrl_ros.data.doctor.examine import Diagnosis
from mbrl_ros.data.doctor.fields import velocity_paths
from mbrl_ros.data.doctor.repairs import Add, Drop, Repair, Scale, Shift, StampByReceipt, TurnTwist
from mbrl_ros.data.writing import BagWriter


def repairs_of(diagnosis: Diagnosis) -> tuple[Repair, ...]:
    """Everything that can be put right, in the order in which it was found."""
    return tuple(finding.repair for finding in diagnosis.findings if finding.repair is not None)


def write_repaired(diagnosis: Diagnosis, target: str | Path) -> tuple[str, ...]:
    """Write a copy of the recording with every repair made, and nothing else changed.

    Messages that need no repair are copied byte by byte, times of receipt and qualities of service with them.

    Args:
        diagnosis: of the recording as it is now.
        target: folder of the copy, which must not exist; it appears only once it is complete.

    Returns:
        What was changed, a sentence each.

    Raises:
        DataError: there is nothing to repair, ``target`` exists, or the recording is of ROS 1.
    """
    source, repairs = diagnosis.recording.path, repairs_of(diagnosis)
    if not repairs:
        raise DataError(f"{source}: nothing that --repair could put right was found; no copy was written")
    target = Path(target)
    with open_bag(source) as reader:
        if not reader.is2:
            raise DataError(f"{source}: a ROS 1 bag; convert it first ('rosbags-convert --src {source} --dst FOLDER')")
        writer = BagWriter(target, _all_types(reader), about(source))
        try:
            with writer:
                left_out = _copy(reader, writer, repairs)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    return (*map(str, repairs), *left_out)


def _all_types(reader: AnyReader) -> Typestore:
    store = get_typestore(Stores.EMPTY)
    store.register(dict(message_types().fielddefs) | dict(reader.typestore.fielddefs))
    return store


def _copy(reader: AnyReader, writer: BagWriter, repairs: tuple[Repair, ...]) -> list[str]:
    """Copy every message, repaired where need be; sentences on topics that could not be copied."""
    by_topic: dict[str, list[Repair]] = {}
    for repair in repairs:
        by_topic.setdefault(repair.topic, []).append(repair)
    dropped = {
        topic: {int(row) for repair in found if isinstance(repair, Drop) for row in repair.rows}
        for topic, found in by_topic.items()
    }
    places: Counter[str] = Counter()
    unknown: dict[str, str] = {}
    messages = reader.messages()
    while True:
        try:
            connection, received_ns, raw = next(messages)
        except StopIteration:
            break
        except Exception:  # damaged storage: the diagnosis tells of it, and what came before is kept
            break
        topic, msgtype = connection.topic, connection.msgtype
        place = places[topic]
        places[topic] += 1
        if msgtype not in writer.types.fielddefs:
            unknown[topic] = msgtype
            continue
        if place in dropped.get(topic, ()):
            continue
        changes = [repair for repair in by_topic.get(topic, ()) if not isinstance(repair, Drop)]
        message: Any = bytes(raw)
        if changes:
            message = writer.types.deserialize_cdr(message, msgtype)
            for repair in changes:
                _apply(repair, place, message, received_ns, msgtype)
        qos = getattr(connection.ext, "offered_qos_profiles", ())
        writer.write(topic, msgtype, message, received_ns, offered_qos_profiles=qos)
    return [f"{topic}: left out, nothing defines {msgtype}" for topic, msgtype in unknown.items()]


def _apply(repair: Repair, place: int, message: Any, received_ns: int, msgtype: str) -> None:
    if isinstance(repair, Scale):
        for path, factor in repair.factors:
            owner, name = _owner(message, path)
            setattr(owner, name, getattr(owner, name) * factor)
    elif isinstance(repair, Add):
        owner, name = _owner(message, repair.path)
        setattr(owner, name, getattr(owner, name) + repair.amount)
    elif isinstance(repair, TurnTwist):
        _turn(repair, place, message, msgtype)
    elif isinstance(repair, Shift):
        stamp = message.header.stamp
        _set_stamp(message, stamp.sec * 1_000_000_000 + stamp.nanosec + repair.by_ns)
    elif isinstance(repair, StampByReceipt):
        _set_stamp(message, received_ns)


def _owner(message: Any, path: str) -> tuple[Any, str]:
    """The part of a message that a dotted path ends in, and the name of the field there."""
    *parts, name = path.split(".")
    for part in parts:
        message = getattr(message, part)
    return message, name


def _turn(repair: TurnTwist, place: int, message: Any, msgtype: str) -> None:
    forward, left = (_owner(message, path) for path in velocity_paths(msgtype))
    x, y = getattr(*forward), getattr(*left)
    y = -y if repair.mirrored else y
    cos, sin = math.cos(repair.angle_rad[place]), math.sin(repair.angle_rad[place])
    setattr(*forward, cos * x - sin * y)
    setattr(*left, sin * x + cos * y)


def _set_stamp(message: Any, stamp_ns: int) -> None:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
