import copy
import math
from collections import defaultdict

import numpy as np
import pytest

from mbrl_ros.core.layout import ACCELERATION, STEERING_ANGLE, VX, YAW_RATE
from mbrl_ros.core.sensing import InertialSensor, PoseSensor, Sensors, SteeringSensor, WheelSpeedSensor
from mbrl_ros.simulation import Simulator


def drive(simulator, until_s, steering=0.1, acceleration=1.0, period_s=0.02):
    readings = []
    while simulator.now_s < until_s - 1e-9:
        now_s = simulator.now_s
        simulator.command(now_s, steering, acceleration=acceleration)
        readings += simulator.advance(now_s + period_s)
    return readings


def by_sensor(readings):
    sorted_out = defaultdict(list)
    for reading in readings:
        sorted_out[reading.sensor].append(reading)
    return sorted_out


SENSORS = Sensors(
    wheel_speed=WheelSpeedSensor(rate_hz=50, latency_s=0.003, noise_std_mps=0.03),
    imu=InertialSensor(
        rate_hz=200,
        gyro_noise_std_radps=0.02,
        gyro_bias_std_radps=0.05,
        acceleration_noise_std_mps2=0.3,
    ),
    steering=SteeringSensor(rate_hz=40, latency_s=0.011, noise_std_rad=0.004),
    pose=PoseSensor(rate_hz=30, latency_s=0.05, position_noise_std_m=0.06, yaw_noise_std_rad=0.02),
)


def test_sensors_keep_their_rates_latencies_and_noise(vehicle):
    simulator = Simulator(vehicle("f1tenth"), SENSORS, seed=3)
    readings = simulator.advance(20.0)  # nothing is commanded: the car stands
    sensors = by_sensor(readings)
    for name, sensor in SENSORS:
        stamps = np.array([reading.stamp_s for reading in sensors[name]])
        arrivals = np.array([reading.arrival_s for reading in sensors[name]])
        assert len(stamps) == pytest.approx(20.0 * sensor.rate_hz, abs=3)
        assert np.diff(stamps).max() <= 1.0 / sensor.rate_hz + 0.005 + 1e-9
        np.testing.assert_allclose(arrivals - stamps, sensor.latency_s, atol=1e-9)
    assert [reading.arrival_s for reading in readings] == sorted(reading.arrival_s for reading in readings)

    imu = np.array([reading.values for reading in sensors["imu"]])
    np.testing.assert_allclose(imu.std(axis=0), [0.02, 0.3, 0.3, 0.3], rtol=0.05)
    assert imu[:, 3].mean() == pytest.approx(9.81, abs=0.03)  # gravity is on z (REP-145)
    np.testing.assert_allclose(imu[:, 1:3].mean(axis=0), 0.0, atol=0.03)
    assert imu[:, 0].mean() == pytest.approx(simulator.gyro_bias_radps, abs=0.002)
    assert simulator.gyro_bias_radps != 0.0
    pose = np.array([reading.values for reading in sensors["pose"]])
    np.testing.assert_allclose(pose.std(axis=0), [0.06, 0.06, 0.02], rtol=0.12)
    np.testing.assert_allclose(sensors["pose"][0].variances, [0.06**2, 0.06**2, 0.02**2])
    whiteness = np.corrcoef(imu[:-1, 1], imu[1:, 1])[0, 1]
    assert abs(whiteness) < 0.06


def test_readings_are_of_the_instant_that_their_stamp_names(vehicle):
    exact = Sensors(
        imu=InertialSensor(rate_hz=100, latency_s=0.02, gyro_noise_std_radps=0.0, acceleration_noise_std_mps2=0.0),
        pose=PoseSensor(rate_hz=20, latency_s=0.05, position_noise_std_m=0.0, yaw_noise_std_rad=0.0),
    )
    simulator = Simulator(vehicle("f1tenth"), exact)
    truth, readings = {}, []
    for step in range(400):
        if step % 4 == 0:
            simulator.command(simulator.now_s, 0.2, acceleration=2.0)
        readings += simulator.advance((step + 1) * 0.005)
        truth[round(simulator.now_s, 6)] = (simulator.truth(), simulator.motion())
    assert {reading.sensor for reading in readings} == {"imu", "pose"}
    for reading in readings[5:]:
        state, motion = truth[round(reading.stamp_s, 6)]
        if reading.sensor == "pose":
            np.testing.assert_allclose(reading.values, state[:3], atol=1e-9)
        else:
            expected = [state[YAW_RATE], motion.ax_mps2, motion.ay_mps2, 9.81]
            np.testing.assert_allclose(reading.values, expected, atol=1e-9)


def test_specific_force_is_what_accelerates_the_truth(vehicle):
    simulator = Simulator(vehicle("f1tenth"))
    drive(simulator, 2.0, steering=0.15)
    states, forces = [], []
    for _ in range(3):
        simulator.command(simulator.now_s, 0.15, acceleration=1.0)
        simulator.advance(simulator.now_s + 0.005)
        states.append(simulator.truth())
        forces.append(simulator.motion())
    slope = (states[2] - states[0]) / 0.01
    state, force = states[1], forces[1]
    assert force.ax_mps2 == pytest.approx(slope[VX] - state[YAW_RATE] * state[4], abs=0.01)
    assert force.ay_mps2 == pytest.approx(slope[4] + state[YAW_RATE] * state[VX], abs=0.01)


