"""The gate's rows of the safety contract, without ROS."""

import math

import pytest

from mbrl_ros.core.command_gate import Command, CommandGate, GateSettings, Mode
from mbrl_ros.core.vehicle import Limits

LIMITS = Limits(
    steering_angle_rad=0.4,
    steering_rate_radps=3.0,
    speed_mps=8.0,
    acceleration_mps2=5.0,
    braking_mps2=7.0,
    jerk_mps3=100.0,
)
DT = 0.02


def gate(**settings) -> CommandGate:
    return CommandGate(LIMITS, GateSettings(**{"require_engage": False, **settings}))


def ask(steering=0.0, speed=3.0, acceleration=1.0) -> Command:
    return Command(steering, 0.0, speed, acceleration, 0.0)


def drive(subject: CommandGate, start_s: float, count: int, command: Command | None = None) -> list[Command | None]:
    answers = []
    for k in range(count):
        now = start_s + k * DT
        subject.receive(command or ask(), now, now, now)
        answers.append(subject.tick(now, now))
    return answers


def test_passes_a_good_command_and_fills_fields_whose_zero_means_full():
    answer = drive(gate(), 0.0, 1)[0]
    assert answer == Command(0.0, 3.0, 3.0, 1.0, 100.0)


@pytest.mark.parametrize(
    ("command", "expected", "counter"),
    [
        (ask(steering=1.0), {"steering_angle_rad": 0.4}, "clamped steering angle"),
        (ask(speed=20.0), {"speed_mps": 8.0}, "clamped speed"),
        (ask(speed=-1.0), {"speed_mps": 0.0}, "clamped speed"),
        (ask(acceleration=50.0), {"acceleration_mps2": 5.0}, "clamped acceleration"),
        (ask(acceleration=-50.0), {"acceleration_mps2": -7.0}, "clamped acceleration"),
    ],
)
def test_clamps_to_the_limits_and_counts(command, expected, counter):
    subject = gate()
    answer = drive(subject, 0.0, 1, command)[0]
    assert {name: getattr(answer, name) for name in expected} == expected
    assert subject.counters[counter] == 1


def test_steering_rate_and_jerk_are_limited_per_elapsed_time():
    subject = gate()
    drive(subject, 0.0, 1, ask(steering=0.0, acceleration=0.0))
    answer = drive(subject, DT, 1, ask(steering=0.3, acceleration=5.0))[0]
    assert answer.steering_angle_rad == pytest.approx(3.0 * DT)
    assert answer.acceleration_mps2 == pytest.approx(100.0 * DT)
    assert subject.counters["clamped steering rate"] == subject.counters["clamped jerk"] == 1


def test_gentler_rates_that_are_asked_for_pass_and_faster_ones_are_clamped():
    subject = gate()
    answer = drive(subject, 0.0, 1, Command(0.0, 0.5, 3.0, 1.0, 20.0))[0]
    assert (answer.steering_rate_radps, answer.jerk_mps3) == (0.5, 20.0)
    answer = drive(subject, DT, 1, Command(0.0, 9.0, 3.0, 1.0, 900.0))[0]
    assert (answer.steering_rate_radps, answer.jerk_mps3) == (3.0, 100.0)
    assert subject.counters["clamped steering rate"] == subject.counters["clamped jerk"] == 1


def test_a_planners_full_stop_is_not_softened_by_the_jerk_limit():
    subject = gate()
    drive(subject, 0.0, 1, ask(acceleration=5.0))
    softened = drive(subject, DT, 1, ask(speed=3.0, acceleration=-7.0))[0]
    assert softened.acceleration_mps2 == pytest.approx(5.0 - 100.0 * DT)
    stopped = drive(subject, 2 * DT, 1, ask(speed=0.0, acceleration=-7.0))[0]
    assert stopped.acceleration_mps2 == -7.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["steering", "speed", "acceleration"])
def test_a_non_finite_command_never_passes(bad, field):
    subject = gate()
    drive(subject, 0.0, 3)
    assert subject.receive(ask(**{field: bad}), 0.06, 0.06, 0.06) == "non-finite"
    assert subject.tick(0.06, 0.06).is_finite()


@pytest.mark.parametrize(
    ("stamp_s", "refusal"),
    [(0.04, "duplicate stamp"), (0.02, "backward stamp"), (0.5, "stamp in the future"), (-0.2, "stale")],
)
def test_refuses_wrong_stamps_and_counts_them(stamp_s, refusal):
    subject = gate()
    drive(subject, 0.0, 3)
    assert subject.receive(ask(), stamp_s, 0.06, 0.06) == refusal
    assert subject.counters[refusal] == 1


@pytest.mark.parametrize("clock", ["stamp", "receipt"])
def test_brakes_on_silence_by_either_clock_with_the_wheel_held(clock):
    subject = gate()
    drive(subject, 0.0, 20, ask(steering=0.2))
    held = subject.tick(0.38, 0.38).steering_angle_rad
    now, receipt = (0.6, 0.39) if clock == "stamp" else (0.39, 0.6)
    answer = subject.tick(now, receipt)
    assert (answer.speed_mps, answer.acceleration_mps2, answer.steering_angle_rad) == (0.0, -7.0, held)
    assert subject.mode is Mode.BRAKING and subject.reason == "command silence"


