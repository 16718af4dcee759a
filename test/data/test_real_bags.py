"""Real logs, oddities included, give a drive or a truthful error."""

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS, STATE, VX, YAW, X, Y
from mbrl_ros.data import read_drive

CONTROLLED = {  # rate, segments, seconds, action
    "genesis_fast_lap": (50, 1, 262.5, "acceleration"),
    "genesis_medium_laps": (50, 1, 304.0, "acceleration"),
    "indy_putnam": (25, 1, 475.9, "acceleration"),
    "f1tenth_ds3": (20, 1, 126.8, "speed"),
    "f1tenth_ds5": (20, 3, 112.6, "speed"),
}


@pytest.mark.parametrize("name", CONTROLLED)
def test_bag_with_controls_gives_a_drive(shared_data, name):
    rate, segments, seconds, action = CONTROLLED[name]
    drive = read_drive(shared_data / "bags" / name)
    assert 1 / drive.dt == pytest.approx(rate)
    assert len(drive.segments) == segments
    assert sum(len(s) * drive.dt for s in drive.segments) == pytest.approx(seconds, abs=0.5)
    assert len(drive.source_hash) == 64
    for segment in drive.segments:
        assert segment.action_layout == ACTIONS[action]
        assert np.isfinite(segment.action).all()
        assert np.isfinite(segment.state[:, segment.observed]).all()
        np.testing.assert_allclose(np.diff(segment.time_s), drive.dt, atol=1e-6)
    assert not any("contradicts" in note for note in drive.notes)


@pytest.mark.parametrize("name", CONTROLLED)
def test_velocity_is_in_the_body_frame(shared_data, name):
    """Along the heading, the poses move as fast as vx says."""
    drive = read_drive(shared_data / "bags" / name)
    k = round(0.5 / drive.dt)
    for segment in drive.segments:
        state = segment.state
        step = state[k:, [X, Y]] - state[:-k, [X, Y]]
        heading = np.unwrap(state[:, YAW])[k // 2 : len(state) - k + k // 2]
        along = (step[:, 0] * np.cos(heading) + step[:, 1] * np.sin(heading)) / (k * drive.dt)
        vx = np.convolve(state[:, VX], np.ones(k) / k, mode="valid")[: len(along)]
        assert (along @ vx) / (vx @ vx) == pytest.approx(1.0, abs=0.1)  # wheels slip


def test_small_car_takes_each_quantity_from_where_it_is_measured(shared_data):
    drive = read_drive(shared_data / "bags" / "f1tenth_ds3")
    assert drive.topics == {
        "pose": "/pf/pose/odom", "velocity": "/odom", "yaw_rate": "/sensors/imu/raw", "command": "/ackermann_cmd",
    }  # fmt: skip
    observed = dict(zip(STATE.names, drive.segments[0].observed, strict=True))
    assert not observed["vy"]
    assert not observed["steering_angle"]


def test_big_cars_take_measured_actuators_for_actions_and_say_so(shared_data):
    drive = read_drive(shared_data / "bags" / "indy_putnam")
    assert drive.topics["steering"] == "/drive_feedback"
    assert "command" not in drive.topics
    assert any("no commands recorded" in note for note in drive.notes)


def test_recording_without_controls(shared_data):
    path = shared_data / "bags" / "mcity_ins"
    with pytest.raises(DataError, match="no controls"):
        read_drive(path)
    notes = " ".join(read_drive(path, need_controls=False).notes)
    assert "tilted by 89 degrees" in notes
    assert "velocity contradicts pose" in notes
    assert "/ins/imu is not used for the yaw rate" in notes
