"""A repaired copy differs from its source by what was said, and by nothing else."""

import pytest
from planted_faults import FAULTS
from simulated_drive import serious

from mbrl_ros.core.errors import DataError
from mbrl_ros.data import read_drive
from mbrl_ros.data.bag import open_bag
from mbrl_ros.data.doctor import examine, repairs_of, write_repaired

BY_NAME = {fault.name: fault for fault in FAULTS}


REPAIRED = (
    "all_stamps_zero", "repeated", "leaping", "nan", "imu_clock_ahead", "imu_clock_behind", "world_twist", "ned_twist",
    "kmh", "steering_scale", "imu_negated", "imu_forward_right_down", "imu_gravity_removed",
)  # fmt: skip
"""A fault for each way of repairing."""


@pytest.mark.parametrize("name", REPAIRED)
def test_a_repaired_copy_is_healthy(planted, tmp_path, name):
    fault = BY_NAME[name]
    changes = write_repaired(examine(planted(fault, *fault.topics), **fault.how), tmp_path / "repaired")
    assert len(changes) == len(fault.where)
    assert serious(examine(tmp_path / "repaired", **fault.how)) == set()


def contents(path):
    with open_bag(path) as reader:
        return [(c.topic, received_ns, bytes(raw)) for c, received_ns, raw in reader.messages()]


def test_what_needs_no_repair_is_copied_byte_by_byte(planted, tmp_path):
    fault = BY_NAME["steering_sign"]
    path = planted(fault, *fault.topics)
    changes = write_repaired(examine(path), tmp_path / "repaired")
    assert changes == ("/drive_feedback: drive.steering_angle times -1, right was positive before",)
    before, after = contents(path), contents(tmp_path / "repaired")
    assert [row[:2] for row in before] == [row[:2] for row in after]
    differing = {b[0] for b, a in zip(before, after, strict=True) if b[2] != a[2]}
    assert differing == {"/drive_feedback"}


@pytest.mark.parametrize("name", ["steering_sign", "steering_degrees", "acceleration_sign", "imu_forward_right_down"])
def test_a_repair_restores_what_was_there(clean, planted, tmp_path, name):
    fault = BY_NAME[name]
    write_repaired(examine(planted(fault, *fault.topics)), tmp_path / "repaired")
    true, restored = (read_drive(path).segments[0] for path in (clean, tmp_path / "repaired"))
    assert true.state == pytest.approx(restored.state, abs=1e-5, nan_ok=True)
    assert true.action == pytest.approx(restored.action, abs=1e-5)


def test_a_twist_in_the_world_comes_back_into_the_car(clean, planted, tmp_path):
    fault = BY_NAME["world_twist"]
    write_repaired(examine(planted(fault, *fault.topics)), tmp_path / "repaired")
    true, restored = (read_drive(path).segments[0].state for path in (clean, tmp_path / "repaired"))
    assert true[:, 3:5] == pytest.approx(restored[:, 3:5], abs=1e-6)


def test_a_clock_is_set_right_to_the_transport(clean, planted, tmp_path):
    fault = BY_NAME["imu_clock_ahead"]
    write_repaired(examine(planted(fault, *fault.topics)), tmp_path / "repaired")
    stamps = [examine(path).recording.topics["/imu/data"].stamp_ns for path in (clean, tmp_path / "repaired")]
    assert abs(stamps[0] - stamps[1]).max() < 0.005 * 1e9


def test_two_faults_are_repaired_at_once(clean, planted, tmp_path):
    steering, twist = BY_NAME["command_sign"], BY_NAME["world_twist"]

    def both(topic, place, message, received_ns):
        return (steering if topic == "/drive" else twist)(topic, place, message, received_ns)

    diagnosis = examine(planted(both, "/drive", "/odom"))
    assert serious(diagnosis) == {("steering_sign", "/drive"), ("twist_frame", "/odom")}
    assert len(repairs_of(diagnosis)) == 2
    write_repaired(diagnosis, tmp_path / "repaired")
    assert serious(examine(tmp_path / "repaired")) == set()


def test_a_healthy_recording_is_not_copied(clean, tmp_path):
    with pytest.raises(DataError, match="nothing that --repair could put right"):
        write_repaired(examine(clean), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_nothing_is_overwritten(planted, tmp_path):
    fault = BY_NAME["steering_sign"]
    diagnosis = examine(planted(fault, *fault.topics))
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="exists already"):
        write_repaired(diagnosis, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_a_failure_leaves_nothing_behind(planted, tmp_path, monkeypatch):
    fault = BY_NAME["steering_sign"]
    diagnosis = examine(planted(fault, *fault.topics))

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("mbrl_ros.data.doctor.repair._apply", full)
    with pytest.raises(OSError, match="no space"):
        write_repaired(diagnosis, tmp_path / "repaired")
    assert [p.name for p in tmp_path.iterdir()] == ["planted"]
