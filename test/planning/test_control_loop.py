"""The planner's rows of the safety contract, without ROS."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.layout import ACTIONS, STATE, VX, X, Y
from mbrl_ros.core.tasks.obstacles import Obstacle
from mbrl_ros.core.vehicle import Limits
from mbrl_ros.planning.control_loop import ControlLoop, LoopSettings

LIMITS = Limits(
    steering_angle_rad=0.4,
    steering_rate_radps=3.0,
    speed_mps=8.0,
    acceleration_mps2=5.0,
    braking_mps2=7.0,
    jerk_mps3=100.0,
)
DT = 0.02


def state(**entries) -> np.ndarray:
    return np.array([entries.get(name, 0.0) for name in STATE.names])


def plan_at(stamp_s: float, steering=0.1, horizon=50) -> ControlSequence:
    states = np.zeros((horizon + 1, len(STATE)))
    states[:, VX] = 3.0 + np.arange(horizon + 1) * DT
    return ControlSequence(
        stamp_s, DT, np.tile([steering, 1.0], (horizon, 1)), ACTIONS["acceleration"], states=states, model_id="m"
    )


def loop(**settings) -> ControlLoop:
    return ControlLoop(LIMITS, LoopSettings(**settings))


def cycle(subject: ControlLoop, now: float, solve=True):
    subject.observe(state(vx=3.0), now, now, now)
    problem = subject.problem()
    if solve and problem is not None:
        subject.adopt(plan_at(problem.stamp_s), solve_time_s=0.005)
    return subject.command(now, now)


def is_stop(command) -> bool:
    return command.speed_mps == 0.0 and command.acceleration_mps2 == -LIMITS.braking_mps2


def test_follows_the_plan_at_the_time_of_the_command():
    subject = loop(speed_lookahead_s=0.1)
    command = cycle(subject, 1.0)
    assert (command.steering_angle_rad, command.acceleration_mps2) == (0.1, 1.0)
    assert command.speed_mps == pytest.approx(3.1)
    assert subject.reason == ""


@pytest.mark.parametrize(("aside", "follow", "wanted"), [(0.1, True, 0.05), (0.1, False, 0.1), (-9.0, True, 0.4)])
def test_gains_correct_commands_for_a_car_beside_its_plan_inside_of_the_limits(aside, follow, wanted):
    plan = plan_at(1.0)
    gains = np.zeros((len(plan.actions), 2, 8))
    gains[:, 0, Y] = -0.5
    subject = loop(follow_gains=follow)
    subject.observe(state(), 1.0, 1.0, 1.0)
    subject.adopt(replace(plan, gains=gains), 0.0)
    off = plan.states[1].copy()
    off[Y] += aside
    subject.observe(off, 1.0 + DT, 1.0 + DT, 1.0 + DT)
    assert subject.command(1.0 + DT, 1.0 + DT).steering_angle_rad == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("follow", "follows", "left_m"),
    [
        (True, "speed", 0.17),
        (True, "acceleration", 0.01),
        (False, "speed", 0.5),
        (False, "acceleration", 0.5),
    ],
)
def test_gains_bring_a_car_back_to_its_plan_whichever_of_the_two_its_own_controller_follows(follow, follows, left_m):
    """A point half a metre behind its plan, 3.8 s later; following speed it is damped more, and takes longer."""
    states = np.zeros((201, len(STATE)))
    states[:, VX], states[:, X] = 3.0, 3.0 * DT * np.arange(201)
    gains = np.zeros((200, 2, len(STATE)))
    gains[:, 1, X], gains[:, 1, VX] = -4.0, -4.0
    plan = ControlSequence(0.0, DT, np.zeros((200, 2)), ACTIONS["acceleration"], states=states, gains=gains)
    subject = loop(follow_gains=follow, plan_timeout_s=10.0, speed_lookahead_s=0.1)
    x, v = -0.5, 3.0
    for k in range(190):
        now_s = DT * k
        subject.observe(state(x=x, vx=v), now_s, now_s, now_s)
        if k == 0:
            subject.adopt(plan, 0.0)
        command = subject.command(now_s, now_s)
        gained = command.acceleration_mps2 if follows == "acceleration" else (command.speed_mps - v) / 0.1
        x, v = x + v * DT, v + gained * DT
    assert abs(x - 3.0 * 190 * DT) == pytest.approx(left_m, abs=0.01)


def test_stops_before_the_first_state_and_before_the_first_plan():
    subject = loop()
    assert is_stop(subject.command(0.0, 0.0)) and subject.reason == "no state yet"
    assert is_stop(cycle(subject, 0.02, solve=False)) and subject.reason == "no plan yet"


@pytest.mark.parametrize("clock", ["stamp", "receipt"])
def test_stops_with_the_wheel_held_when_states_stop_coming_by_either_clock(clock):
    subject = loop()
    cycle(subject, 1.0)
    now, receipt = (1.2, 1.01) if clock == "stamp" else (1.01, 1.2)
    command = subject.command(now, receipt)
    assert is_stop(command) and command.steering_angle_rad == 0.1
    assert subject.reason == "state lost" and subject.counters["state lost"] == 1


def test_recovers_only_after_several_good_states():
    subject = loop(recovery_states=3)
    cycle(subject, 1.0)
    subject.command(1.5, 1.5)
    assert [is_stop(cycle(subject, 1.5 + k * DT)) for k in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("bad", "stamp_s", "why"),
    [
        ({"vx": math.nan}, 1.02, "non-finite"),
        ({"x": math.inf}, 1.02, "non-finite"),
        ({}, 1.0, "duplicate"),
        ({}, 0.98, "backward"),
        ({}, 1.5, "in the future"),
        ({}, 0.7, "stale"),
    ],
)
def test_refuses_and_counts_bad_states(bad, stamp_s, why):
    subject = loop()
    cycle(subject, 1.0)
    assert subject.observe(state(**bad), stamp_s, 1.02, 1.02) == why
    assert subject.counters[f"state {why}"] == 1
    assert subject.problem() is None


def test_an_overrun_follows_the_last_plan_and_then_stops():
    subject = loop(plan_timeout_s=0.2)
    cycle(subject, 1.0)
    commands = [cycle(subject, 1.0 + k * DT, solve=False) for k in range(1, 13)]
    assert [is_stop(command) for command in commands] == [False] * 10 + [True] * 2
    assert subject.reason == "no fresh plan"


def test_a_plan_is_never_followed_beyond_its_horizon():
    subject = loop(plan_timeout_s=5.0)
    subject.observe(state(), 1.0, 1.0, 1.0)
    subject.adopt(plan_at(1.0, horizon=3), 0.001)
    assert is_stop(cycle(subject, 1.06, solve=False))


def test_a_fault_stops_while_it_lasts():
    subject = loop()
    subject.fault = "the dynamics server is silent"
    assert is_stop(cycle(subject, 1.0)) and subject.reason == subject.fault
    subject.fault = ""
    assert not is_stop(cycle(subject, 1.02))


def test_late_solves_are_counted():
    subject = loop()
    subject.observe(state(), 1.0, 1.0, 1.0)
    subject.adopt(plan_at(1.0), solve_time_s=0.021)
    subject.adopt(plan_at(1.0), solve_time_s=0.019)
    assert (subject.counters["plans"], subject.counters["missed deadlines"]) == (2, 1)


def test_the_solver_sees_the_commands_that_were_really_sent_and_no_later_ones():
    subject = loop()
    subject.sent(0.98, 0.3, -2.0)
    subject.observe(state(), 1.0, 1.0, 1.0)
    problem = subject.problem()
    subject.sent(1.0, -0.3, 2.0)
    assert problem.commands.at(1.0).tolist() == [0.3, -2.0]


def test_the_solver_knows_the_driving_before_the_state_that_it_plans_from():
    subject = loop()
    for k in range(100):
        subject.observe(state(vx=0.1 * k), k * DT, k * DT, k * DT)
    problem = subject.problem()
    assert problem.driven.span_s == pytest.approx(99 * DT)
    np.testing.assert_allclose(problem.driven.at(np.array([0.25, problem.stamp_s]))[:, VX], [1.25, problem.state[VX]])
    subject.reset()
    subject.observe(state(), 0.0, 0.0, 0.0)
    assert len(subject.problem().driven) == 1


def test_each_state_is_solved_for_once():
    subject = loop()
    subject.observe(state(), 1.0, 1.0, 1.0)
    assert subject.problem() is not None
    assert subject.problem() is None


def test_what_was_sent_but_is_no_number_is_counted_and_not_planned_with():
    subject = loop()
    assert subject.sent(0.98, 0.3, -2.0) == ""
    assert subject.sent(0.99, math.nan, 0.0) == "non-finite"
    subject.observe(state(), 1.0, 1.0, 1.0)
    assert subject.problem().commands.at(1.0).tolist() == [0.3, -2.0]
    assert subject.counters["sent non-finite"] == 1


def test_a_reset_accepts_earlier_stamps_again():
    subject = loop()
    cycle(subject, 100.0)
    subject.reset()
    assert not is_stop(cycle(subject, 1.0))


def test_a_state_that_is_newer_than_now_by_a_rounding_is_driven_by():
    subject = loop(future_tolerance_s=0.0)
    cycle(subject, 100.0)
    now_s = np.nextafter(100.0, 0.0)
    assert not is_stop(subject.command(now_s, now_s))


def test_a_state_from_before_time_was_set_back_is_not_driven_by_when_none_comes_after_it():
    subject = loop()
    cycle(subject, 100.0)
    assert is_stop(subject.command(2.0, 2.0)) and subject.reason == "state lost"


def test_a_plan_that_was_found_while_time_was_set_back_is_not_followed():
    subject = loop()
    cycle(subject, 100.0)
    subject.reset()
    assert subject.adopt(plan_at(100.0), solve_time_s=0.005) == "of another time"
    assert is_stop(cycle(subject, 1.0, solve=False)) and subject.reason == "no plan yet"
    assert subject.counters["plan of another time"] == 1


def test_a_plan_whose_predicted_speed_is_not_a_number_leaves_the_last_one():
    subject = loop()
    cycle(subject, 1.0)
    broken = plan_at(1.0, steering=0.3)
    broken.states[5:, VX] = math.nan
    assert subject.adopt(broken, solve_time_s=0.005) == "without finite states"
    command = subject.command(1.02, 1.02)
    assert command.steering_angle_rad == 0.1
    assert command.speed_mps == pytest.approx(3.12)


def test_a_speed_cap_goes_to_the_planner_and_holds_for_the_commanded_speed():
    subject = loop()
    subject.speed_cap_mps = 1.5
    subject.observe(state(vx=3.0), 1.0, 1.0, 1.0)
    assert subject.problem().speed_cap_mps == 1.5
    subject.adopt(plan_at(1.0), solve_time_s=0.005)
    assert subject.command(1.0, 1.0).speed_mps == 1.5


def seeing(obstacles=1, **settings) -> ControlLoop:
    """Has heard of an obstacle at 1.0 s, and of nothing since."""
    subject = ControlLoop(LIMITS, LoopSettings(obstacle_timeout_s=0.5, **settings), obstacles)
    subject.seen.observe([Obstacle(5.0, 0.0, radius_m=0.2)], 1.0, 1.0)
    return subject


def test_obstacles_that_fall_silent_stop_the_car_until_they_are_heard_of_again():
    subject = seeing()
    stops = [is_stop(cycle(subject, 1.0 + k * DT)) for k in range(40)]
    assert stops.index(True) == 26  # at 1.52 s
    assert all(stops[26:])
    assert subject.reason == "obstacles are not heard of for more than 0.5 s"
    plans = subject.counters["plans"]
    assert plans == 26, "planned between obstacles that are not known"
    subject.seen.observe([], 1.79, 1.79)
    assert not is_stop(cycle(subject, 1.8))
    assert subject.counters["plans"] == plans + 1


def test_after_silence_only_a_plan_that_knows_of_obstacles_is_followed():
    subject = seeing()
    for k in range(60):
        cycle(subject, 1.0 + k * DT)
    subject.seen.observe([], 2.2, 2.2)
    assert is_stop(cycle(subject, 2.2, solve=False)) and subject.reason == "no fresh plan"
    assert not is_stop(cycle(subject, 2.22))


def test_silence_of_obstacles_stops_nobody_who_never_heard_of_any_or_takes_none_or_may_drive_on():
    never = ControlLoop(LIMITS, LoopSettings(), 1)
    for subject in (never, seeing(obstacles=0), seeing(obstacle_silence="drive")):
        assert not any(is_stop(cycle(subject, 1.0 + k * DT)) for k in range(60))
    subject = seeing()
    subject.reset()
    assert not is_stop(cycle(subject, 2.0)), "begins anew"
