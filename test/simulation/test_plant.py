import math

import numpy as np
import pytest

from mbrl_ros.core.errors import ConfigError, ModelError
from mbrl_ros.simulation.parameter_sets import parameter_set
from mbrl_ros.simulation.plant import Plant

CARS = [("f1tenth", "single_track_drift"), ("bmw_320i", "single_track_drift"), ("bmw_320i", "multi_body")]


def drive(plant, duration_s, steering_rad, acceleration, step_s=0.005):
    """Steer as fast as the car can towards an angle, under an acceleration (a number, or of time and speed)."""
    motions = []
    for step in range(round(duration_s / step_s)):
        time_s = step * step_s
        wanted = acceleration(time_s, plant.speed_mps) if callable(acceleration) else acceleration
        angle = steering_rad(time_s) if callable(steering_rad) else steering_rad
        rate = (angle - plant.steering_angle_rad) / step_s
        plant.step(step_s, float(np.clip(rate, -0.4, 0.4)), float(wanted))
        if step % 4 == 3:
            motions.append(plant.motion())
    return motions


def at_speed(speed):
    return lambda time_s, now: np.clip(5.0 * (speed - now), -3.0, 3.0)


@pytest.mark.parametrize(("car", "model"), CARS)
def test_slow_circle_has_the_radius_of_the_geometry(vehicle, car, model):
    parameters = parameter_set(car)
    wheelbase, steering = parameters.a + parameters.b, 0.15
    plant = Plant(vehicle(car, model=model).plant)
    end = drive(plant, 1.5, steering, at_speed(0.5))[-1]
    radius = math.hypot(parameters.b, wheelbase / math.tan(steering))  # at the centre of gravity
    speed = math.hypot(end.vx_mps, end.vy_mps)
    assert end.yaw_rate_radps == pytest.approx(speed / radius, rel=0.02)
    assert math.atan2(end.vy_mps, end.vx_mps) == pytest.approx(
        math.atan(parameters.b / wheelbase * math.tan(steering)), rel=0.05
    )
    assert end.ay_mps2 == pytest.approx(end.vx_mps * end.yaw_rate_radps, rel=0.05)


@pytest.mark.parametrize(("car", "model"), CARS)
def test_straight_line_follows_the_acceleration_and_conserves_what_the_drive_gave(vehicle, car, model):
    plant = Plant(vehicle(car, model=model).plant)
    motions = drive(plant, 1.0, 0.0, 3.0)
    expected = 3.0 * plant.delivered_share
    assert motions[-1].vx_mps == pytest.approx(expected, rel=0.02)
    assert motions[-1].x_m == pytest.approx(0.5 * expected, rel=0.03)
    assert motions[-1].ax_mps2 == pytest.approx(expected, rel=0.02)
    # Kinetic energy, wheels included, is the work of the drive: power integrates to m a x.
    assert 0.5 * motions[-1].vx_mps ** 2 == pytest.approx(expected * motions[-1].x_m, rel=0.02)
    coasting = drive(plant, 0.3, 0.0, 0.0)
    assert coasting[-1].vx_mps == pytest.approx(motions[-1].vx_mps, rel=0.01)


@pytest.mark.parametrize(("car", "model"), CARS)
def test_braking_ends_at_standstill_and_the_car_stays_there(vehicle, car, model):
    plant = Plant(vehicle(car, model=model).plant)
    drive(plant, 0.7, 0.1, 4.0)
    drive(plant, 1.0, 0.1, -4.0)
    stopped = plant.motion()
    assert plant.standing
    later = drive(plant, 1.0, -0.2, -4.0)[-1]
    assert (later.x_m, later.y_m, later.yaw_rad) == (stopped.x_m, stopped.y_m, stopped.yaw_rad)
    assert later.vx_mps == later.vy_mps == later.yaw_rate_radps == later.wheel_speed_mps == 0.0
    assert later.steering_angle_rad == pytest.approx(-0.2, abs=1e-9)
    assert drive(plant, 0.4, -0.2, 2.0)[-1].vx_mps > 0.6


