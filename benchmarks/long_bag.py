"""Recordings of any length for benchmarks: a real one, driven again and again."""

from __future__ import annotations

import struct
from pathlib import Path

from mbrl_ros.data.bag import open_bag
from mbrl_ros.data.signals import DECODERS
from mbrl_ros.data.writing import BagWriter

PAUSE_S = 5
"""Between two repetitions, so that nothing is joined where the car would have to leap."""

_STAMP = struct.Struct("<iI")  # of a header that comes first, after the encapsulation's four bytes


def write_repeated(source: Path, target: Path, megabytes: float) -> int:
    """Write ``source`` to ``target`` over and over, stamps going on, until its messages measure ``megabytes``.

    Returns:
        How often it was begun.
    """
    with open_bag(source) as reader, BagWriter(target, reader.typestore) as writer:
        readable = [c for c in reader.connections if c.msgtype in DECODERS]
        lasts_ns = reader.duration + PAUSE_S * 10**9
        size = times = 0
        while size < megabytes * 1e6:
            shift_ns = times * lasts_ns
            for connection, received_ns, raw in reader.messages(readable):
                writer.write(connection.topic, connection.msgtype, _later(raw, shift_ns), received_ns + shift_ns)
                size += len(raw)
                if size >= megabytes * 1e6:
                    break
            times += 1
    return times


def _later(raw: bytes, shift_ns: int) -> bytes:
    """A message whose header's stamp is ``shift_ns`` later."""
    seconds, nanoseconds = _STAMP.unpack_from(raw, 4)
    stamp_ns = seconds * 10**9 + nanoseconds + shift_ns
    return raw[:4] + _STAMP.pack(*divmod(stamp_ns, 10**9)) + raw[4 + _STAMP.size :]
