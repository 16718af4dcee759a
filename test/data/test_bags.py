"""Every storage that rosbags are found in reads back as the same drive, and as what was driven."""

import hashlib
import shutil
import sqlite3

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.data import read_drive
from mbrl_ros.data.bag import source_hash

STORAGES = [
    "mcap", "mcap-chunks", "mcap-messages", "mcap-file", "sqlite3", "sqlite3-messages", "sqlite3-file", "split", "ros1",
]  # fmt: skip


@pytest.mark.parametrize("storage", STORAGES)
def test_every_storage_reads_back_what_was_driven(course, save, storage):
    drive = read_drive(save(course.odom().imu().feedback().drive(), storage))

    (segment,) = drive.segments
    assert drive.dt == pytest.approx(0.02)
    np.testing.assert_allclose(segment.time_s, course.stamps_ns * 1e-9, atol=1e-6)
    np.testing.assert_allclose(segment.state, course.states, atol=1e-6)  # float32 fields of AckermannDrive
    np.testing.assert_allclose(segment.action, course.actions, atol=1e-6)
    assert segment.action_layout == ACTIONS["acceleration"]


def test_own_recording_with_its_own_message_type(course, save):
    drive = read_drive(save(course.own()))

    np.testing.assert_allclose(drive.segments[0].state, course.states, atol=1e-12)
    assert drive.reference_point == "rear_axle"
    assert drive.topics == {
        "pose": "/vehicle_state", "velocity": "/vehicle_state", "yaw_rate": "/vehicle_state",
        "steering": "/vehicle_state", "acceleration": "/vehicle_state", "command": "/drive",
    }  # fmt: skip


def test_sqlite_without_definitions_uses_the_package_own(course, save):
    path = save(course.own(), "sqlite3")
    database = sqlite3.connect(next(path.glob("*.db3")))
    database.execute("DELETE FROM message_definitions")
    database.commit()
    database.close()
    np.testing.assert_allclose(read_drive(path).segments[0].state, course.states, atol=1e-12)


def test_single_storage_file_reads_without_its_folder(course, save):
    path = save(course.odom().drive())
    file = next(path.glob("*.mcap"))
    assert len(read_drive(file).segments[0]) == course.count - 5


def test_hash_is_of_the_contents_and_not_of_names(course, save, tmp_path):
    path = save(course.odom().drive())
    file = next(path.glob("*.mcap"))
    assert source_hash(path) == hashlib.sha256(file.read_bytes()).hexdigest()
    shutil.copytree(path, tmp_path / "elsewhere")
    assert read_drive(tmp_path / "elsewhere").source_hash == source_hash(path)
    with file.open("ab") as stream:
        stream.write(b"x")
    assert source_hash(path) != source_hash(tmp_path / "elsewhere")


def test_absent_recording(tmp_path):
    with pytest.raises(DataError, match="no such recording"):
        read_drive(tmp_path / "nothing")


def test_folder_without_metadata_names_the_remedy(course, save):
    path = save(course.odom())
    (path / "metadata.yaml").unlink()
    with pytest.raises(DataError, match="ros2 bag reindex"):
        read_drive(path)


def test_truncated_storage_is_an_error_and_no_traceback(course, save):
    path = save(course.odom().drive())
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=str(path)):
        read_drive(path)


@pytest.mark.parametrize("storage", ["sqlite3", "sqlite3-file", "ros1"])
def test_garbage_instead_of_storage(course, save, storage):
    path = save(course.odom().drive(), storage)
    file = path if path.is_file() else next(f for f in path.iterdir() if f.name != "metadata.yaml")
    file.write_bytes(b"not a bag" * 100)
    with pytest.raises(DataError, match="cannot be read"):
        read_drive(path)


def test_damage_inside_names_the_place(course, save):
    path = save(course.odom().drive(), "mcap-chunks")
    file = next(path.glob("*.mcap"))
    content = bytearray(file.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 400] = bytes(400)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"bag: damaged at or after"):
        read_drive(path)
