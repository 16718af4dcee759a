"""The filter on the simulated car, whose physics are not the filter's."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.layout import VX, VY, YAW, YAW_RATE
from mbrl_ros.estimation import GYRO_BIAS, StateEstimator
from mbrl_ros.evaluation.closed_loop import measurements
from mbrl_ros.simulation import Simulator


def drive(
    vehicle,
    steer,
    speed,
    duration_s=7.0,
    kind="single_track",
    keep=lambda reading: True,
    seed=1,
    model=None,
    heard=lambda reading: reading,
    told=lambda now_s: True,
):
    """Errors of the estimate at 50 Hz [N, 9] after two seconds, the time of each, and the estimator."""
    car = vehicle if model is None else vehicle.model_copy(update={"plant": vehicle.plant.model_copy(update=model)})
    simulator, estimator = Simulator(car, seed=seed), StateEstimator.for_vehicle(vehicle, kind)
    simulator.set_pose(1.0, 2.0, 2.5, speed_mps=speed(0.0))
    errors = []
    for step in range(round(duration_s * 50)):
        now_s = 0.02 * step
        push = float(np.clip(2.0 * (speed(now_s) - simulator.truth()[VX]), -5.0, 5.0))
        if told(now_s):
            simulator.command(now_s, steer(now_s), acceleration=push)
            estimator.add_command(now_s, np.array([steer(now_s), push]))
        for reading in simulator.advance(now_s + 0.02):
            if keep(reading):
                for measurement in measurements(heard(reading)):
                    estimator.add(measurement)
        if step >= 100:
            estimate = estimator.predict(simulator.now_s)
            assert np.isfinite(estimate.mean).all()
            assert np.linalg.eigvalsh(estimate.covariance).min() > 0.0
            error = estimate.mean - np.append(simulator.truth(), simulator.gyro_bias_radps)
            error[YAW] = wrap_angle(error[YAW])
            errors.append(error)
    return np.array(errors), estimator


def position_rmse(errors):
    return math.sqrt((errors[:, :2] ** 2).sum(axis=1).mean())


def rms(errors, entry):
    return math.sqrt((errors[:, entry] ** 2).mean())


@pytest.mark.parametrize(
    ("steer", "speed"),
    [
        (lambda t: 0.2 * math.sin(2.0 * t), lambda t: 3.0),
        (lambda t: 0.25, lambda t: 3.5),
        (lambda t: 0.15 * math.sin(1.5 * t), lambda t: 4.0 + 2.0 * math.sin(t)),
    ],
    ids=["slalom", "circle", "accelerating slalom"],
)
def test_the_small_car_is_placed_better_than_half_its_fixes_noise(vehicle, steer, speed):
    car = vehicle("f1tenth")
    errors, estimator = drive(car, steer, speed)
    assert position_rmse(errors) < 0.5 * car.sensors.pose.position_noise_std_m
    assert rms(errors, YAW) < 0.75 * car.sensors.pose.yaw_noise_std_rad
    assert rms(errors, VX) < 0.05
    assert rms(errors, VY) < 0.12
    assert rms(errors, YAW_RATE) < 0.1
    assert abs(errors[-1, GYRO_BIAS]) < 0.03
    assert sum(count for reason, count in estimator.counters.items() if "gate" in reason) < 10


def test_the_full_size_car_too(vehicle):
    car = vehicle("bmw_320i")
    errors, _ = drive(car, lambda t: 0.05 * math.sin(t), lambda t: 12.0)
    assert position_rmse(errors) < 0.5 * car.sensors.pose.position_noise_std_m
    assert rms(errors, VX) < 0.1
    assert rms(errors, VY) < 0.05


def test_a_kinematic_filter_is_usable_and_a_tyre_model_is_better(vehicle):
    car = vehicle("f1tenth")
    steer, speed = (lambda t: 0.2 * math.sin(2.0 * t)), (lambda t: 3.0)
    kinematic, _ = drive(car, steer, speed, kind="kinematic_bicycle")
    single_track, _ = drive(car, steer, speed)
    assert position_rmse(kinematic) < car.sensors.pose.position_noise_std_m
    assert position_rmse(single_track) < 0.75 * position_rmse(kinematic)
    assert rms(single_track, VY) < 0.3 * rms(kinematic, VY)


def test_without_its_sensors_the_filter_drifts_slowly_and_recovers(vehicle):
    car = vehicle("f1tenth")

    def keep(reading):
        blind = 3.0 <= reading.stamp_s < 4.0
        return not (blind and reading.sensor in ("wheel_speed", "pose"))

    errors, _ = drive(car, lambda t: 0.15 * math.sin(t), lambda t: 3.0, keep=keep)
    distance = np.hypot(errors[:, 0], errors[:, 1])
    blind, after = distance[50:100], distance[130:]
    assert distance[95:105].max() < 0.5
    assert np.sqrt((after**2).mean()) < 0.03
    assert blind.max() > after.mean()


def test_without_wheel_speed_the_fixes_and_the_model_carry_the_filter(vehicle):
    car = vehicle("f1tenth")
    errors, _ = drive(
        car,
        lambda t: 0.15 * math.sin(t),
        lambda t: 3.0,
        keep=lambda reading: reading.sensor != "wheel_speed",
    )
    assert position_rmse(errors) < 0.04
    assert rms(errors, VX) < 0.15


def test_at_standstill_nothing_creeps(vehicle):
    errors, _ = drive(vehicle("f1tenth"), lambda t: 0.2, lambda t: 0.0, duration_s=5.0)
    assert np.abs(errors[:, VX]).max() < 0.1
    assert position_rmse(errors) < 0.025


def test_a_car_that_brakes_by_itself_for_want_of_commands_is_followed(vehicle):
    car = vehicle("f1tenth")
    unaware = car.estimator.process.model_copy(update={"unheard_mps2_rts": 0.0})
    uninformed = car.model_copy(update={"estimator": car.estimator.model_copy(update={"process": unaware})})

    def followed(asked, seed):
        # Three tenths of a second of hard driving, and as long again nobody says anything.
        return drive(asked, lambda t: 0.0, lambda t: 2.0 if t else 0.0, seed=seed, told=lambda t: t % 0.6 <= 0.3)[0]

    for seed in range(3):
        errors = followed(car, seed)
        assert position_rmse(errors) < 0.05
        assert rms(errors, VX) < 0.25
        assert rms(followed(uninformed, seed), VX) > 1.5 * rms(errors, VX)


def test_a_car_that_spins_is_not_lost(vehicle):
    car = vehicle("f1tenth")

    def steer(now_s):
        return 0.1 * math.sin(2 * now_s) if now_s < 3.0 else 0.38 if now_s < 3.5 else -0.2 if now_s < 4.0 else 0.0

    def speed(now_s):
        return 6.0 if now_s < 3.2 else 3.0

    rolling = car.estimator.process.model_copy(update={"sliding_rts": 0.0, "sliding_radpm_rts": 0.0})
    surprised = car.estimator.model_copy(update={"process": rolling})
    for seed in range(3):
        errors, estimator = drive(car, steer, speed, seed=seed)
        assert position_rmse(errors) < 0.06
        assert np.hypot(errors[:, 0], errors[:, 1]).max() < 0.3
        assert rms(errors, YAW) < 0.02
        assert rms(errors, YAW_RATE) < 0.2
        assert rms(errors, VY) < 0.4
        assert abs(errors[-1, GYRO_BIAS]) < 0.02
        assert sum(count for reason, count in estimator.counters.items() if "reject" in reason) < 10
        lost, _ = drive(car.model_copy(update={"estimator": surprised}), steer, speed, seed=seed)
        assert position_rmse(lost) > 2 * position_rmse(errors)
        assert rms(lost, VX) > 2 * rms(errors, VX)


def test_an_engine_that_spins_a_wheel_does_not_speed_up_the_estimate(vehicle):
    car = vehicle("bmw_320i")
    bend = (lambda t: 0.1 * min(t / 2, 1.0)), (lambda t: 13.5 + 1.5 * math.sin(2 * t))
    errors, _ = drive(car, *bend, model={"model": "multi_body"})
    wheels = car.estimator.model_copy(update={"use_accelerometer": False})
    deceived, _ = drive(car.model_copy(update={"estimator": wheels}), *bend, model={"model": "multi_body"})
    assert rms(errors, VX) < 0.15
    assert rms(deceived, VX) > 1.5 * rms(errors, VX)


def test_lateral_velocity_that_follows_the_accelerometer_is_right_where_the_tyres_know_nothing_of_lost_grip(vehicle):
    car = vehicle("bmw_320i")
    slippery = {"model": "multi_body", "friction_scale": 0.7}
    bend = (lambda t: 0.08 * math.sin(1.2 * t)), (lambda t: 13.5 + 1.5 * math.sin(2 * t))
    errors, _ = drive(car, *bend, duration_s=5.0, model=slippery)
    tyres = car.estimator.model_copy(update={"follow_sideways": False})
    believed, _ = drive(car.model_copy(update={"estimator": tyres}), *bend, duration_s=5.0, model=slippery)
    assert rms(errors, VY) < 0.25
    assert rms(believed, VY) > 2 * rms(errors, VY)


@pytest.mark.parametrize(("bias", "glitch"), [(0.5, 0.0), (0.0, 60.0)], ids=["a banked road", "a knock"])
def test_a_followed_accelerometer_is_not_believed_alone(vehicle, bias, glitch):
    car, heard_at = vehicle("bmw_320i"), iter(range(10**6))

    def heard(reading):
        if reading.sensor != "imu":
            return reading
        knocked = glitch if next(heard_at) % 100 == 99 else 0.0
        return replace(reading, values=reading.values + np.array([0.0, 0.0, bias + knocked, 0.0]))

    errors, estimator = drive(car, lambda t: 0.06 * math.sin(2 * t), lambda t: 12.0, heard=heard)
    assert rms(errors, VY) < 0.25
    assert position_rmse(errors) < car.sensors.pose.position_noise_std_m
    assert sum(count for reason, count in estimator.counters.items() if reason.startswith("position")) < 3


def test_the_full_size_cars_speed_is_known_while_its_inner_rear_wheel_spins(vehicle):
    car = vehicle("bmw_320i").with_plant("multi_body", "plant")

    def speed(now_s):
        return min(12.0 + max(2.0 * (now_s - 2.0), 0.0), 20.0)

    def worst(**changed):
        asked = car.model_copy(update={"estimator": car.estimator.model_copy(update=changed)})
        errors, _ = drive(asked, lambda t: 0.09, speed)
        return np.abs(errors[:, VX]).max()

    assert worst() < 0.6
    assert worst(use_accelerometer=False) > 1.5
