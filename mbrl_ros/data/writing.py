"""Writing recordings that rosbag2 plays: MCAP storage, message definitions inside, standard metadata."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from mbrl_ros.core.errors import DataError
from mbrl_ros.data.bag import message_types

_VERSION: Literal[8] = 8
"""Of the metadata: the newest whose quality-of-service fields are text, which Humble still parses."""


class BagWriter:
    """A rosbag2 folder in the making; a context manager.

    It is written beside its place under a temporary name and moved there when complete, also when the block
    ends with an exception: what led to a fault is worth keeping. A killed process leaves ``.NAME.*.partial``.

    Args:
        path: the folder to make.
        types: definitions of the messages; by default ``message_types``.
        about: what the recording says of itself, read back by `data.bag.about`.

    Raises:
        DataError: something is there already.
    """

    def __init__(
        self, path: str | Path, types: Typestore | None = None, about: Mapping[str, str] | None = None
    ) -> None:
        self.path = Path(path)
        self.types = types or message_types()
        if self.path.exists():
            raise DataError(f"{self.path}: exists already; recordings are never overwritten")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = Path(tempfile.mkdtemp(".partial", f".{self.path.name}.", dir=self.path.parent))
        self._writer = Writer(self._partial / self.path.name, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
        for key, value in (about or {}).items():
            self._writer.set_custom_data(key, value)
        self._connections: dict[str, Connection] = {}
        self._writer.open()

    def write(
        self,
        topic: str,
        msgtype: str,
        message: Any,
        received_ns: int,
        *,
        offered_qos_profiles: Sequence[Qos] = (),
    ) -> None:
        """Add a message.

        Args:
            topic: its topic.
            msgtype: ``package/msg/Name``, one of the writer's types.
            message: its CDR bytes as they came over the wire, or an object of the writer's types.
            received_ns: when it was received [ns]; the header's own stamp stays as it is.
            offered_qos_profiles: of the topic's publishers; what the topic's first message brings counts.

        Raises:
            DataError: the type is unknown, or differs from what the topic carried before.
        """
        types = self.types
        connection = self._connections.get(topic)
        if connection is None:
            if msgtype not in types.fielddefs:
                raise DataError(f"topic '{topic}': {msgtype} is no known message type")
            connection = self._writer.add_connection(
                topic, msgtype, typestore=types, offered_qos_profiles=offered_qos_profiles
            )
            self._connections[topic] = connection
        if connection.msgtype != msgtype:
            raise DataError(f"topic '{topic}' carries {connection.msgtype}, got {msgtype}")
        if not isinstance(message, bytes):
            message = types.serialize_cdr(message, msgtype)
        self._writer.write(connection, received_ns, message)

    def close(self) -> None:
        """Complete the recording and move it to its place; one without messages is dropped.

        Raises:
            DataError: nothing was written.
        """
        if not sum(self._writer.counts.values()):
            self._writer.abort()
            shutil.rmtree(self._partial)
            raise DataError(f"{self.path}: nothing was recorded, no topic carried a message")
        self._writer.close()
        self._writer.path.rename(self.path)
        self._partial.rmdir()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except DataError:
            if error is None:
                raise
