"""Where to look first: action sequences that something else than sampling proposes (a policy, another planner)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mbrl_ros.planning.planner import Planner, PlanningError, Problem


class Prior(Protocol):
    """Anything that knows a good sequence or some of them (Hansen et al. 2024, TD-MPC2, "policy prior")."""

    def propose(self, problem: Problem, stamps_s: np.ndarray) -> np.ndarray:
        """[N, H, A] actions at the instants ``stamps_s`` [H]; N may be zero. They need not keep to bounds."""
        ...


class PlansOf:
    """Proposes the plan of another planner; nothing where it finds none.

    Args:
        planner: asked the same problem in every cycle, before sampling.
    """

    def __init__(self, planner: Planner) -> None:
        self.planner = planner

    def propose(self, problem: Problem, stamps_s: np.ndarray) -> np.ndarray:
        """[N, H, A] its plan, N being one or zero."""
        try:
            return self.planner.plan(problem).at(stamps_s)[None]
        except PlanningError:
            return np.empty((0, len(stamps_s), problem.commands.at(problem.stamp_s).shape[0]))
