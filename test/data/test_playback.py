"""What is played of a recording: what was recorded, byte by byte, or what the reader makes of it."""

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.data import messages, read_drive
from mbrl_ros.data.bag import message_types, open_bag
from mbrl_ros.data.playback import playback
from mbrl_ros.data.writing import BagWriter


def decoded(played):
    store = message_types()
    return [(m.topic, store.deserialize_cdr(m.data, played.types[m.topic])) for m in played.messages()]


def test_a_recorded_drive_is_played_as_it_is(course, save):
    path = save(course.own())
    played = playback(path)
    with open_bag(path) as reader:
        recorded = [(t, c.topic, bytes(data)) for c, t, data in reader.messages()]
    assert [(m.time_ns, m.topic, m.data) for m in played.messages()] == recorded
    assert (played.start_ns, played.end_ns) == (recorded[0][0], recorded[-1][0] + 1)
    assert {"/vehicle_state", "/drive"} <= set(played.types)
    assert played.notes == ()


def test_what_the_nodes_of_a_replay_publish_is_not_played(course, save):
    course.own()
    for topic in ("/dynamics_server/prediction_error", "/state", "/wheel_odom", "/pose_fix"):
        course.odom(topic)
    path = save(course)
    assert "/dynamics_server/prediction_error" not in playback(path).types
    assert {"/state", "/vehicle_state"} <= set(playback(path).types)
    estimated = playback(path, estimate=True)
    assert not {"/state", "/vehicle_state"} & set(estimated.types)
    assert {"/wheel_odom", "/pose_fix", "/drive"} <= set(estimated.types)


def test_of_another_recording_the_readers_states_and_actions_are_played(course, save):
    path = save(course.odom().feedback())
    drive = read_drive(path)
    (segment,) = drive.segments
    told = decoded(playback(path))
    assert [topic for topic, _ in told] == ["/drive", "/vehicle_state"] * len(segment)
    for k, (_, command) in enumerate(told[::2]):
        assert command.drive.steering_angle == pytest.approx(segment.action[k, 0], abs=1e-7)
        assert command.drive.acceleration == pytest.approx(segment.action[k, 1], abs=1e-6)
    for k, (_, state) in enumerate(told[1::2]):
        assert state.header.stamp.sec + 1e-9 * state.header.stamp.nanosec == pytest.approx(segment.time_s[k], abs=1e-6)
        assert [state.x, state.y, state.vx, state.acceleration] == segment.state[k, [0, 1, 3, 7]].tolist()


def test_what_is_not_recorded_is_played_as_zero_and_said(course, save):
    course.states[:, 4] = 0.0  # vy, as wheels that do not know it leave it
    played = playback(save(course.odom().drive()))
    states = [message for topic, message in decoded(played) if topic == "/vehicle_state"]
    assert all(state.vy == state.steering_angle == 0.0 for state in states)
    assert np.isfinite([[s.x, s.vx, s.acceleration] for s in states]).all()
    assert any(note.startswith("/vehicle_state: vy, steering_angle not recorded") for note in played.notes)


def test_recordings_that_cannot_be_replayed(course, save):
    with pytest.raises(DataError, match="records no /wheel_odom, /pose_fix"):
        playback(save(course.odom().drive(), name="no_sensors"), estimate=True)
    course.records.clear()
    with pytest.raises(DataError, match="has steering_command, speed_command for actions"):
        playback(save(course.odom().drive(field_name="speed"), name="speeds"))


def test_a_type_that_was_another_one_then_is_left_out_and_said(tmp_path, monkeypatch):
    path = tmp_path / "bag"
    with BagWriter(path) as writer:
        for k in range(3):
            stamp = 1_700_000_000_000_000_000 + k * 20_000_000
            writer.write(
                "/vehicle_state", "mbrl_ros/msg/VehicleState", messages.vehicle_state(stamp, np.ones(8)), stamp
            )
            command = messages.ackermann(stamp, 0.1)
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
            writer.write("/other", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
    store = message_types()
    monkeypatch.setitem(store.fielddefs, "ackermann_msgs/msg/AckermannDriveStamped", ([], []))
    played = playback(path)
    assert "/other" not in played.types
    assert any("/other is not played: ackermann_msgs" in note for note in played.notes)
