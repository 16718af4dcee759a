"""Opening recordings: rosbag2 (SQLite, MCAP, zstd, split) and ROS 1 bags, all behind one reader."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import yaml
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from mbrl_ros.core.errors import DataError

STORAGE_SUFFIXES = (".mcap", ".db3", ".zstd", ".bag")

TRACK = "track"
"""Under which name a recording says what it was driven on: a name in config/tracks, or the path of a CSV file."""

_ACKERMANN = {
    "ackermann_msgs/msg/AckermannDrive": (
        "float32 steering_angle\nfloat32 steering_angle_velocity\nfloat32 speed\nfloat32 acceleration\nfloat32 jerk\n"
    ),
    "ackermann_msgs/msg/AckermannDriveStamped": "std_msgs/Header header\nackermann_msgs/AckermannDrive drive\n",
}


@cache
def message_types() -> Typestore:
    """Types of a ROS 2 distribution, of ``ackermann_msgs`` and of this package's ``msg/`` files."""
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions = dict(_ACKERMANN)
    folder = _definitions_folder()
    if folder is not None:
        definitions |= {f"mbrl_ros/msg/{path.stem}": path.read_text() for path in sorted(folder.glob("*.msg"))}
    for name, text in definitions.items():
        store.register(get_types_from_msg(text, name))
    return store


def _definitions_folder() -> Path | None:
    """This package's ``msg/`` folder: in the source tree, or in the share folder it was installed to."""
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "msg", parent / "share" / "mbrl_ros" / "msg"):
            if (folder / "VehicleState.msg").is_file():
                return folder
    return None


@contextmanager
def open_bag(path: str | Path) -> Iterator[AnyReader]:
    """Open the recording at ``path``: a rosbag2 folder, one of its storage files, or a ROS 1 ``.bag`` file.

    Types come from the recording's own definitions; where it has none (rosbag2 before Iron in SQLite), from
    ``message_types``.

    Raises:
        DataError: nothing is there, or what is there is no readable recording.
    """
    path = require_recording(path)
    try:
        reader = AnyReader([path], default_typestore=message_types())
        reader.open()
    except Exception as error:  # storage plug-ins and decompressors raise types of their own
        raise DataError(
            f"{path}: cannot be read as a recording: {error}; one that was cut off may come back with 'mcap recover', "
            "'sqlite3 .recover' or 'ros2 bag reindex'"
        ) from error
    try:
        yield reader
    finally:
        reader.close()


def require_recording(path: str | Path) -> Path:
    """``path`` of what looks like a recording.

    Raises:
        DataError: nothing is there, or a folder that is none.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such recording; check the path")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise DataError(f"{path}: has no metadata.yaml; recreate it with 'ros2 bag reindex {path}'")
    return path


def storage_files(path: str | Path) -> list[Path]:
    """The files that hold the messages of the recording at ``path``, in the order of their names."""
    path = Path(path)
    if path.is_file():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in STORAGE_SUFFIXES)


def source_hash(path: str | Path) -> str:
    """SHA-256 over the contents of the storage files, in hexadecimal; file names do not enter."""
    digest = hashlib.sha256()
    for file in storage_files(path):
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def about(path: str | Path) -> dict[str, str]:
    """What the recording in the folder ``path`` says of itself, its ``custom_data``; empty where it says nothing.

    Raises:
        DataError: its metadata cannot be read.
    """
    file = require_recording(path) / "metadata.yaml"
    if not file.is_file():
        return {}
    try:
        return dict(yaml.safe_load(file.read_text())["rosbag2_bagfile_information"].get("custom_data") or {})
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: is no recording's metadata ({error}); recreate it with 'ros2 bag reindex'") from error
