"""Simulated time: as fast as wall time at a factor, and no faster than who drives can follow."""

import pytest

from mbrl_ros.simulation.pace import LARGEST_BACKLOG_S, PATIENCE_S, Pace

TICK_S, AHEAD_S = 0.01, 0.06


class Clock:
    """Wall and simulated time, and who drives, answering `delay_s` of wall time after what it answers to."""

    def __init__(self, **options):
        self.pace = Pace(TICK_S, options.pop("factor", 1.0), 0.0, **{"slips": True, **options})
        self.wall_s = self.ticks = 0

    @property
    def now_s(self):
        return self.ticks * TICK_S

    def run(self, seconds, delay_s=None, every_s=0.005):
        """Solve after solve, each begun with what is known then; without `delay_s` nobody answers."""
        begun_wall_s, begun_s, widest_s = self.wall_s, self.now_s, 0.0
        for _ in range(round(seconds / every_s)):
            self.wall_s += every_s
            if delay_s is not None and self.wall_s - begun_wall_s >= delay_s - 1e-9:
                self.pace.answered("plan", begun_s)
                widest_s = max(widest_s, self.now_s - begun_s)
                begun_wall_s, begun_s = self.wall_s, self.now_s
            self.pace.advance(self.wall_s)
            while self.pace.due(self.now_s):
                self.ticks += 1
        return widest_s


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_time_passes_at_its_factor(factor):
    clock = Clock(factor=factor)
    clock.run(2.0)
    assert clock.now_s == pytest.approx(2.0 * factor, abs=2 * TICK_S)
    assert clock.pace.slipped_s == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("slips", "behind_s"), [(True, 2.0 - LARGEST_BACKLOG_S), (False, 0.0)])
def test_a_long_pause_is_given_up_only_where_time_may_slip(slips, behind_s):
    clock = Clock(slips=slips)
    clock.run(2.0, every_s=2.0)
    assert clock.now_s == pytest.approx(2.0 - behind_s, abs=2 * TICK_S)
    assert clock.pace.slipped_s == pytest.approx(behind_s)


def test_time_does_not_wait_for_plans_that_are_in_time():
    clock = Clock(longest_ahead_s=AHEAD_S)
    clock.run(3.0, delay_s=0.025)
    assert clock.now_s == pytest.approx(3.0, abs=2 * TICK_S)


@pytest.mark.parametrize("delay_s", [0.1, 0.4])
def test_however_slow_a_planner_its_plans_are_never_old(delay_s):
    clock = Clock(longest_ahead_s=AHEAD_S)
    clock.pace.answered("plan", 0.0)
    widest_s = clock.run(40 * delay_s, delay_s=delay_s)
    assert widest_s <= AHEAD_S + 1.5 * TICK_S
    assert 20 * AHEAD_S * 0.5 < clock.now_s < 41 * (AHEAD_S + TICK_S)
    impatient = Clock()
    assert impatient.run(40 * delay_s, delay_s=delay_s) >= delay_s - TICK_S


def test_the_oldest_answer_counts_and_an_old_one_is_not_waited_for_for_ever():
    clock = Clock(longest_ahead_s=AHEAD_S)
    clock.pace.answered("command", 0.0)
    for _ in range(40):  # plans come, commands do not
        clock.pace.answered("plan", clock.now_s)
        clock.run(0.02)
    assert clock.now_s == pytest.approx(AHEAD_S, abs=2 * TICK_S)
    clock.run(PATIENCE_S)
    before_s = clock.now_s
    clock.run(1.0)
    assert clock.now_s == pytest.approx(before_s + 1.0, abs=2 * TICK_S)
    clock.pace.answered("plan", clock.now_s)
    before_s = clock.now_s
    clock.run(1.0)
    assert clock.now_s == pytest.approx(before_s + AHEAD_S, abs=2 * TICK_S)
