"""Stretches of driving to learn from: found once, cut when they are needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.delay import delayed
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import STATE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.recording import SAMPLED_ROWS, Drive, thinned
from mbrl_ros.learning.recipe import NetworkSettings, TrainingSettings
from mbrl_ros.models.identification.agreement import compare_with_pose
from mbrl_ros.models.learned import Guard
from mbrl_ros.models.windows import WindowStarts, find_windows

_LEAST = 40
"""Predictions below which nothing can be learned that the physics does not say better."""

_SPAN_S = 0.2  # over which rates of change are taken: shorter ones are noise
_MIRRORED_STATES = tuple(STATE.indices(("y", "yaw", "vy", "yaw_rate", "steering_angle")))
_MIRRORED_ACTIONS = (0,)


@dataclass(frozen=True)
class Driving:
    """N windows in the shape that models take.

    Args:
        states: [N, P + 1 + H, 8], positions relative to that at the start (row P); zero where not observed.
        observed: [N, 8] bool.
        applied: [N, P + H, A] actions that acted.
        past: P.
    """

    states: torch.Tensor
    observed: torch.Tensor
    applied: torch.Tensor
    past: int

    def __len__(self) -> int:
        return len(self.states)

    @property
    def mirrored(self) -> Driving:
        """The same seen in a mirror along the car: left is right."""
        states, applied = self.states.clone(), self.applied.clone()
        states[..., _MIRRORED_STATES] *= -1
        applied[..., _MIRRORED_ACTIONS] *= -1
        return replace(self, states=states, applied=applied)


@dataclass(frozen=True)
class Stretches:
    """N stretches of driving to learn from, cut when they are needed.

    Args:
        starts: where they begin.
        delay_steps: [A] delay of each action, in rows.
        before: rows before a stretch from which delayed actions come.
    """

    starts: WindowStarts
    delay_steps: torch.Tensor
    before: int

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def observed(self) -> torch.Tensor:
        """[N, 8] bool."""
        return torch.from_numpy(self.starts.observed[self.starts.segment])

    def cut(self, rows: np.ndarray) -> Driving:
        """Those at ``rows``, in memory."""
        windows = self.starts.part(rows).cut()
        applied = delayed(windows.commands, self.delay_steps, self.before)
        states = windows.states[:, self.before :].clone()
        states[..., [X, Y]] -= windows.states[:, windows.past, None, [X, Y]]
        return Driving(states, windows.observed, applied, windows.past - self.before)

    def sample(self) -> Driving:
        """As many of them as fit into a little memory, spread evenly."""
        length = self.starts.past + self.starts.horizon + 1
        return self.cut(evenly(len(self), SAMPLED_ROWS // length))


def find_stretches(
    drives: Sequence[Drive], delay_s: torch.Tensor, history_s: float, settings: TrainingSettings
) -> Stretches:
    """Stretches of ``drives`` with the actions that act behind ``delay_s`` [A].

    Raises:
        DataError: there is too little driving; the message says what to do.
    """
    dt, min_speed = drives[0].dt, usual_speed(drives) if settings.min_speed is None else settings.min_speed
    steps = delay_s.double() / dt
    duration_s = sum(len(segment) * dt for drive in drives for segment in drive.segments)
    before = math.floor(float(steps.max())) + 1
    starts = find_windows(
        drives,
        horizon_s=max(settings.horizon_s, dt),
        past_s=history_s + before * dt,
        every_s=settings.start_every_s,
        min_speed=min_speed,
        block_s=min(settings.block_s, duration_s / (2 * settings.held_out_blocks)),
        trusted=compare_with_pose(drives, min_speed).trusted,
    )
    blocks = len(np.unique(starts.block))
    if len(starts) < _LEAST or blocks < settings.held_out_blocks:
        raise DataError(
            f"{', '.join(drive.source for drive in drives)}: {len(starts)} predictions in {blocks} blocks are too few "
            f"to learn from ({_LEAST} in {settings.held_out_blocks} at least); record more driving, identify physics "
            "alone (recipe sysid), or lower start_every_s and min_speed"
        )
    return Stretches(starts, steps, before)


def evenly(count: int, limit: int) -> np.ndarray:
    """Of the numbers below ``count`` at most ``limit``, evenly spread."""
    return np.arange(count) if count <= limit else np.linspace(0, count - 1, limit).astype(int)


def usual_speed(drives: Sequence[Drive]) -> float:
    """3 m/s, or for a small car a fifth of the speed that it exceeds one twentieth of the time, at least 0.1 [m/s]."""
    vx = np.concatenate([segment.state[:, VX] for drive in thinned(drives) for segment in drive.segments])
    return float(np.clip(0.2 * np.nanpercentile(vx, 95), 0.1, 3.0))


def guard_for(driving: Driving, dt: float, settings: NetworkSettings) -> Guard:
    """Limits with headroom over what was driven; a yaw rate that is not recorded is taken from the heading.

    Raises:
        DataError: predictions are too short to tell how that changes.
    """
    states, turning = driving.states.clone().numpy(), ~driving.observed[:, YAW_RATE].numpy()
    span = max(1, min(round(_SPAN_S / dt), (states.shape[1] - 1) // 2))
    if turning.any():
        if states.shape[1] <= 2 * span:
            raise DataError(
                f"{states.shape[1]} states in a row do not tell how fast a yaw rate changes that is not recorded; "
                "give the recipe a longer history_s or horizon_s"
            )
        turned = wrap_angle(driving.states[:, span:, YAW] - driving.states[:, :-span, YAW]).numpy()
        states = states[:, span:]
        states[turning, :, YAW_RATE] = turned[turning] / (span * dt)
    rates = np.abs(states[:, span:, VX : YAW_RATE + 1] - states[:, :-span, VX : YAW_RATE + 1]) / (span * dt)
    most = np.percentile(rates.reshape(-1, 3), 99.5, axis=0)
    vx, vy, yaw_rate = (np.abs(states[..., column]) for column in (VX, VY, YAW_RATE))
    moving = vx > 1.0
    sideslip = np.percentile(vy[moving] / vx[moving], 99.9) if moving.any() else 0.0
    lateral = float(np.percentile(vx * yaw_rate, 99.9))
    strongest = max(float(most[0]), float(most[1]))
    return Guard(
        residual=(
            settings.headroom * float(most[0]) + 0.1,
            settings.headroom * strongest + 0.1,
            settings.headroom * float(most[2]) + 0.1,
        ),
        longitudinal=max(settings.headroom * float(np.percentile(rates[..., 0], 99.9)), settings.least_grip_mps2),
        lateral=max(settings.headroom * lateral, settings.least_grip_mps2),
        sideslip=max(settings.headroom * float(sideslip), 1.0),
    )
