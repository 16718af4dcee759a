"""Planning once before it counts."""

from __future__ import annotations

from collections.abc import Callable

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.planning.planner import Planner, PlanningError, Problem


def rehearse(
    planner: Planner, problem: Problem, plan: ControlSequence | None, longest_s: float, now_s: Callable[[], float]
) -> None:
    """Let a planner plan as if it took over now; twice, since what has to be loaded makes the first time long.

    Args:
        planner: a newcomer, warmed up; to be reset before it is followed.
        problem: where the car is.
        plan: what is being followed, which the newcomer would go on from.
        longest_s: longest that a plan may take, since the car stops for want of plans after that [s].
        now_s: the clock [s] that this is measured with.

    Raises:
        PlanningError: no plan is found, or only after too long.
    """
    for _ in range(2):
        planner.reset(plan)
        begun_s = now_s()
        planner.plan(problem)
        took_s = now_s() - begun_s
    if took_s > longest_s:
        raise PlanningError(
            f"planner {planner.kind} ({planner.backend}) takes {took_s:.2f} s for a plan, the car stops after "
            f"{longest_s:g} s without; give it less to compute"
        )
