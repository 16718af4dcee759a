import numpy as np
import pytest

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.sensing import EstimatorSettings
from mbrl_ros.estimation import Measurement, imu_measurements, odometry_covariances, planar_covariance
from mbrl_ros.estimation.measurement import noise_covariance

SETTINGS = EstimatorSettings()


def test_odometry_covariances_hold_every_planar_entry_at_its_place():
    factor = np.random.default_rng(0).normal(size=(9, 9))
    covariance = factor @ factor.T
    pose, twist = odometry_covariances(covariance)
    assert pose.shape == twist.shape == (6, 6)
    assert pose[0, 5] == pose[5, 0] == covariance[0, 2]
    assert twist[1, 5] == covariance[4, 5]
    np.testing.assert_array_equal(planar_covariance(pose.ravel()), covariance[:3, :3])
    for full in (pose, twist):
        assert np.linalg.eigvalsh(full).min() > 0.0
        assert not full[2:5, [0, 1, 5]].any()
    with pytest.raises(LayoutError, match="36"):
        planar_covariance(np.zeros(9))


def imu(turning, pushing):
    return imu_measurements(1.0, 1.01, np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 9.81]), turning, pushing)


def test_imu_conventions():
    known = np.diag([1.0, 2.0, 3.0]).ravel()
    gyro, accelerometer = imu(known, known)
    assert (gyro.source, gyro.values.tolist(), gyro.covariance.tolist()) == ("gyro", [0.3], [[3.0]])
    assert accelerometer.values.tolist() == [1.0, 2.0]
    assert accelerometer.covariance.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    absent = np.array([-1.0, *np.zeros(8)])
    assert [item.source for item in imu(absent, known)] == ["accelerometer"]
    assert [item.source for item in imu(known, absent)] == ["gyro"]
    assert imu(absent, absent) == []


def pose(covariance):
    return Measurement("pose", 0.0, 0.0, np.zeros(3), covariance)


def test_unknown_covariance_is_the_default_and_a_known_one_is_kept():
    default = np.diag(np.square([SETTINGS.measurement.position_m] * 2 + [SETTINGS.measurement.yaw_rad]))
    for unknown in (None, np.zeros((3, 3))):
        noise, impossible = noise_covariance(pose(unknown), SETTINGS)
        np.testing.assert_allclose(noise, default)
        assert not impossible
    known = np.array([[0.04, 0.01, 0.0], [0.01, 0.09, 0.0], [0.0, 0.0, 0.001]])
    np.testing.assert_array_equal(noise_covariance(pose(known), SETTINGS)[0], known)


@pytest.mark.parametrize(
    "covariance",
    [
        np.diag([1.0, -1.0, 1.0]),
        np.diag([1.0, np.nan, 1.0]),
        np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    ],
)
def test_impossible_covariances_are_put_aside_and_said(covariance):
    noise, impossible = noise_covariance(pose(covariance), SETTINGS)
    assert impossible
    np.testing.assert_allclose(noise, noise_covariance(pose(None), SETTINGS)[0])


def test_what_the_measurement_equation_leaves_out_is_added():
    speed = Measurement("wheel_speed", 0.0, 0.0, np.zeros(1), np.array([[0.0009]]))
    noise, _ = noise_covariance(speed, SETTINGS)
    assert noise[0, 0] == pytest.approx(0.0009 + SETTINGS.unmodelled.wheel_speed_mps**2)


def test_shapes_are_checked():
    with pytest.raises(LayoutError, match="gyro: values"):
        Measurement("gyro", 0.0, 0.0, np.zeros(3))
    with pytest.raises(LayoutError, match="pose: covariance"):
        Measurement("pose", 0.0, 0.0, np.zeros(3), np.eye(6))
