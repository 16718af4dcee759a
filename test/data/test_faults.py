"""Each fault planted into a clean recording gives the error that names topic and time, or is dropped and counted."""

import math

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.data import read_drive, signals

BAD = 100
WHEN = r"1700000002\.000 s"


def _zero_stamp(m):
    m.header.stamp.sec, m.header.stamp.nanosec = 0, 0


def _repeated_stamp(m):
    m.header.stamp.sec, m.header.stamp.nanosec = 1_700_000_001, 980_000_000


def _backward_stamp(m):
    m.header.stamp.sec, m.header.stamp.nanosec = 1_700_000_001, 500_000_000


def _stamp_far_ahead(m):
    m.header.stamp.sec += 3600


def _not_a_number(m):
    m.pose.pose.position.x = math.nan


def _infinite(m):
    m.twist.twist.angular.z = math.inf


def _absurd_speed(m):
    m.twist.twist.linear.x = 1e6


def _absurd_position(m):
    m.pose.pose.position.y = 1e9


def _no_quaternion(m):
    m.pose.pose.orientation.w = 3.0


FAULTS = [
    (_zero_stamp, r"'/odom' at 0\.000 s \(message 100\): the header stamp is zero"),
    (_repeated_stamp, r"'/odom' at 1700000001\.980 s \(message 100\): the stamp repeats"),
    (_backward_stamp, r"'/odom' at 1700000001\.500 s \(message 100\): the stamp goes backwards"),
    (_stamp_far_ahead, r"'/odom' at 1700003602\.000 s \(message 100\): the stamp lies ahead of those that follow"),
    (_not_a_number, rf"'/odom' at {WHEN} \(message 100\): x is not finite"),
    (_infinite, rf"'/odom' at {WHEN} \(message 100\): yaw_rate is not finite"),
    (_absurd_speed, rf"'/odom' at {WHEN} \(message 100\): vx = 1e\+06 is absurd"),
    (_absurd_position, rf"'/odom' at {WHEN} \(message 100\): y = 1e\+09 is absurd"),
    (_no_quaternion, rf"'/odom' at {WHEN} \(message 100\): the orientation is no unit quaternion"),
]


@pytest.mark.parametrize(("plant", "message"), FAULTS)
def test_fault_is_named_with_topic_and_time(course, save, plant, message):
    course.odom().drive()
    plant(course.topic("/odom")[BAD].message)
    path = save(course)
    with pytest.raises(DataError, match=message):
        read_drive(path)


@pytest.mark.parametrize(("plant", "message"), FAULTS)
def test_fault_is_dropped_and_counted_where_asked(course, save, plant, message):
    course.odom().drive()
    plant(course.topic("/odom")[BAD].message)
    drive = read_drive(save(course), on_bad="drop")
    assert any("/odom: left out 1 of 250 messages" in note for note in drive.notes)
    rows = drive.segments[0].state[:, 3]
    assert len(drive.segments) == 1
    assert abs(rows - course.states[5:, 3]).max() < 1e-3  # bridged by its neighbours


def test_an_imu_that_measures_no_turn_or_no_force_is_not_asked_for_it(course, save):
    course.odom().drive().imu()
    assert read_drive(save(course)).topics["yaw_rate"] == "/imu"
    for field in ("angular_velocity_covariance", "linear_acceleration_covariance"):
        for record in course.topic("/imu"):
            getattr(record.message, field)[0] = -1.0
        assert read_drive(save(course, name=field)).topics["yaw_rate"] == "/odom"
        for record in course.topic("/imu"):
            getattr(record.message, field)[0] = 0.0


def test_of_stamps_the_most_that_rise_are_kept_and_the_earliest_of_equals():
    for stamps, kept in (
        ([1, 2, 3], [0, 1, 2]),
        ([1, 2, 9, 3, 4], [0, 1, 3, 4]),
        ([1, 2, 2, 3], [0, 1, 3]),
        ([1, 2, 4, 3, 5], [0, 1, 2, 4]),
        ([9, 1, 8, 2, 7, 3], [1, 3, 4]),
        ([5, 4], [0]),
    ):
        assert list(signals._rising(np.array(stamps))) == kept


def test_clean_recording_reports_nothing_dropped(course, save):
    drive = read_drive(save(course.odom().drive()), on_bad="drop")
    assert not any("left out" in note for note in drive.notes)


def test_fault_in_a_topic_that_feeds_nothing_is_harmless(course, save):
    course.own()
    _zero_stamp(course.topic("/ground_truth")[BAD].message)
    assert len(read_drive(save(course)).segments[0]) == course.count


def test_every_stamp_zero(course, save):
    course.odom().drive()
    for record in course.topic("/drive"):
        _zero_stamp(record.message)
    with pytest.raises(DataError, match=r"'/drive' at 0.000 s .*250 of 250 messages"):
        read_drive(save(course))


def test_nothing_left_after_dropping(course, save):
    course.odom().drive()
    for record in course.topic("/drive"):
        _zero_stamp(record.message)
    with pytest.raises(DataError, match="'/drive': 0 usable messages of 250"):
        read_drive(save(course), on_bad="drop")


def test_topics_that_never_overlap(course, save):
    course.odom().drive()
    for record in course.topic("/drive"):
        record.message.header.stamp.sec += 3600
    with pytest.raises(DataError, match=r"never overlap in time: /odom 1700000000.*/drive 1700003600"):
        read_drive(save(course))
