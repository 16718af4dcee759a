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
        longest_s: longest that a plan is followed after its stamp, then the car stops [s].
        now_s: the clock [s] that this is measured with.

    Raises:
        PlanningError: no plan is found, or only after too long: a plan is followed through the solve of the next one,
            so that two of them have to fit into ``longest_s``.
    """
    for _ in range(2):
        planner.reset(plan)
        begun_s = now_s()
        planner.plan(problem)
        took_s = now_s() - begun_s
    require_followable(planner, took_s, longest_s)


def require_followable(planner: Planner, took_s: float, longest_s: float) -> None:
    """PlanningError where ``planner`` takes so long for a plan that the car would stop and go, as `rehearse` says."""
    if 2 * took_s > longest_s:
        raise PlanningError(
            f"planner {planner.kind} ({planner.backend}) takes {took_s:.2f} s for a plan; a plan is found and followed "
            f"until the next one is, which takes twice as long, and the car stops {longest_s:g} s after its stamp; "
            "give it less to compute"
        )


def rehearsal(
    problem: Problem | None, plan: ControlSequence | None, longest_s: float, now_s: Callable[[], float]
) -> Callable[[Planner], None] | None:
    """What lets a planner `rehearse`, or None while nobody knows where the car is (no ``problem``)."""
    if problem is None:
        return None
    return lambda planner: rehearse(planner, problem, plan, longest_s, now_s)