def test_recovers_from_silence_only_after_several_good_commands():
    subject = gate(recovery_commands=3)
    drive(subject, 0.0, 5)
    subject.tick(1.0, 1.0)
    answers = drive(subject, 1.02, 4)
    assert [answer.acceleration_mps2 < 0 for answer in answers[:2]] == [True, True]
    assert subject.mode is Mode.DRIVING


def test_estop_is_latched_and_needs_a_new_engagement():
    subject = gate(require_engage=True)
    assert subject.engage(0.0) == ""
    drive(subject, 0.0, 3)
    subject.press_estop()
    assert all(answer.acceleration_mps2 == -7.0 for answer in drive(subject, 0.06, 10))
    assert "e-stop" in subject.engage(0.3)
    subject.reset_estop()
    assert drive(subject, 0.3, 3) == [None] * 3
    assert subject.engage(0.4) == ""
    drive(subject, 0.4, 3)
    assert subject.mode is Mode.DRIVING


def test_starts_inactive_and_silent_where_engaging_is_required():
    subject = gate(require_engage=True)
    assert drive(subject, 0.0, 5) == [None] * 5
    assert subject.mode is Mode.INACTIVE


def test_disengaging_brakes_several_times_and_then_falls_silent():
    subject = gate(require_engage=True, stop_commands=4)
    subject.engage(0.0)
    drive(subject, 0.0, 3)
    subject.disengage()
    answers = drive(subject, 0.06, 6)
    assert [answer and answer.acceleration_mps2 for answer in answers] == [-7.0] * 4 + [None] * 2


def test_losing_the_operator_disengages_and_its_return_does_not_engage():
    subject = gate(require_engage=True, operator_timeout_s=0.2, stop_commands=0)
    assert "enable" in subject.engage(0.0)
    subject.enable(True, 0.0)
    assert subject.engage(0.0) == ""
    drive(subject, 0.0, 5)
    assert subject.mode is Mode.DRIVING
    drive(subject, 0.5, 1)
    subject.enable(True, 0.52)
    assert drive(subject, 0.54, 3) == [None] * 3


def test_a_fault_brakes_while_it_lasts():
    subject = gate()
    drive(subject, 0.0, 3)
    subject.set_fault("two publishers of commands")
    assert drive(subject, 0.06, 1)[0].acceleration_mps2 == -7.0
    assert subject.reason == "two publishers of commands"
    subject.set_fault("")
    drive(subject, 0.08, 1)
    assert subject.mode is Mode.DRIVING


def test_a_command_from_before_time_was_set_back_is_not_acted_on_when_none_comes_after_it():
    subject = gate()
    drive(subject, 100.0, 10)
    assert subject.mode is Mode.DRIVING
    assert subject.tick(2.0, 2.0).acceleration_mps2 < 0.0
    assert subject.reason == "command silence"


def test_a_time_reset_lets_earlier_stamps_pass_again():
    subject = gate()
    drive(subject, 100.0, 3)
    subject.reset_time()
    drive(subject, 0.0, 3)
    assert subject.mode is Mode.DRIVING


def test_a_speed_cap_is_held_against_whatever_is_asked_for_and_counted():
    subject = gate(cap_time_s=0.5)
    subject.heed_trust(2.0, "", 0.0)
    answers = drive(subject, 0.0, 10, ask(speed=4.0, acceleration=3.0))
    assert all(answer.speed_mps == 2.0 for answer in answers)
    assert answers[-1].acceleration_mps2 == pytest.approx(-4.0)  # 2 m/s too fast, in half a second
    assert subject.counters["clamped to speed cap"] == 10
    assert drive(subject, 0.2, 1, ask(speed=8.0))[0].acceleration_mps2 >= -LIMITS.stopping_mps2
    assert drive(subject, 0.22, 20, ask(speed=1.9, acceleration=1.0))[-1] == Command(0.0, 3.0, 1.9, 1.0, 100.0)
    assert subject.counters["clamped to speed cap"] == 11


def test_distrust_stops_the_car_and_its_silence_too_once_it_was_heard():
    subject = gate(trust_timeout_s=0.5)
    assert drive(subject, 0.0, 100)[-1].acceleration_mps2 == 1.0  # never heard: there may be no model
    subject.heed_trust(math.inf, "", 2.0)
    assert drive(subject, 2.0, 20)[-1].acceleration_mps2 == 1.0
    subject.heed_trust(0.0, "the model is not trusted", 2.4)
    assert drive(subject, 2.4, 1)[-1].acceleration_mps2 == -LIMITS.stopping_mps2
    assert (subject.mode, subject.reason) == (Mode.BRAKING, "the model is not trusted")
    subject.heed_trust(math.inf, "", 2.5)
    assert drive(subject, 2.5, 20)[-1].acceleration_mps2 == 1.0
    silent = drive(subject, 2.9, 30)
    assert silent[-1].acceleration_mps2 == -LIMITS.stopping_mps2
    assert subject.reason == "the model's trust is silent"
    assert subject.counters["stops for distrust"] == 1


def test_a_cap_that_is_no_number_allows_no_speed_and_a_time_reset_waits_for_new_trust():
    subject = gate()
    subject.heed_trust(math.nan, "", 0.0)
    assert drive(subject, 0.0, 1)[0].speed_mps == 0.0
    subject.heed_trust(math.inf, "", 100.0)
    subject.reset_time()
    assert drive(subject, 1.0, 1)[0].acceleration_mps2 == -LIMITS.stopping_mps2
    subject.heed_trust(math.inf, "", 1.02)
    assert drive(subject, 1.02, 20)[-1].acceleration_mps2 == 1.0
