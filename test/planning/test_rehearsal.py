"""A planner that takes over has planned before, from where the car is, and in time."""

import numpy as np
import pytest

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.rehearsal import rehearsal

PROBLEM = Problem(np.zeros(8), 5.0, CommandHistory(np.zeros(2)))
FOLLOWED = ControlSequence(4.9, 0.1, np.ones((5, 2)), ACTIONS["acceleration"])


class Newcomer:
    """Takes so many seconds for each of its plans, of a clock of its own."""

    kind, backend = "toy", "eager"

    def __init__(self, *seconds):
        self.seconds, self.now_s, self.begun_with = list(seconds), 100.0, []

    def reset(self, plan):
        self.from_plan = plan

    def plan(self, problem):
        assert problem is PROBLEM
        self.begun_with.append(self.from_plan)
        self.now_s += self.seconds.pop(0)


def rehearsed(newcomer):
    rehearsal(PROBLEM, FOLLOWED, 0.3, lambda: newcomer.now_s)(newcomer)
    return newcomer


def test_before_the_car_was_seen_nothing_can_be_rehearsed():
    assert rehearsal(None, FOLLOWED, 0.3, lambda: 0.0) is None


def test_only_the_first_plan_may_take_long_and_both_go_on_from_what_is_followed():
    assert rehearsed(Newcomer(4.0, 0.02)).begun_with == [FOLLOWED, FOLLOWED]


@pytest.mark.parametrize("seconds", [0.4, 0.16])
def test_one_that_the_car_would_stop_for_is_refused_with_the_time_it_takes(seconds):
    """At 0.16 s a plan is there 0.16 s after its stamp and the next one 0.32 s after it, which is 0.02 s too late."""
    with pytest.raises(PlanningError, match=rf"\(eager\) takes {seconds:.2f} s for a plan.* stops 0\.3 s after"):
        rehearsed(Newcomer(0.1, seconds))


def test_one_that_finds_the_next_plan_while_the_last_is_still_followed_takes_over():
    rehearsed(Newcomer(0.1, 0.14))
