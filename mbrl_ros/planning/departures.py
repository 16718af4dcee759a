"""Ways off for a car that stands askew: whoever searches near a plan that stands still finds none of them.

Standing, the steering changes nothing, and driving off as the car happens to point leads out of the road: rest is then
the best of all plans near it, though turning in while driving off costs less.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from mbrl_ros.core.layout import DRIVE_COMMAND, STEERING_COMMAND, VX
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.planning.planner import Problem

_STANDING_MPS = 0.5
_LOOK_EVERY_S = 0.2

_PUSH_S = 0.5
_PUSHES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
"""Shares of the highest acceleration: from a crawl below a speed cap on."""

_LOCKS = (-1.0, -0.5, 0.5, 1.0)
"""Shares of the largest steering angle to either side."""

_STEERED = (0.2, 0.3, 0.4, 0.5, 1.0)
"""Shares of the horizon, which is the longer the larger, and slower to turn, a car is."""


class Departures:
    """A fan of ways off, and when it is worth looking at them: a car that has to wait would do so in every cycle.

    Args:
        bounds: lowest and highest action (steering and acceleration), [A] each.
        horizon: H.
        dt: step [s].
    """

    def __init__(self, bounds: tuple[torch.Tensor, torch.Tensor], horizon: int, dt: float) -> None:
        self.ways = _fan(bounds, horizon, dt)
        """[N, H, A] commands: half a second of acceleration, and wheels that are turned, and then straight."""
        self.reset()

    def reset(self) -> None:
        """Forget when they were looked at."""
        self._looked_s = -math.inf

    def due(self, problem: Problem, states: np.ndarray) -> bool:
        """Whether the car stands, a plan's ``states`` [H + 1, S] lead nowhere, and nobody has looked at the ways off
        for a while; if so, somebody does now."""
        slow_mps = min(_STANDING_MPS, problem.speed_cap_mps / 2)
        rests = abs(problem.state[VX]) < slow_mps and bool((np.abs(states[:, VX]) < slow_mps).all())
        if not rests or 0.0 <= problem.stamp_s - self._looked_s < _LOOK_EVERY_S:
            return False
        self._looked_s = problem.stamp_s
        return True


def leaves(task: Task, states: torch.Tensor) -> torch.Tensor:
    """[N] whether plans with these states [N, H + 1, S] end what they began well (`Task.terminal`): a car that stands
    beside an edge is not to cross it, whatever that would cost."""
    ends = task.terminal(states)
    return ends[:, 1:].any(dim=1) & ~ends[:, 0]


def _fan(bounds: tuple[torch.Tensor, torch.Tensor], horizon: int, dt: float) -> torch.Tensor:
    low, high = bounds
    angles = [0.0, *(abs(lock) * float((high if lock > 0 else low)[STEERING_COMMAND]) for lock in _LOCKS)]
    ways = []
    for angle, steered, push in itertools.product(angles, _STEERED, _PUSHES):
        if angle == 0.0 and steered != _STEERED[0]:
            continue  # straight ahead, all are one
        way = torch.zeros(horizon, len(high), dtype=high.dtype)
        way[: round(steered * horizon), STEERING_COMMAND] = angle
        way[: max(round(_PUSH_S / dt), 1), DRIVE_COMMAND] = push * high[DRIVE_COMMAND]
        ways.append(torch.clamp(way, low, high))
    return torch.stack(ways)
