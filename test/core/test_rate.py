import math

import pytest

from mbrl_ros.core.rate import RateMonitor


def test_counts_cycles_within_the_tolerance_of_their_slot():
    monitor = RateMonitor(period_s=0.02, tolerance_s=0.005)
    for stamp in (0.0, 0.02, 0.044, 0.070, 0.090):  # intervals 20, 24, 26, 20 ms
        monitor.cycle(stamp)
    assert (monitor.cycles, monitor.kept) == (4, 3)
    assert monitor.share == pytest.approx(0.75)


def test_slots_that_pass_without_a_cycle_are_missed():
    monitor = RateMonitor(0.02, 0.005)
    for stamp in (0.0, 0.02, 0.52, 0.54):  # half a second of silence: 25 slots, none kept
        monitor.cycle(stamp)
    assert (monitor.cycles, monitor.kept) == (27, 2)


def test_an_intended_pause_is_no_missed_cycle():
    monitor = RateMonitor(0.02, 0.005)
    assert math.isnan(monitor.share)
    monitor.cycle(0.0)
    monitor.interrupt()
    monitor.cycle(5.0)
    monitor.cycle(5.02)
    assert monitor.share == 1.0
