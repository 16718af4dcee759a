"""A recording that is decoded in blocks is the one that is decoded at once, and stays on disk."""

import mmap

import numpy as np
import pytest

from mbrl_ros.core import mapped
from mbrl_ros.core.errors import DataError
from mbrl_ros.data import read_drive

WAYS = {
    "plain": {},
    "faster than the topics": {"rate_hz": 73.0, "low_pass_hz": 3.0},
    "means": {"rate_hz": 30.0, "mean_commands": True},
    "gaps": {"max_gap_s": 0.07, "low_pass_hz": 3.0},
    "shreds": {"max_gap_s": 0.03},
}


@pytest.fixture
def in_blocks(monkeypatch):
    def of(rows, path, **how):
        monkeypatch.setenv("MBRL_CACHE", str(path.parent / f"cache_{rows}"))
        monkeypatch.setattr(mapped, "BLOCK", rows)
        return read_drive(path, **how)

    return of


def owner(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return array


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("recorded", ["with feedback", "speed alone"])
def test_blocks_join_to_the_same_segments(course, save, in_blocks, way, recorded):
    course.odom().drive()
    if recorded == "with feedback":
        course.imu().feedback()
    lost = {60, 61, 62, 100, 104, 105, 106, 107, 180, 182, 184}
    for k in sorted(lost, reverse=True):
        course.records.remove(course.topic("/odom")[k])
    path = save(course)
    whole = in_blocks(10_000, path, **WAYS[way])
    for rows in (1, 7, 64):
        joined = in_blocks(rows, path, **WAYS[way])
        assert joined.notes == whole.notes
        assert len(joined.segments) == len(whole.segments)
        for one, other in zip(joined.segments, whole.segments, strict=True):
            np.testing.assert_array_equal(one.time_s, other.time_s)
            np.testing.assert_allclose(one.state, other.state, rtol=0, atol=1e-12)
            np.testing.assert_allclose(one.action, other.action, rtol=0, atol=1e-12)
    assert way != "shreds" or len(whole.segments) > 2


def test_faults_are_counted_alike(course, save, in_blocks):
    course.odom().drive()
    records = course.topic("/odom")
    records[30].message.twist.twist.linear.x = float("nan")
    records[90].message.header.stamp.sec += 1000
    records[91].message.pose.pose.orientation.w = 3.0
    path = save(course)
    notes = [in_blocks(rows, path, on_bad="drop").notes for rows in (10_000, 20)]
    assert notes[0] == notes[1]
    assert sum("left out 1 of 250" in note for note in notes[0]) == 3
    with pytest.raises(DataError, match="vx is not finite; 1 of 250"):
        in_blocks(16, path)


def test_a_clock_that_was_set_is_a_gap_however_long(course, save, in_blocks):
    course.odom().drive()
    later = 10 * 365 * 24 * 3600
    for record in course.records:
        if record.received_ns > course.stamps_ns[120]:
            record.message.header.stamp.sec += later
    drive = in_blocks(10_000, save(course))
    assert len(drive.segments) == 2
    assert drive.segments[1].time_s[0] - drive.segments[0].time_s[-1] == pytest.approx(later, abs=1.0)
    assert sum(map(len, drive.segments)) > 230


def test_a_topic_may_be_silent_until_after_the_end_of_another(course, save, in_blocks):
    course.odom().drive()
    late = course.topic("/drive")[50:]
    for k, record in enumerate(late):
        record.message.header.stamp.sec += 1000
        if k:
            course.records.remove(record)
    for record in course.topic("/odom")[100:]:
        record.message.header.stamp.sec += 100
    drive = in_blocks(16, save(course))
    assert sum(map(len, drive.segments)) == 50 + 25 - 5  # commands are held for half a second


def test_driving_lies_on_disk_and_comes_back_after_it_was_let_go(course, save, in_blocks):
    (segment,) = in_blocks(50, save(course.odom().drive())).segments
    assert isinstance(owner(segment.state), mmap.mmap)
    before = segment.state.copy()
    segment.let_go()
    np.testing.assert_array_equal(segment.state, before)
    assert sum(len(part) for part in segment.blocks()) == len(segment)
