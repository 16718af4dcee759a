"""The face of everything that chooses actions."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import MbrlError


class PlanningError(MbrlError):
    """No plan could be made in this cycle; the previous one still stands."""


class Planner(Protocol):
    """Turns a state into a control sequence."""

    kind: str

    @property
    def backend(self) -> str:
        """How rollouts are evaluated at present, e.g. "eager" or "compiled"."""
        ...

    def plan(self, state: np.ndarray, stamp_s: float, history: CommandHistory) -> ControlSequence:
        """The sequence to follow from ``stamp_s`` on, given ``state`` [8] then and the commands sent up to then.

        Raises:
            PlanningError: none was found.
        """
        ...

    def reset(self) -> None:
        """Forget the previous plan, and begin the random numbers anew."""
        ...

    def warm_up(self, background: bool = False) -> None:
        """Do what the first ``plan`` would be late for; in a thread of its own where ``background`` is set."""
        ...
