"""Nothing looks ahead; gaps cut; angles go the short way."""

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACCELERATION, VX, VY, YAW, YAW_RATE
from mbrl_ros.data import read_drive, resampling

RATE_HZ = 30.0  # shares few instants with the 50 Hz of the recording


@pytest.mark.parametrize("low_pass_hz", [None, 2.0])
def test_the_future_does_not_change_the_past(course, save, low_pass_hz):
    course.odom().drive()
    before = read_drive(save(course), rate_hz=RATE_HZ, low_pass_hz=low_pass_hz).segments[0]
    changed = 150
    for record in course.topic("/odom")[changed:]:
        record.message.twist.twist.linear.x += 1.0
        record.message.pose.pose.position.x += 5.0
    for record in course.topic("/drive")[changed:]:
        record.message.drive.steering_angle += 0.3
    after = read_drive(save(course, name="changed"), rate_hz=RATE_HZ, low_pass_hz=low_pass_hz).segments[0]

    stamp_s = course.stamps_ns * 1e-9
    past = before.time_s <= stamp_s[changed - 1]  # an interpolated row may lean on the one sample that follows it
    np.testing.assert_array_equal(before.state[past], after.state[past])
    commanded = before.time_s < stamp_s[changed] - 1e-6
    np.testing.assert_array_equal(before.action[commanded], after.action[commanded])
    assert not np.array_equal(before.state[~past], after.state[~past])
    assert not np.array_equal(before.action[~commanded], after.action[~commanded])


def test_commands_are_held_and_measurements_interpolated(course, save):
    segment = read_drive(save(course.odom().imu().feedback().drive()), rate_hz=RATE_HZ).segments[0]
    t = segment.time_s - course.stamps_ns[0] * 1e-9
    newest = np.floor(t / course.dt + 1e-4).astype(int)
    np.testing.assert_allclose(segment.action, course.actions[newest], atol=1e-6)
    np.testing.assert_allclose(segment.state[:, VX], 6 + np.sin(t), atol=1e-4)
    expected = np.interp(t, course.dt * np.arange(course.count), course.states[:, 0])
    np.testing.assert_allclose(segment.state[:, 0], expected, atol=1e-6)


def test_heading_is_interpolated_the_short_way_and_wrapped(course, save):
    segment = read_drive(save(course.odom().drive()), rate_hz=RATE_HZ).segments[0]
    t = segment.time_s - course.stamps_ns[0] * 1e-9
    difference = segment.state[:, YAW] - (3.0 + 0.4 * t)
    np.testing.assert_allclose(np.exp(1j * difference), 1.0, atol=1e-6)
    assert (np.abs(segment.state[:, YAW]) <= np.pi).all()
    assert (np.abs(np.diff(segment.state[:, YAW])) > 6).sum() == 1  # it does cross +-pi here


@pytest.mark.parametrize("topic", ["/odom", "/drive"])
def test_a_silent_topic_cuts_the_drive(course, save, topic):
    course.odom().drive()
    silent = course.topic(topic)[80:120]
    course.records = [r for r in course.records if not any(r is s for s in silent)]
    drive = read_drive(save(course))
    hold = 0.5 if topic == "/drive" else 0.0  # a command outlives its stamp
    first, second = drive.segments
    stamp_s = course.stamps_ns * 1e-9
    assert first.time_s[-1] == pytest.approx(stamp_s[79] + hold, abs=1e-3)
    resumed = 5 if topic == "/odom" else 0  # rows that the derived acceleration needs
    assert second.time_s[0] >= stamp_s[120] - 1e-3
    assert second.time_s[0] == pytest.approx(stamp_s[120 + 5], abs=1e-3) or resumed == 0
    assert any("cut into 2 segments" in note for note in drive.notes)
    for segment in drive.segments:
        np.testing.assert_allclose(np.diff(segment.time_s), drive.dt, atol=1e-6)


def test_gap_threshold_is_the_callers(course, save):
    course.odom().drive()
    silent = course.topic("/odom")[80:120]
    course.records = [r for r in course.records if not any(r is s for s in silent)]
    assert len(read_drive(save(course), max_gap_s=1.0).segments) == 1


def test_unrecorded_acceleration_is_the_backward_slope_of_speed(course, save):
    drive = read_drive(save(course.odom().drive()))
    segment = drive.segments[0]
    vx = course.states[:, VX]
    expected = (vx[5:] - vx[:-5]) / (5 * course.dt)
    np.testing.assert_allclose(segment.state[:, ACCELERATION], expected, atol=1e-9)
    assert any("backward difference" in note for note in drive.notes)


def test_measured_acceleration_is_taken_as_it_is(course, save):
    segment = read_drive(save(course.odom().feedback())).segments[0]
    np.testing.assert_allclose(segment.state[:, ACCELERATION], course.states[:, ACCELERATION], atol=1e-6)
    np.testing.assert_allclose(segment.action[:, 1], course.states[:, ACCELERATION], atol=1e-6)


def test_a_field_that_nobody_fills_is_not_recorded(course, save):
    course.odom().drive()
    for record in course.topic("/odom"):
        record.message.twist.twist.linear.y = 0.0
        record.message.twist.twist.angular.z = 0.0
    drive = read_drive(save(course))
    assert np.isnan(drive.segments[0].state[:, [VY, YAW_RATE]]).all()
    assert any("vy is not recorded" in note for note in drive.notes)
    assert "yaw_rate" not in drive.topics


def test_low_pass_is_first_order_and_causal():
    step = np.where(np.arange(100)[:, None] < 20, 0.0, 1.0)
    filtered = resampling.low_pass(step, dt=0.01, cutoff_hz=2.0)
    assert (filtered[:20] == 0).all()
    elapsed = 0.01 * np.arange(1, 81)
    np.testing.assert_allclose(filtered[20:, 0], 1 - np.exp(-2 * np.pi * 2.0 * elapsed), atol=1e-12)


def test_default_rate_is_the_common_one_nearest_to_the_topic(course, save):
    course.dt = 0.0215  # 46.5 Hz
    assert 1 / read_drive(save(course.odom().drive())).dt == pytest.approx(50.0)


def test_time_is_the_stamps_not_the_reception(course, save):
    course.odom().drive()
    for k, record in enumerate(course.records):
        record.received_ns += 50_000_000 * (k % 7)  # late and out of order
    course.records.sort(key=lambda r: (r.topic, r.message.header.stamp.sec, r.message.header.stamp.nanosec))
    for topic in ("/odom", "/drive"):  # order within a topic is kept, as a queue does
        latest = 0
        for record in course.topic(topic):
            latest = record.received_ns = max(record.received_ns, latest + 1)
    segment = read_drive(save(course)).segments[0]
    np.testing.assert_allclose(segment.state[:, VX], course.states[5:, VX], atol=1e-9)


def test_too_short_to_be_a_drive(course, save):
    course.odom().drive()
    with pytest.raises(DataError, match="no two successive rows"):
        read_drive(save(course), max_gap_s=0.001, rate_hz=RATE_HZ)
