"""Ways off for a car that stands askew: whoever searches near a plan that stands still finds none of them.

Standing, the steering changes nothing, and driving off as the car happens to point leads out of the road: rest is then
the best of all plans near it, though turning in while driving off costs less.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch

from mbrl_ros.core.layout import DRIVE_COMMAND, STEERING_COMMAND, VX

STANDING_MPS = 0.5
"""A car stands that is slower than this."""

_PUSH_S = 0.5
_PUSHES = (0.2, 0.5, 1.0)
_LOCKS = (-1.0, -0.5, 0.0, 0.5, 1.0)
_STEERED = (0.2, 0.3, 0.4, 0.5)


def departures(bounds: tuple[torch.Tensor, torch.Tensor], horizon: int, dt: float) -> torch.Tensor:
    """[N, H, A] accelerations of half a second, with the wheels turned for a part of the horizon, straight afterwards.

    Args:
        bounds: lowest and highest action (steering and acceleration), [A] each.
        horizon: H.
        dt: step [s].
    """
    low, high = bounds
    ways = []
    for lock, steered, push in itertools.product(_LOCKS, _STEERED, _PUSHES):
        way = torch.zeros(horizon, len(high), dtype=high.dtype)
        steering = abs(lock) * (high if lock > 0 else low)[STEERING_COMMAND]
        way[: round(steered * horizon), STEERING_COMMAND] = steering
        way[: max(round(_PUSH_S / dt), 1), DRIVE_COMMAND] = push * high[DRIVE_COMMAND]
        ways.append(way)
    return torch.stack(ways)


def stands(state: np.ndarray) -> bool:
    """Whether a car with this state [8] stands."""
    return bool(abs(state[VX]) < STANDING_MPS)


def rests(states: np.ndarray | None) -> bool:
    """Whether a plan's states [H + 1, 8] lead nowhere; so does no plan at all."""
    return states is None or bool((np.abs(states[:, VX]) < STANDING_MPS).all())