def test_the_same_seed_and_commands_give_the_same_bits_however_time_is_cut(vehicle):
    def run(seed, period_s):
        simulator = Simulator(vehicle("f1tenth"), seed=seed)
        readings, commanded = [], 0
        for tick in range(round(1.0 / period_s) + 1):
            while commanded * 0.02 <= tick * period_s + 1e-9:
                simulator.command(commanded * 0.02, 0.1 * math.sin(commanded), acceleration=2.0)
                commanded += 1
            readings += simulator.advance(tick * period_s)
        return np.concatenate([reading.values for reading in readings if reading.arrival_s < 0.9]), simulator.truth()

    values, truth = run(5, 0.02)
    for period_s in (0.005, 0.01):
        again, truth_again = run(5, period_s)
        assert np.array_equal(values, again)
        assert np.array_equal(truth, truth_again)
    other, _ = run(6, 0.02)
    assert not np.array_equal(values, other)


def test_a_copy_is_a_snapshot(vehicle):
    simulator = Simulator(vehicle("f1tenth"), seed=1)
    drive(simulator, 0.5)
    snapshot = copy.deepcopy(simulator)
    first = [reading.values for reading in drive(simulator, 1.0)]
    second = [reading.values for reading in drive(snapshot, 1.0)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.array_equal(simulator.truth(), snapshot.truth())


def test_leaving_a_sensor_out_does_not_change_the_others(vehicle):
    full = by_sensor(Simulator(vehicle("f1tenth"), SENSORS, seed=2).advance(0.5))
    less = by_sensor(Simulator(vehicle("f1tenth"), SENSORS.model_copy(update={"imu": None}), seed=2).advance(0.5))
    assert "imu" not in less
    for name in ("wheel_speed", "steering", "pose"):
        assert all(np.array_equal(a.values, b.values) for a, b in zip(full[name], less[name], strict=True))


def test_watchdog_brakes_the_car_to_standstill(vehicle):
    simulator = Simulator(vehicle("f1tenth"))
    assert simulator.watchdog_active
    drive(simulator, 1.5, acceleration=3.0)
    assert not simulator.watchdog_active
    speed = simulator.truth()[VX]
    simulator.advance(simulator.now_s + 0.15)
    assert simulator.truth()[VX] > speed
    simulator.advance(simulator.now_s + 0.15)
    assert simulator.watchdog_active
    assert simulator.truth()[ACCELERATION] < -4.0
    simulator.advance(simulator.now_s + 1.5)
    stopped = simulator.truth()
    assert stopped[VX] == 0.0
    assert stopped[ACCELERATION] == 0.0
    simulator.advance(simulator.now_s + 1.0)
    assert np.array_equal(simulator.truth(), stopped)
    drive(simulator, simulator.now_s + 0.5)
    assert simulator.truth()[VX] > 0.2


def test_commands_are_refused_for_cause_and_counted(vehicle):
    simulator = Simulator(vehicle("f1tenth"), start_s=10.0)
    simulator.advance(11.0)
    assert simulator.command(11.0, 0.1, acceleration=1.0) == ""
    assert simulator.command(11.0, 0.2, acceleration=1.0) == "repeated command stamp"
    assert simulator.command(10.95, 0.2, acceleration=1.0) == "backward command stamp"
    assert simulator.command(10.0, 0.2, acceleration=1.0) == "stale command"
    assert simulator.command(13.0, 0.2, acceleration=1.0) == "command from the future"
    assert simulator.command(11.01, math.nan, acceleration=1.0) == "non-finite command"
    assert simulator.command(11.01, 0.1, speed=math.inf) == "non-finite command"
    assert simulator.command(11.02, 0.1, acceleration=1.0) == ""
    assert simulator.counters["commands"] == 2
    assert sum(simulator.counters.values()) == 8


def test_set_pose_puts_the_car_at_rest_and_drops_what_was_under_way(vehicle):
    simulator = Simulator(vehicle("f1tenth"))
    drive(simulator, 1.0, acceleration=3.0)
    simulator.set_pose(5.0, -2.0, 4.0)
    np.testing.assert_allclose(simulator.truth()[:4], [5.0, -2.0, 4.0 - 2 * math.pi, 0.0])
    readings = simulator.advance(simulator.now_s + 0.3)
    assert all(reading.stamp_s > 1.0 for reading in readings)
    for reading in by_sensor(readings)["pose"]:
        np.testing.assert_allclose(reading.values[:2], [5.0, -2.0], atol=0.3)
    np.testing.assert_allclose(simulator.truth()[:4], [5.0, -2.0, 4.0 - 2 * math.pi, 0.0])


def test_truth_holds_the_delivered_acceleration_and_the_wheel_angle(vehicle):
    simulator = Simulator(vehicle("f1tenth"))
    drive(simulator, 1.0, steering=0.0, acceleration=2.0)
    before = simulator.truth()
    drive(simulator, 1.2, steering=0.0, acceleration=2.0)
    after = simulator.truth()
    assert (after[VX] - before[VX]) / 0.2 == pytest.approx(after[ACCELERATION], rel=0.02)
    drive(simulator, 2.2, steering=0.1, acceleration=0.0)
    assert simulator.truth()[STEERING_ANGLE] == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(("car", "model"), [("bmw_320i", "multi_body"), ("bmw_320i", "single_track_drift")])
def test_the_full_size_car_drives_a_circle(vehicle, car, model):
    simulator = Simulator(vehicle(car, model=model))
    simulator.set_pose(0.0, 0.0, 0.0, speed_mps=8.0)
    drive(simulator, 2.0, steering=0.1, acceleration=0.2)
    state = simulator.truth()
    assert np.isfinite(state).all()
    assert state[VX] == pytest.approx(8.0, abs=1.0)
    radius = 2.5789 / math.tan(state[STEERING_ANGLE])
    assert state[VX] / state[YAW_RATE] == pytest.approx(radius, rel=0.05)
