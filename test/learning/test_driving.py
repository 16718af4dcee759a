"""What is taken from driving before anything is learned: limits of the outputs."""

import math

import pytest
import torch

from mbrl_ros.core.layout import STATE, VX, YAW, YAW_RATE
from mbrl_ros.learning.driving import Driving, guard_for
from mbrl_ros.learning.recipe import NetworkSettings

DT, HEADROOM = 0.05, 1.5


def weaving(observed_rate: bool) -> Driving:
    """At 10 m/s, turning to and fro through half turns: the yaw rate is 0.8 cos(2 t) rad/s."""
    time_s = torch.arange(0.0, 20.0, DT, dtype=torch.float64)
    states = torch.zeros(3, len(time_s), len(STATE), dtype=torch.float64)
    states[..., VX] = 10.0
    states[..., YAW] = math.pi - 0.05 + 0.4 * torch.sin(2 * time_s)  # beyond pi it goes on at -pi
    states[..., YAW] = torch.remainder(states[..., YAW] + math.pi, 2 * math.pi) - math.pi
    observed = torch.ones(3, len(STATE), dtype=torch.bool)
    observed[:, YAW_RATE] = observed_rate
    if observed_rate:
        states[..., YAW_RATE] = 0.8 * torch.cos(2 * time_s)
    return Driving(states, observed, torch.zeros(3, len(time_s) - 1, 2, dtype=torch.float64), past=10)


@pytest.mark.parametrize("observed_rate", [True, False])
def test_a_yaw_rate_that_is_not_recorded_does_not_keep_the_network_from_turning(observed_rate):
    guard = guard_for(weaving(observed_rate), DT, NetworkSettings(headroom=HEADROOM))
    assert guard.residual[2] == pytest.approx(HEADROOM * 1.6 + 0.1, rel=0.03)  # the rate changes by 1.6 rad/s^2
    assert guard.lateral == pytest.approx(HEADROOM * 8.0, rel=0.03)
