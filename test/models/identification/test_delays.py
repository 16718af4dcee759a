"""Delays read off the recording itself."""

import numpy as np
import pytest

from mbrl_ros.core.layout import YAW_RATE
from mbrl_ros.models.identification.delays import scan_drive, scan_steering
from mbrl_ros.models.parametric import build


def steering_scan(drive, max_s=0.4, by_yaw_rate=True):
    return scan_steering(drive.segments, drive.dt, by_yaw_rate=by_yaw_rate, max_s=max_s, min_speed=1.0)


@pytest.mark.parametrize("delay_s", [0.0, 0.07, 0.11, 0.25])
@pytest.mark.parametrize("by_yaw_rate", [True, False])
def test_the_steering_delay_is_found_between_samples(driven, bicycle, delay_s, by_yaw_rate):
    drive = driven(bicycle.with_parameters({"steering_delay": delay_s}))
    scan = steering_scan(drive, by_yaw_rate=by_yaw_rate)
    # A yaw rate recorded at the end of a step answers to the mean command of the step before: half a step.
    assert scan.delay_s == pytest.approx(delay_s + drive.dt / 2, abs=0.6 * drive.dt)
    assert scan.best > 0.9
    assert not scan.precedes


def test_the_curve_over_the_lags_falls_off_on_both_sides(driven, bicycle):
    scan = steering_scan(driven(bicycle))
    best = int(scan.explained.argmax())
    assert scan.explained[0] < 0.8 * scan.best
    assert scan.explained[-1] < 0.8 * scan.best
    assert scan.lags_s[best] == pytest.approx(scan.delay_s, abs=0.01)


def test_wheelbase_and_understeer_stand_in_the_coefficients(driven, bicycle):
    drive = driven(bicycle.with_parameters({"steering_delay": 0.1, "steering_offset": 0.0}), noise=0.2)
    slope, growth, offset = steering_scan(drive).coefficients
    assert 1 / slope == pytest.approx(2.7, rel=0.05)
    assert -growth / slope**2 == pytest.approx(0.002, rel=0.5)
    assert offset == pytest.approx(0.0, abs=1e-3)


def test_the_drive_delay_is_found(driven, nominal):
    car = build("kinematic_bicycle", {"wheelbase": 0.33, "drive_delay": 0.12}, dt=0.02, drive="speed")
    drive = driven(car, speed=2.0, steering=0.2, noise=0.2)
    scan = scan_drive(drive.segments, drive.dt, "speed", max_s=0.4, min_speed=0.4)
    assert scan.delay_s == pytest.approx(0.12, abs=0.04)
    gain, own, _ = scan.coefficients
    assert gain > 0 > own
    assert scan.extremes[0] < 0 < scan.extremes[1]


def test_a_measurement_that_comes_late_stands_in_for_no_command(driven, bicycle):
    drive = driven(bicycle.with_parameters({"steering_delay": 0.0}))
    late = round(0.3 / drive.dt)
    (segment,) = drive.segments
    segment.action[late:, 0] = segment.action[:-late, 0].copy()
    scan = steering_scan(drive)
    assert scan.precedes
    assert scan.delay_s == pytest.approx(-0.3, abs=0.04)


def test_a_command_that_explains_nothing_precedes_nothing(driven, bicycle):
    drive = driven(bicycle)
    (segment,) = drive.segments
    segment.state[:, YAW_RATE] = np.random.default_rng(0).normal(size=len(segment))
    scan = steering_scan(drive)
    assert scan.best < 0.3
    assert not scan.precedes
