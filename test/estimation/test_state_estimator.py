import math

import numpy as np
import pytest

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.sensing import EstimatorSettings
from mbrl_ros.estimation import GYRO_BIAS, Measurement, StateEstimator
from mbrl_ros.models.parametric import build_for

DELAY_S = 0.02


def wheel(stamp_s, speed, arrival_s=None):
    return Measurement("wheel_speed", stamp_s, arrival_s or stamp_s, np.array([speed]))


def gyro(stamp_s, rate, arrival_s=None):
    return Measurement("gyro", stamp_s, arrival_s or stamp_s, np.array([rate]))


def steering(stamp_s, angle):
    return Measurement("steering", stamp_s, stamp_s, np.array([angle]))


def pose(stamp_s, x=0.0, y=0.0, yaw=0.0, arrival_s=None):
    return Measurement("pose", stamp_s, arrival_s or stamp_s, np.array([x, y, yaw]))


def kinematic(vehicle, **settings):
    model = build_for(vehicle("f1tenth"), "kinematic_bicycle", dt=0.01, integrator="euler")
    return StateEstimator(model, EstimatorSettings(**settings))


@pytest.fixture
def estimator(vehicle):
    # Far predictions show what the filter believes; what ends them has tests of its own.
    return kinematic(vehicle, outage_s=5.0)


def straight(estimator, until_s, speed=2.0, start_s=0.0, pose_every=5, heading=0.0):
    """Measurements of a car that drives straight ahead at 50 Hz."""
    count = round((until_s - start_s) * 50)
    for step in range(count + 1):
        stamp_s = start_s + 0.02 * step
        estimator.add(gyro(stamp_s, 0.0))
        estimator.add(wheel(stamp_s, speed))
        estimator.add(steering(stamp_s, 0.0))
        if step % pose_every == 0:
            along = speed * stamp_s
            estimator.add(pose(stamp_s, along * math.cos(heading), along * math.sin(heading), heading))
    return estimator


def same(first, second):
    return np.array_equal(first.mean, second.mean) and np.array_equal(first.covariance, second.covariance)


def test_the_first_pose_fix_starts_the_filter(estimator):
    assert estimator.predict(1.0) is None
    assert estimator.add(wheel(1.0, 2.0)).refused == ("wheel_speed: no pose yet",)
    assert estimator.add(pose(1.1, 3.0, 4.0, math.nan)).refused == ("pose: no pose yet",)
    assert estimator.add(pose(1.2, 3.0, 4.0, 0.5)).used == ("position", "yaw")
    estimate = estimator.predict(1.2)
    np.testing.assert_allclose(estimate.mean[:3], [3.0, 4.0, 0.5])
    assert estimate.covariance[3, 3] == EstimatorSettings().initial_speed_std_mps ** 2
    assert estimate.pose_s == estimate.measured_s == 1.2
    estimator.add(wheel(1.22, 5.0))
    assert estimator.predict(1.22).mean[3] == pytest.approx(5.0, abs=0.05)


