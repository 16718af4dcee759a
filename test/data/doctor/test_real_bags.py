"""Verdicts on real recordings: the oddities that they are known to have, found without being told."""

import pytest
from simulated_drive import serious

from mbrl_ros.data.doctor import examine
from mbrl_ros.evaluation.doctor_report import write_doctor_report

VERDICTS = {  # what harms a model, by check and topic
    "genesis_fast_lap": {
        ("acceleration_lag", "/drive_feedback"),
        ("heading_offset", "/odom"),
        ("imu_bias", "/imu/data"),
    },
    "genesis_medium_laps": {
        ("acceleration_lag", "/drive_feedback"),
        ("heading_offset", "/odom"),
        ("imu_bias", "/imu/data"),
    },
    "indy_putnam": {
        ("yaw_rate_lag", "/odom"),
        ("acceleration_lag", "/drive_feedback"),
        ("two_reference_points", "/odom"),
    },
    "f1tenth_ds3": {
        ("copied_yaw_rate", "/odom"),
        ("imu_bias", "/sensors/imu/raw"),
        ("saturation", "/ackermann_cmd"),
        ("speed_not_reached", "/ackermann_cmd"),
    },
    "f1tenth_ds5": {
        ("copied_yaw_rate", "/odom"),
        ("imu_bias", "/sensors/imu/raw"),
        ("saturation", "/ackermann_cmd"),
        ("silence", "/ackermann_cmd"),
        ("silence", "/odom"),
        ("silence", "/pf/pose/odom"),
        ("silence", "/sensors/imu/raw"),
        ("speed_scale", "/odom"),
        ("speed_scale", "/pf/pose/odom"),
    },
    "mcity_ins": {
        ("frame_tilted", "/ins/odometry"),
        ("imu_tilted", "/ins/imu"),
        ("little_driving", ""),
        ("lost_messages", "/ins/odometry"),
        ("no_controls", ""),
        ("standstill", ""),
    },
}

NUMBERS = [  # bag, check, topic, value, tolerance
    ("genesis_fast_lap", "acceleration_lag", "/drive_feedback", 0.75, 0.15),
    ("genesis_medium_laps", "acceleration_lag", "/drive_feedback", 0.65, 0.1),
    ("genesis_fast_lap", "steering_delay", "/drive_feedback", 0.05, 0.04),
    ("indy_putnam", "yaw_rate_lag", "/odom", 0.33, 0.02),
    ("indy_putnam", "steering_delay", "/drive_feedback", 0.0, 0.03),
    ("f1tenth_ds3", "steering_delay", "/ackermann_cmd", 0.13, 0.03),
    ("f1tenth_ds5", "steering_delay", "/ackermann_cmd", 0.15, 0.03),
    ("f1tenth_ds5", "speed_scale", "/odom", 1.08, 0.02),
    ("f1tenth_ds5", "silence", "/odom", 1.84, 0.01),
    ("mcity_ins", "frame_tilted", "/ins/odometry", 89.0, 1.0),
]

GOOD_TO_KNOW = {
    "genesis_fast_lap": {"covariance_unknown", "imu_constant", "same_signal", "stamped_at_receipt"},
    "f1tenth_ds3": {"covariance_unknown", "yaw_rate_empty", "one_speed"},
    "mcity_ins": {"covariance_unknown"},
}


@pytest.fixture(scope="module")
def diagnoses(shared_data):
    return {name: examine(shared_data / "bags" / name) for name in VERDICTS}


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(diagnoses, name):
    assert serious(diagnoses[name]) == VERDICTS[name]
    assert GOOD_TO_KNOW.get(name, set()) <= {f.check for f in diagnoses[name].findings}


@pytest.mark.parametrize(("name", "check", "topic", "value", "tolerance"), NUMBERS)
def test_number(diagnoses, name, check, topic, value, tolerance):
    found = next(f for f in diagnoses[name].findings if f.check == check and f.topic == topic)
    assert found.value == pytest.approx(value, abs=tolerance)
    assert found.std is None or 0 < found.std < tolerance


def test_report_without_a_usable_orientation_has_no_pictures_of_motion(diagnoses, tmp_path):
    page = write_doctor_report(diagnoses["mcity_ins"], tmp_path).read_text()
    assert page.count("data:image/png;base64,") == 1
    assert "frame tilted" in page
