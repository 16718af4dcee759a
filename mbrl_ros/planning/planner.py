"""The face of everything that chooses actions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import MbrlError
from mbrl_ros.core.state_history import StateHistory
from mbrl_ros.core.tasks.obstacles import Obstacle
from mbrl_ros.core.tasks.task import Avoiding, SpeedCapped, Task

HISTORY_S = 5.0
"""Driving before the present that planners are told of [s]; models with memory may ask for no more."""


class PlanningError(MbrlError):
    """No plan could be made in this cycle; the previous one still stands."""


@dataclass(frozen=True)
class Problem:
    """What a planner is asked: where the car is, and how it came there.

    Args:
        state: [8] core.layout.STATE.
        stamp_s: the state's stamp [s]; the plan begins there.
        commands: as sent up to now; the planner's own copy.
        driven: states up to ``state``, for models with memory; may be empty. The planner's own copy.
        speed_cap_mps: no faster than this, infinite where there is no cap.
        obstacles: what to keep away from.
    """

    state: np.ndarray
    stamp_s: float
    commands: CommandHistory
    driven: StateHistory = field(default_factory=StateHistory)
    speed_cap_mps: float = math.inf
    obstacles: tuple[Obstacle, ...] = ()


def heed(task: Task, problem: Problem) -> None:
    """Tell ``task`` how fast the car may drive and what is in its way; every planner does so before it plans.

    Raises:
        PlanningError: there is a speed cap or an obstacle that the task knows nothing of.
    """
    if isinstance(task, SpeedCapped):
        task.cap_speed(problem.speed_cap_mps)
    elif problem.speed_cap_mps < math.inf:
        raise PlanningError(f"{type(task).__name__} knows no speed cap, {problem.speed_cap_mps:g} m/s cannot be kept")
    if isinstance(task, Avoiding):
        task.set_obstacles(problem.obstacles)
    elif problem.obstacles:
        raise PlanningError(f"{type(task).__name__} knows no obstacles, {len(problem.obstacles)} cannot be avoided")


class Planner(Protocol):
    """Turns a state into a control sequence.

    A plan predicts its states, and its ``diagnostics`` hold at least ``total_cost``, ``iterations`` and, for each term
    of the task, ``cost.<term>``; what else they hold is the planner's own.
    """

    kind: str
    """What `planning.settings` knows it by, e.g. "mppi"."""
    task: Task
    """What it is rewarded for."""

    @property
    def backend(self) -> str:
        """How it computes at present, e.g. "eager" or "compiled"."""
        ...

    @property
    def hindered(self) -> bool:
        """Whether ``backend`` is a slower one than the settings ask for."""
        ...

    @property
    def note(self) -> str:
        """Why it is hindered, or what was done to get it ready; empty if nothing was."""
        ...

    def plan(self, problem: Problem) -> ControlSequence:
        """The sequence to follow from the problem's stamp on.

        Raises:
            PlanningError: none was found.
        """
        ...

    def candidates(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States [N, H + 1, 8] and costs [N] of up to ``count`` trajectories that the last plan was found among.

        Raises:
            PlanningError: there was no plan yet.
        """
        ...

    def reset(self, plan: ControlSequence | None = None) -> None:
        """Forget the previous plan, or go on from another planner's, and begin the random numbers anew."""
        ...

    def warm_up(self, beside: bool = False, wait: bool = True) -> None:
        """Do what the first ``plan`` would be late for.

        Args:
            beside: other threads plan in plain torch meanwhile, which torch's compiler must not disturb.
            wait: until all is ready; else, with ``beside``, only until plans can be found at all, if it knows a way.
        """
        ...


def makeshift(planner: Planner) -> bool:
    """Whether it plans in plain torch for want of what shall be compiled: rarely, so that plans are of a past place."""
    return planner.hindered and planner.backend == "eager"
