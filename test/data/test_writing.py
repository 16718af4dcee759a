"""Recordings are such as rosbag2 plays, and complete or not there."""

import numpy as np
import pytest
import yaml
from rosbags.highlevel import AnyReader

from mbrl_ros.core.errors import DataError
from mbrl_ros.data import messages, read_drive
from mbrl_ros.data.bag import about, message_types
from mbrl_ros.data.writing import BagWriter


def write(path, records):
    with BagWriter(path) as writer:
        for r in records:
            writer.write(r.topic, r.msgtype, r.message, r.received_ns)


def test_what_is_written_is_read_back(course, tmp_path):
    write(tmp_path / "run", course.own().records)
    segment = read_drive(tmp_path / "run").segments[0]
    np.testing.assert_allclose(segment.state, course.states, atol=1e-12)
    np.testing.assert_allclose(segment.action, course.actions, atol=1e-6)


def test_metadata_is_what_rosbag2_expects(course, tmp_path):
    write(tmp_path / "run", course.own().records)
    info = yaml.safe_load((tmp_path / "run" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["version"] == 8
    assert info["storage_identifier"] == "mcap"
    assert info["relative_file_paths"] == ["run.mcap"]
    assert (tmp_path / "run" / "run.mcap").is_file()
    assert info["message_count"] == 4 * course.count
    first, last = course.records[0].received_ns, course.records[-1].received_ns
    assert info["starting_time"]["nanoseconds_since_epoch"] == first
    assert info["duration"]["nanoseconds"] == last - first
    topics = {t["topic_metadata"]["name"]: t for t in info["topics_with_message_count"]}
    drive = topics["/drive"]["topic_metadata"]
    assert drive["serialization_format"] == "cdr"
    assert drive["type"] == "ackermann_msgs/msg/AckermannDriveStamped"
    # The hash that upstream's ackermann_msgs has, as recorded in bags of other teams.
    assert drive["type_description_hash"] == ("RIHS01_48ca7612a08d3bb72744fd98b71b7cf2ea24c6ad50fa4e1aa0bbad963c90d8cf")
    assert isinstance(drive["offered_qos_profiles"], str)
    assert all(t["message_count"] == course.count for t in topics.values())


def test_definitions_are_inside(course, tmp_path):
    """A reader that knows no type beforehand decodes it, this package's own types too."""
    write(tmp_path / "run", course.own().records)
    with AnyReader([tmp_path / "run"]) as reader:
        connection = next(c for c in reader.connections if c.topic == "/vehicle_state")
        _, received_ns, raw = next(reader.messages([connection]))
        message = reader.deserialize(raw, connection.msgtype)
    assert received_ns == course.topic("/vehicle_state")[0].received_ns
    assert message.reference_point == "rear_axle"
    assert message.vx == course.states[0, 3]


def test_bytes_from_the_wire_are_taken_as_they_are(course, tmp_path):
    for record in course.own().records:
        record.message = bytes(message_types().serialize_cdr(record.message, record.msgtype))
    write(tmp_path / "run", course.records)
    np.testing.assert_allclose(read_drive(tmp_path / "run").segments[0].state, course.states, atol=1e-12)


def test_nothing_is_there_before_it_is_complete(course, tmp_path):
    with BagWriter(tmp_path / "run") as writer:
        record = course.own().records[0]
        writer.write(record.topic, record.msgtype, record.message, record.received_ns)
        assert not (tmp_path / "run").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_led_to_a_fault_is_kept(course, tmp_path):
    course.own()

    def fail_in_the_middle():
        with BagWriter(tmp_path / "run") as writer:
            for r in course.records:
                writer.write(r.topic, r.msgtype, r.message, r.received_ns)
            raise RuntimeError("the planner died")

    with pytest.raises(RuntimeError, match="the planner died"):
        fail_in_the_middle()
    assert len(read_drive(tmp_path / "run").segments[0]) == course.count


def test_recordings_are_never_overwritten(course, tmp_path):
    write(tmp_path / "run", course.own().records)
    with pytest.raises(DataError, match="exists already"):
        BagWriter(tmp_path / "run")


def test_an_empty_recording_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="nothing was recorded"):
        write(tmp_path / "run", [])
    assert not list(tmp_path.iterdir())


def test_unknown_and_changing_types(tmp_path):
    writer = BagWriter(tmp_path / "run")
    with pytest.raises(DataError, match="no known message type"):
        writer.write("/x", "no_msgs/msg/Such", b"", 1)
    writer.write("/x", "ackermann_msgs/msg/AckermannDriveStamped", messages.ackermann(1, 0.1), 1)
    with pytest.raises(DataError, match="carries ackermann_msgs"):
        writer.write("/x", "nav_msgs/msg/Odometry", messages.odometry(2, np.zeros(8)), 2)
    writer.close()


def test_a_recording_says_what_it_is_of(course, tmp_path):
    write(tmp_path / "silent", course.own().records)
    assert about(tmp_path / "silent") == {}
    with BagWriter(tmp_path / "run", about={"track": "demo"}) as writer:
        for r in course.records:
            writer.write(r.topic, r.msgtype, r.message, r.received_ns)
    assert about(tmp_path / "run") == {"track": "demo"}
    (tmp_path / "run" / "metadata.yaml").write_text("nothing")
    with pytest.raises(DataError, match="is no recording's metadata"):
        about(tmp_path / "run")
