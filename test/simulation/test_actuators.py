import itertools
import math

import pytest

from mbrl_ros.core.vehicle import Delays
from mbrl_ros.simulation.actuators import Actuators, DriveRequest, follow


def run(actuators, until_s, steering=0.0, speed=0.0, step_s=0.005):
    """Steering angle and drive acceleration at the end of every step."""
    history = []
    for step in range(round(until_s / step_s)):
        cuts = actuators.cuts(step * step_s, (step + 1) * step_s)
        for begin_s, end_s in itertools.pairwise(cuts):
            demand = actuators.demand(begin_s, end_s, steering, speed)
            steering += demand.steering_rate_radps * demand.duration_s
        history.append(((step + 1) * step_s, steering, actuators.acceleration_mps2))
    return history


def actuators_of(vehicle, **plant):
    quick = {"steering_lag_s": 0.0, "drive_lag_s": 0.0, "drive_rate_limit_mps3": 1e9, "command_timeout_s": 1.0}
    return Actuators(vehicle("f1tenth", **{**quick, **plant}).plant, steering_limit_rad=0.4)


def test_lag_is_discretised_exactly_whatever_the_step():
    whole, _ = follow(0.0, 1.0, 0.1, 100.0, 0.05)
    half, _ = follow(0.0, 1.0, 0.1, 100.0, 0.025)
    twice, _ = follow(half, 1.0, 0.1, 100.0, 0.025)
    assert whole == pytest.approx(1.0 - math.exp(-0.5))
    assert twice == pytest.approx(whole)


def test_means_on_the_way():
    assert follow(0.0, 1.0, 0.1, 100.0, 0.05)[1] == pytest.approx(1.0 - 0.1 / 0.05 * (1.0 - math.exp(-0.5)))
    assert follow(0.0, 1.0, 0.0, 10.0, 0.05) == pytest.approx((0.5, 0.25))  # still ramping
    assert follow(0.0, 1.0, 0.0, 40.0, 0.05) == pytest.approx((1.0, 0.75))  # ramp, then hold
    assert follow(1.0, 1.0, 0.0, 40.0, 0.05) == (1.0, 1.0)


@pytest.mark.parametrize("stamp_s", [0.0, 0.0123])
def test_a_command_acts_exactly_its_delay_after_its_stamp(vehicle, stamp_s):
    delays = Delays(steering_s=0.0371, drive_s=0.0518)
    actuators = actuators_of(vehicle, delays=delays, steering_rate_limit_radps=2.0)
    actuators.command(stamp_s, 0.3, DriveRequest(0.0, 1.5))
    history = run(actuators, 0.3)
    for time_s, steering, acceleration in history:
        ramp = min(max(2.0 * (time_s - stamp_s - 0.0371), 0.0), 0.3)
        assert steering == pytest.approx(ramp, abs=1e-12)
        if stamp_s == 0.0 and time_s > 0.0518:
            assert acceleration == 1.5


def test_limits_of_angle_rate_and_acceleration(vehicle):
    actuators = actuators_of(vehicle, steering_rate_limit_radps=1.0, delays=Delays())
    actuators.command(0.0, 2.0, DriveRequest(0.0, 50.0))
    history = run(actuators, 0.6)
    assert history[19][1] == pytest.approx(0.1)
    assert history[-1][1] == pytest.approx(0.4)
    assert history[-1][2] == 7.5
    actuators.command(0.6, 0.0, DriveRequest(0.0, -50.0))
    assert actuators.demand(0.6, 0.605, 0.4, 1.0).acceleration_mps2 == pytest.approx(-8.0, abs=0.1)


def test_rate_of_the_drive_is_limited(vehicle):
    actuators = actuators_of(vehicle, delays=Delays(), drive_rate_limit_mps3=20.0)
    actuators.command(0.0, 0.0, DriveRequest(0.0, 4.0))
    assert run(actuators, 0.1)[-1][2] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("speed", "magnitude", "now", "expected"),
    [
        (6.0, 0.0, 1.0, 7.5),  # 0 means as fast as possible
        (6.0, 2.0, 1.0, 2.0),  # a magnitude, towards the speed
        (1.0, 2.0, 6.0, -2.0),
        (1.0, -2.0, 6.0, -2.0),
        (1.0, 0.0, 6.0, -8.0),
        (3.0, 0.0, 2.9, 0.5),  # near the speed, in proportion
        (-4.0, 0.0, 2.0, -8.0),  # no reverse
    ],
)
def test_speed_commands_as_ackermann_drive_defines_them(vehicle, speed, magnitude, now, expected):
    actuators = actuators_of(vehicle, drive="speed", delays=Delays())
    actuators.command(0.0, 0.0, DriveRequest(speed, magnitude))
    assert run(actuators, 0.05, speed=now)[-1][2] == pytest.approx(expected)


def test_brakes_close_on_silence_and_before_the_first_command(vehicle):
    actuators = actuators_of(vehicle, delays=Delays(), command_timeout_s=0.1)
    assert run(actuators, 0.05)[-1][2] == -8.0
    actuators.command(0.05, 0.2, DriveRequest(0.0, 3.0))
    assert actuators.cuts(0.149, 0.152) == [0.149, pytest.approx(0.15), 0.152]
    assert not actuators.is_silent(0.149)
    assert actuators.is_silent(0.1501)
    assert actuators.demand(0.2, 0.205, 0.2, 1.0).acceleration_mps2 < 0.0
    assert actuators.demand(0.205, 0.21, 0.2, 1.0).steering_rate_radps == 0.0