def test_prediction_leaves_the_filter_alone_and_grows_unsure(estimator):
    straight(estimator, 1.0)
    before = estimator.predict(1.0)
    ahead = [estimator.predict(1.0 + seconds) for seconds in (0.005, 0.1, 0.3, 1.0)]
    assert same(before, estimator.predict(1.0))
    assert np.all(np.diff([np.trace(estimate.covariance[:2, :2]) for estimate in ahead]) > 0.0)
    assert ahead[2].mean[0] == pytest.approx(before.mean[0] + 0.3 * before.mean[3], abs=0.02)
    assert ahead[3].measured_s == 1.0
    past = estimator.predict(0.5)
    assert past.stamp_s == 0.5
    assert past.mean[0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("kind", ["kinematic_bicycle", "single_track"])
def test_the_order_of_arrival_does_not_matter(vehicle, kind):
    """Measurements and commands, delayed at random: exactly the filter that had them in order."""
    generator = np.random.default_rng(4)
    car = vehicle("f1tenth")
    events = []
    for step in range(60):
        stamp_s = 0.02 * step
        command = np.array([0.2 * math.sin(0.3 * step), 1.0])
        events.append((stamp_s + generator.uniform(0.0, 0.015), "command", stamp_s, command))
        events.append((stamp_s + 0.004, "measure", stamp_s, gyro(stamp_s, generator.normal(0.5, 0.2), stamp_s + 1)))
        if step % 2:
            late = stamp_s + 0.01
            events.append((late, "measure", stamp_s, wheel(stamp_s, 2.0 + 0.02 * step, stamp_s + 1)))
        if step % 3 == 0:
            fix = pose(stamp_s - 0.001, 0.05 * step, generator.normal(0.0, 0.05), 0.01 * step, stamp_s + 1)
            arrival_s = stamp_s + (0.0 if step == 0 else 0.07)
            events.append((arrival_s, "measure", stamp_s - 0.001, fix))

    def filtered(key):
        estimator = StateEstimator(build_for(car, kind, dt=0.01, integrator="euler"), EstimatorSettings())
        for _, what, stamp_s, content in sorted(events, key=key):
            if what == "command":
                assert estimator.add_command(stamp_s, content) == ""
            else:
                estimator.add(content)
        return estimator

    late = filtered(lambda event: event[0])
    in_order = filtered(lambda event: (event[2], event[1]))
    assert same(late.predict(1.3), in_order.predict(1.3))
    assert late.counters == in_order.counters
    # Whatever was left out was left out by the gates, not for its stamp.
    assert all("gate" in reason or reason == "alignments" for reason in late.counters)


def test_a_filter_that_takes_late_fixes_for_fresh_ones_is_worse(vehicle):
    """Negative control: the same measurements, stamped with their arrival."""
    errors = []
    for stamped_on_arrival in (False, True):
        estimator = kinematic(vehicle)
        squared = []
        for step in range(150):
            now_s, delay_s = 0.02 * step, 0.1
            estimator.add(wheel(now_s, 4.0))
            taken_s = now_s - delay_s
            estimator.add(pose(now_s if stamped_on_arrival else taken_s, 4.0 * taken_s, 0.0, 0.0, now_s))
            estimate = estimator.predict(now_s)
            if step > 50:
                squared.append((estimate.mean[0] - 4.0 * now_s) ** 2)
        errors.append(math.sqrt(np.mean(squared)))
    assert errors[0] < 0.01
    assert errors[1] > 0.3


def test_stamps_in_the_future_duplicated_or_backward_are_refused_and_counted(estimator):
    straight(estimator, 1.0)
    before = estimator.predict(1.0)
    refused = {
        "wheel_speed: duplicate stamp": wheel(1.0, 9.0),
        "wheel_speed: backward stamp": wheel(0.99, 9.0, arrival_s=1.02),
        "wheel_speed: stamp in the future": wheel(5.0, 9.0, arrival_s=1.02),
        "wheel_speed: non-finite stamp": wheel(math.nan, 9.0),
        "pose: backward stamp": pose(0.5, 9.0),
    }
    for reason, measurement in refused.items():
        assert estimator.add(measurement).refused == (reason,)
        assert estimator.counters[reason] == 1
    assert same(before, estimator.predict(1.0))
    assert estimator.add(wheel(1.02, 2.0)).used == ("wheel_speed",)


def test_measurements_older_than_the_history_are_refused_and_the_history_is_bounded(estimator):
    straight(estimator, 0.1)
    for step in range(200):
        estimator.add(wheel(0.2 + 0.02 * step, 2.0))
    assert len(estimator._entries) <= 52
    assert estimator.add(pose(0.5, 1.0)).refused == ("pose: older than the history",)
    assert estimator.add(pose(3.9, 7.8)).used == ("position", "yaw")


def test_parts_that_are_no_numbers_are_left_out_and_counted(estimator):
    straight(estimator, 1.0)
    outcome = estimator.add(pose(1.05, 2.1, 0.0, math.nan, 1.06))
    assert outcome.used == ("position",)
    assert outcome.refused == ("yaw: non-finite",)
    outcome = estimator.add(pose(1.07, 2.14, math.inf, 0.0))
    assert outcome.used == ("position", "yaw")  # its finite x
    assert estimator.add(wheel(1.08, math.nan)).used == ()
    assert estimator.counters["position: non-finite"] == estimator.counters["yaw: non-finite"] == 1
    assert np.isfinite(estimator.predict(1.1).mean).all()
    assert estimator.predict(1.1).measured_s == 1.07


def test_outliers_are_rejected_part_by_part(estimator):
    straight(estimator, 1.0)
    before = estimator.predict(1.04)
    outcome = estimator.add(pose(1.04, 2.08, 1.5, 0.0))
    assert outcome.used == ("yaw",)
    assert outcome.refused == ("position: rejected by the gate",)
    assert outcome.distances["position"] > 100.0
    assert abs(estimator.predict(1.04).mean[1] - before.mean[1]) < 0.02
    assert estimator.add(wheel(1.06, 20.0)).used == ()
    assert estimator.counters["wheel_speed: rejected by the gate"] == 1


def test_a_single_outlier_is_forgotten_when_the_next_measurement_is_good(estimator):
    straight(estimator, 1.0)
    for step in range(1, 40):
        stamp_s = 1.0 + 0.1 * step
        bad = step % 3 == 0  # for longer in total than the patience, but never without interruption
        estimator.add(pose(stamp_s, 2.0 * stamp_s, 5.0 if bad else 0.0, 0.0))
        estimator.add(wheel(stamp_s, 2.0))
    assert estimator.counters["position: rejected by the gate"] == 13
    assert estimator.counters["position: believed after long rejection"] == 0


def test_a_sensor_that_disagrees_for_long_is_believed(estimator):
    straight(estimator, 1.0)
    used = []
    for step in range(1, 30):
        stamp_s = 1.0 + 0.1 * step
        estimator.add(wheel(stamp_s, 2.0))
        outcome = estimator.add(pose(stamp_s, 2.0 * stamp_s + 7.0, -3.0, 0.0))
        used.append((stamp_s, "position" in outcome.used))
    first = next(stamp_s for stamp_s, fused in used if fused)
    assert first == pytest.approx(1.1 + EstimatorSettings().gate_patience_s, abs=0.11)
    assert all(fused for stamp_s, fused in used if stamp_s > first)
    assert estimator.counters["position: believed after long rejection"] == 1
    np.testing.assert_allclose(estimator.predict(3.9).mean[:2], [2.0 * 3.9 + 7.0, -3.0], atol=0.1)


@pytest.mark.parametrize("patience_s", [1.0, 0.25])
@pytest.mark.parametrize("pose_every", [5, 20, None])
def test_wheels_that_lock_for_long_are_believed_only_where_no_pose_says_otherwise(vehicle, patience_s, pose_every):
    estimator = straight(kinematic(vehicle, gate_patience_s=patience_s), 1.0, speed=10.0)
    for step in range(1, 150):
        stamp_s = 1.0 + 0.02 * step
        estimator.add(gyro(stamp_s, 0.0))
        estimator.add(wheel(stamp_s, 5.0))
        if pose_every and step % pose_every == 0:
            estimator.add(pose(stamp_s, 10.0 * stamp_s))
    believed = estimator.counters["wheel_speed: believed after long rejection"]
    assert believed == (0 if pose_every else 1)
    assert estimator.predict(3.98).mean[3] == pytest.approx(10.0 if pose_every else 5.0, abs=0.5)


def test_wheels_and_positions_that_contradict_the_filter_together_are_believed(vehicle):
    estimator = straight(kinematic(vehicle, gate_patience_s=0.25), 1.0, speed=10.0)
    for step in range(1, 31):
        stamp_s = 1.0 + 0.02 * step
        estimator.add(wheel(stamp_s, 5.0))
        estimator.add(gyro(stamp_s, 0.0))
        if step % 5 == 0:
            estimator.add(pose(stamp_s, 10.0 + 5.0 * (stamp_s - 1.0)))
    estimate = estimator.predict(1.6)
    assert estimate.mean[3] == pytest.approx(5.0, abs=0.2)
    assert estimate.mean[0] == pytest.approx(13.0, abs=0.2)


@pytest.mark.parametrize(("wrong_s", "followed"), [(0.2, False), (0.4, True)])
def test_fixes_that_are_far_off_are_followed_after_the_small_cars_patience(vehicle, wrong_s, followed):
    estimator = StateEstimator.for_vehicle(vehicle("f1tenth"))
    straight(estimator, 1.0, pose_every=2)
    for step in range(1, 1 + round(wrong_s / 0.04)):
        stamp_s = 1.0 + 0.04 * step
        estimator.add(wheel(stamp_s, 2.0))
        estimator.add(gyro(stamp_s, 0.0))
        estimator.add(pose(stamp_s, 2.0 * stamp_s, 1.0))
    assert estimator.predict(1.0 + wrong_s).mean[1] == pytest.approx(1.0 if followed else 0.0, abs=0.2)


def test_a_turn_that_the_gyroscope_alone_has_seen_is_believed_and_moves_no_bias(vehicle):
    model = build_for(vehicle("f1tenth"), "single_track", dt=0.01, integrator="euler")
    estimator = StateEstimator(model, EstimatorSettings(gate_patience_s=0.25))
    straight(estimator, 1.0, speed=0.4)
    for step in range(1, 60):
        stamp_s = 1.0 + 0.01 * step
        estimator.add(wheel(stamp_s, 0.4))
        estimator.add(gyro(stamp_s, 6.0))
    estimate = estimator.predict(1.59)
    assert estimator.counters["gyro: believed after long rejection"] >= 1
    assert abs(estimate.mean[GYRO_BIAS]) < 0.05


def braked_error(model, **settings):
    """Largest error of the speed [m/s] where a car brakes from 20 m/s, and a wheel locks within half a second."""
    estimator = StateEstimator(model, EstimatorSettings(**settings))
    along, speed, errors = 0.0, 20.0, []
    for step in range(150):
        stamp_s = 0.02 * step
        braking = 5.0 if stamp_s >= 1.0 else 0.0
        locked = 0.5 * min(max(stamp_s - 1.2, 0.0) / 0.5, 1.0)
        estimator.add_command(stamp_s, np.array([0.0, -braking]))
        if step % 5 == 0:
            estimator.add(pose(stamp_s, along))
        estimator.add(gyro(stamp_s, 0.0))
        estimator.add(steering(stamp_s, 0.0))
        estimator.add(wheel(stamp_s, speed * (1.0 - locked)))
        errors.append(abs(estimator.predict(stamp_s).mean[3] - speed))
        along += 0.02 * speed - 0.5 * braking * 0.02**2
        speed -= braking * 0.02
    return max(errors[25:])


def test_wheels_that_come_to_lock_hardly_slow_the_estimate_where_they_may_slide(vehicle):
    model = build_for(vehicle("f1tenth"), "kinematic_bicycle", dt=0.01, integrator="euler")
    model = model.with_parameters({"drive_lag": 0.0, "drive_delay": 0.0})
    sure, unsure = braked_error(model), braked_error(model, wheel_slide_s2pm=0.02)
    assert sure > 0.15  # gates let a wheel through that locks little by little
    assert unsure < 0.05


def test_yaw_is_compared_the_short_way_round(estimator):
    straight(estimator, 1.0, heading=math.pi - 0.01)
    outcome = estimator.add(pose(1.02, -2.04, 0.02, -math.pi + 0.01))
    assert "yaw" in outcome.used
    assert outcome.distances["yaw"] < 4.0
    assert abs(abs(estimator.predict(1.02).mean[2]) - math.pi) < 0.02


def test_commands_act_after_the_models_delay(vehicle):
    car = vehicle("f1tenth")
    model = build_for(car, "kinematic_bicycle", dt=0.01).with_parameters(
        {"drive_delay": 0.2, "drive_lag": 0.0, "steering_lag": 0.0, "steering_delay": 0.1}
    )
    estimator = StateEstimator(model, EstimatorSettings(outage_s=1.0))
    straight(estimator, 1.0)
    assert estimator.add_command(1.0, np.array([0.1, 3.0])) == ""
    assert estimator.predict(1.08).mean[6] == pytest.approx(0.0, abs=1e-3)
    assert estimator.predict(1.2).mean[6] == pytest.approx(0.1, abs=1e-3)
    before, after = estimator.predict(1.2).mean[3], estimator.predict(1.3).mean[3]
    assert after - before == pytest.approx(0.3, abs=0.02)
    assert before == pytest.approx(2.0, abs=0.05)


def test_without_commands_the_actuators_are_taken_to_hold(vehicle):
    model = build_for(vehicle("f1tenth"), "kinematic_bicycle", dt=0.01)
    estimator = StateEstimator(model, EstimatorSettings(command_timeout_s=0.2, outage_s=2.0))
    for step in range(50):
        stamp_s = 0.02 * step
        estimator.add(pose(stamp_s, 2.0 * stamp_s))
        estimator.add(wheel(stamp_s, 2.0))
        estimator.add(steering(stamp_s, 0.2))  # driven by hand
        estimator.add(gyro(stamp_s, 0.0))
    assert estimator.predict(2.0).mean[6] == pytest.approx(0.2, abs=0.005)
    estimator.add_command(1.0, np.array([0.0, 0.0]))
    assert estimator.predict(1.2).mean[6] < 0.1
    held = estimator.predict(1.35).mean[6]
    assert estimator.predict(2.0).mean[6] == pytest.approx(held, abs=0.01)


def test_commands_are_refused_for_cause(estimator):
    assert estimator.add_command(1.0, np.zeros(2)) == ""
    assert estimator.add_command(1.0, np.zeros(2)) == "command: duplicate or backward stamp"
    assert estimator.add_command(0.5, np.zeros(2)) == "command: duplicate or backward stamp"
    assert estimator.add_command(1.1, np.array([math.nan, 0.0])) == "command: non-finite"
    assert estimator.add_command(9.0, np.zeros(2), arrival_s=1.2) == "command: stamp in the future"
    assert estimator.add_command(1.2, np.zeros(2), arrival_s=1.2) == ""
    with pytest.raises(LayoutError, match="steering_command"):
        estimator.add_command(1.3, np.zeros(3))


def test_set_pose_moves_the_car_and_keeps_its_speed(estimator):
    straight(estimator, 1.0)
    estimator.set_pose(0.98, np.array([10.0, 20.0, math.pi / 2]), np.diag([0.01, 0.01, 0.01]))
    estimate = estimator.predict(1.5)
    assert estimate.mean[3] == pytest.approx(2.0, abs=0.05)
    np.testing.assert_allclose(estimate.mean[:2], [10.0, 20.0 + 2.0 * 0.52], atol=0.1)
    with pytest.raises(LayoutError, match="not finite"):
        estimator.set_pose(1.5, np.array([0.0, math.nan, 0.0]))


def test_set_pose_starts_a_filter_that_has_no_pose_fixes(estimator):
    estimator.set_pose(0.0, np.zeros(3))
    for step in range(1, 101):
        estimator.add(wheel(0.02 * step, 1.5))
    estimate = estimator.predict(2.0)
    assert estimate.mean[0] == pytest.approx(3.0, abs=0.1)
    assert estimate.pose_s == 0.0


def test_an_outage_of_all_sensors_ends_the_estimate_and_the_next_fix_starts_anew(vehicle):
    estimator = straight(kinematic(vehicle, outage_s=0.25), 1.0)
    # The last command that was heard asks for full acceleration, but the car braked to a standstill.
    estimator.add_command(1.0, np.array([0.0, 6.0]))
    assert estimator.predict(1.2) is not None
    assert estimator.predict(1.3) is None
    assert estimator.add(wheel(2.8, 0.0)).refused == ("wheel_speed: no pose yet",)
    estimator.add(pose(2.82, 2.5))
    estimator.add(wheel(2.84, 0.0))
    estimate = estimator.predict(2.84)
    assert estimate.mean[3] == pytest.approx(0.0, abs=0.05)
    assert estimate.mean[0] == pytest.approx(2.5, abs=0.05)
    assert estimator.counters["resets: all sensors were silent"] == 1


def test_late_messages_cost_one_pass_and_not_one_each(estimator, monkeypatch):
    straight(estimator, 1.0)
    estimator.predict(1.0)
    fused, calls = estimator._fusion.fused, []
    monkeypatch.setattr(estimator._fusion, "fused", lambda *inputs: calls.append(1) or fused(*inputs))
    for step in range(50):
        estimator.add_command(0.1 + 0.01 * step, np.array([0.0, 1.0]))
    assert not calls
    estimator.predict(1.0)
    once = len(calls)
    assert once > 50
    estimator.predict(1.0)
    assert len(calls) == once
    estimator.add(wheel(1.02, 2.0))
    estimator.predict(1.02)
    assert len(calls) == once + 1


@pytest.mark.parametrize("stamp_s", [0.0, 3600.0])
def test_a_pose_is_not_set_for_a_time_that_cannot_be(estimator, stamp_s):
    straight(estimator, 5.0, start_s=4.0)
    before = estimator.predict(5.0)
    assert estimator.set_pose(stamp_s, np.array([10.0, 20.0, 0.0]), arrival_s=5.0).startswith("set_pose: stamp")
    assert same(before, estimator.predict(5.0))
    assert estimator.set_pose(5.0, np.array([10.0, 20.0, 0.0]), arrival_s=5.0) == ""
    np.testing.assert_allclose(estimator.predict(5.0).mean[:2], [10.0, 20.0])


def test_one_sensor_that_goes_on_is_no_outage(vehicle):
    estimator = straight(kinematic(vehicle, outage_s=0.25), 1.0)
    for step in range(50):
        estimator.add(gyro(1.02 + 0.02 * step, 0.0))
    assert estimator.predict(2.0) is not None
    assert estimator.counters["resets: all sensors were silent"] == 0


def test_reset_forgets_all_but_the_counters(estimator):
    straight(estimator, 1.0)
    estimator.add(wheel(0.5, 1.0))
    estimator.reset()
    assert not estimator.is_aligned
    assert estimator.predict(1.0) is None
    assert estimator.counters["wheel_speed: backward stamp"] == 1
    straight(estimator, 0.5)  # simulated time was set back: old stamps are new again
    assert estimator.predict(0.5).mean[0] == pytest.approx(1.0, abs=0.05)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_numerical_breakdown_ends_in_a_counted_reset_and_a_new_start(estimator):
    straight(estimator, 1.0)
    for step in range(1, 60):  # long enough to be believed
        estimator.add(wheel(1.0 + 0.02 * step, 1e200))
        estimate = estimator.predict(1.0 + 0.02 * step)
        assert estimate is None or np.isfinite(estimate.mean).all()
        assert estimate is None or np.isfinite(estimate.covariance).all()
    assert estimator.counters["resets: the estimate was not finite"] == 1
    assert not estimator.is_aligned
    straight(estimator, 3.0, start_s=2.0)
    assert np.isfinite(estimator.predict(3.0).mean).all()


def test_accelerations_are_fused_where_asked(vehicle):
    model = build_for(vehicle("f1tenth"), "single_track", dt=0.01, integrator="euler")
    force = np.array([0.5, 0.0])
    for asked in (False, True):
        estimator = StateEstimator(model, EstimatorSettings(use_accelerometer=asked))
        straight(estimator, 0.5)
        before = estimator.predict(0.51)
        outcome = estimator.add(Measurement("accelerometer", 0.51, 0.51, force))
        assert outcome.used == (("longitudinal_acceleration", "lateral_acceleration") if asked else ())
        after = estimator.predict(0.51)
        assert (after.mean[7] > before.mean[7]) == asked
        assert (after.covariance[4, 4] < before.covariance[4, 4]) == asked


def test_gyro_bias_is_found_at_rest(vehicle):
    estimator = StateEstimator.for_vehicle(vehicle("f1tenth"))
    generator = np.random.default_rng(0)
    for step in range(400):
        stamp_s = 0.02 * step
        if step % 5 == 0:
            x, y, yaw = generator.normal(0.0, [0.05, 0.05, 0.02])
            estimator.add(pose(stamp_s, x, y, yaw))
        estimator.add(wheel(stamp_s, 0.0))
        estimator.add(steering(stamp_s, 0.0))
        estimator.add(gyro(stamp_s, 0.03 + generator.normal(0.0, 0.01)))
    estimate = estimator.predict(8.0)
    assert estimate.mean[GYRO_BIAS] == pytest.approx(0.03, abs=0.005)
    assert math.sqrt(estimate.covariance[GYRO_BIAS, GYRO_BIAS]) < 0.008
    assert math.hypot(*estimate.mean[:2]) < 0.03