@pytest.mark.parametrize(
    ("car", "model", "speed", "steering"),
    [
        ("f1tenth", "single_track_drift", 3.0, 0.15),
        ("bmw_320i", "single_track_drift", 12.0, 0.04),
        ("bmw_320i", "multi_body", 12.0, 0.04),
    ],
)
def test_the_step_is_as_good_as_a_ten_times_finer_one(vehicle, car, model, speed, steering):
    ends = []
    for step_s in (0.005, 0.0005):
        plant = Plant(vehicle(car, model=model).plant)
        plant.set_pose(0.0, 0.0, 0.0, speed)
        drive(plant, 0.6, lambda time_s: steering * math.sin(8.0 * time_s), 1.0, step_s)
        ends.append(plant.motion())
    coarse, fine = (np.array([end.x_m, end.y_m, end.yaw_rad, end.vx_mps, end.vy_mps]) for end in ends)
    assert np.abs(coarse - fine).max() < 0.02


@pytest.mark.parametrize(("car", "model"), CARS)
def test_nothing_a_driver_can_do_ends_in_a_number_that_is_none(vehicle, car, model):
    generator = np.random.default_rng(7)
    plant = Plant(vehicle(car, model=model).plant)
    largest = plant.steering_limit_rad
    for _ in range(25):
        steering, acceleration = generator.uniform(-largest, largest), generator.uniform(-9.0, 9.0)
        plant.set_friction_scale(float(generator.uniform(0.3, 1.5)))
        for motion in drive(plant, 0.1, steering, acceleration):
            assert all(math.isfinite(value) for value in vars(motion).values())
            assert math.hypot(motion.vx_mps, motion.vy_mps) < 60.0
            assert abs(motion.yaw_rate_radps) < 60.0


@pytest.mark.parametrize(("car", "model"), CARS)
def test_a_spin_ends(vehicle, car, model):
    plant = Plant(vehicle(car, model=model, friction_scale=0.5).plant)
    drive(plant, 1.5, 0.35, 6.0)
    speeds = [math.hypot(motion.vx_mps, motion.vy_mps) for motion in drive(plant, 4.0, 0.35, -7.0)]
    assert plant.standing
    assert max(np.diff(speeds)) < 0.02  # brakes never push


def test_grip_limits_lateral_acceleration_and_changes_while_driving(vehicle):
    plant = Plant(vehicle("f1tenth").plant)
    on_tarmac = max(motion.ay_mps2 for motion in drive(plant, 4.0, 0.4, at_speed(5.0)))
    plant.set_friction_scale(0.5)
    on_wet = max(motion.ay_mps2 for motion in drive(plant, 3.0, 0.4, at_speed(5.0))[100:])
    assert 6.5 < on_tarmac < 11.0
    assert on_wet < 0.65 * on_tarmac


def test_the_small_car_corners_as_its_publications_say():
    tyre = parameter_set("f1tenth").tire
    published = 0.5 * 1.0489 * (4.718 + 5.4562)
    assert -tyre.p_ky1 == pytest.approx(published, rel=0.01)
    assert 0.8 < tyre.p_dy1 < 1.06
    assert 0.8 < tyre.p_dx1 < 1.06


def test_settings_that_contradict_the_parameter_set_are_refused(vehicle):
    with pytest.raises(ConfigError, match="no suspension"):
        Plant(vehicle("f1tenth", model="multi_body").plant)
    with pytest.raises(ConfigError, match="steering_rate_limit_radps"):
        Plant(vehicle("f1tenth", steering_rate_limit_radps=5.0).plant)
    with pytest.raises(ConfigError, match="no parameter set 'gokart'"):
        Plant(vehicle("f1tenth", parameters="gokart").plant)


def test_a_motion_whose_equations_have_no_value_is_an_error_that_says_so(vehicle):
    plant = Plant(vehicle("bmw_320i", model="multi_body").plant)
    plant.set_pose(0.0, 0.0, 0.0, speed_mps=1e300)
    with pytest.raises(ModelError, match="the plant's equations have no value"):
        drive(plant, 0.1, 0.2, 0.0)
