"""Stretches of driving to learn from: cut once, mirrored, and read by the model's base before anything is learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mbrl_ros.core.delay import delayed
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import STATE, VX, VY, YAW_RATE, X, Y
from mbrl_ros.core.recording import Drive
from mbrl_ros.learning.recipe import NetworkSettings, TrainingSettings
from mbrl_ros.models.identification.agreement import compare_with_pose
from mbrl_ros.models.learned import Guard, LearnedModel, Prepared
from mbrl_ros.models.windows import Windows, cut_windows

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
        block: [N] number of the time block of each start.
    """

    states: torch.Tensor
    observed: torch.Tensor
    applied: torch.Tensor
    past: int
    block: np.ndarray

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
class Examples:
    """What a training reads, each tensor [V, N, ...] in float32; V is 2 with mirror images, the original first.

    Args:
        car: [V, N, 8] states at the starts.
        inputs: [V, N, P, F] see `models.learned.Prepared`.
        applied: [V, N, H, A] actions that act.
        driven: [V, N, H, 8] what happened.
        observed: [N, 8] bool.
        held_out: [M, N] bool: windows that stop the training of a member and are not learned from by it.
        weight: [M, N] how often a member learns from a window; 0 where it is held out.
    """

    car: torch.Tensor
    inputs: torch.Tensor
    applied: torch.Tensor
    driven: torch.Tensor
    observed: torch.Tensor
    held_out: torch.Tensor
    weight: torch.Tensor

    @property
    def count(self) -> int:
        """N."""
        return self.car.shape[1]

    @property
    def views(self) -> int:
        """V."""
        return self.car.shape[0]


def cut_driving(
    drives: Sequence[Drive], delay_s: torch.Tensor, history_s: float, settings: TrainingSettings
) -> Driving:
    """Windows of ``drives`` with the actions that act behind ``delay_s`` [A].

    Raises:
        DataError: there is too little driving; the message says what to do.
    """
    dt, min_speed = drives[0].dt, usual_speed(drives) if settings.min_speed is None else settings.min_speed
    steps = delay_s.double() / dt
    duration_s = sum(len(segment) * dt for drive in drives for segment in drive.segments)
    before = math.floor(float(steps.max())) + 1
    windows = cut_windows(
        drives,
        horizon_s=max(settings.horizon_s, dt),
        past_s=history_s + before * dt,
        every_s=settings.start_every_s,
        min_speed=min_speed,
        block_s=min(settings.block_s, duration_s / (2 * settings.held_out_blocks)),
        limit=2**31,
        trusted=compare_with_pose(drives, min_speed).trusted,
        seed=settings.seed,
    )
    blocks = len(np.unique(windows.block))
    if len(windows) < _LEAST or blocks < settings.held_out_blocks:
        raise DataError(
            f"{', '.join(drive.source for drive in drives)}: {len(windows)} predictions in {blocks} blocks are too few "
            f"to learn from ({_LEAST} in {settings.held_out_blocks} at least); record more driving, identify physics "
            "alone (recipe sysid), or lower start_every_s and min_speed"
        )
    return _acted(windows, steps, before)


def usual_speed(drives: Sequence[Drive]) -> float:
    """3 m/s, or for a small car a fifth of the speed that it exceeds one twentieth of the time, at least 0.1 [m/s]."""
    vx = np.concatenate([segment.state[:, VX] for drive in drives for segment in drive.segments])
    return float(np.clip(0.2 * np.nanpercentile(vx, 95), 0.1, 3.0))


def guard_for(driving: Driving, dt: float, settings: NetworkSettings) -> Guard:
    """Limits with headroom over what was driven."""
    states = driving.states.numpy()
    span = max(1, min(round(_SPAN_S / dt), states.shape[1] - 1))
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


def scaling_of(model: LearnedModel, driving: Driving, mirror: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of what a model with this base and memory reads, surprises about zero.

    Surprises jump where sensors do: their scale is at most three times their median's.
    """
    views = [driving, driving.mirrored] if mirror else [driving]
    rows = torch.cat([_read(model, view) for view in views])
    mean, std = rows.mean(dim=0), rows.std(dim=0)
    seen = 5 + len(model.action_layout)
    usual = 1.4826 * rows.abs().median(dim=0).values
    std[seen:] = torch.where(usual[seen:] > 0, torch.minimum(std[seen:], 3 * usual[seen:]), std[seen:])
    mean[seen:] = 0.0
    return mean, torch.where(std > 1e-6, std, 1.0)


def _read(model: LearnedModel, driving: Driving) -> torch.Tensor:
    """[rows, F] what the model reads."""
    prepared = _prepared(model, driving)
    if model.encoder is not None:
        return prepared.inputs.flatten(0, 1)
    with torch.no_grad():
        return model.seen(prepared.car, driving.applied[:, driving.past])


def _prepared(model: LearnedModel, driving: Driving) -> Prepared:
    past = driving.past
    with torch.no_grad():
        return model.prepare(driving.states[:, : past + 1], driving.observed, driving.applied[:, :past])


def examples_for(model: LearnedModel, driving: Driving, settings: TrainingSettings) -> Examples:
    """``driving`` as ``model``, in float64, reads it before anything is learned."""
    views = [driving, driving.mirrored] if settings.mirror else [driving]
    prepared = [_prepared(model, view) for view in views]
    past = driving.past
    network = model.config.network
    shared = network.probabilistic  # elites are chosen by their errors on the same driving
    held_out = held_out_windows(driving.block, network.members, settings, shared=shared)
    return Examples(
        torch.stack([p.car for p in prepared]).float(),
        torch.stack([p.inputs for p in prepared]).float(),
        torch.stack([view.applied[:, past:] for view in views]).float(),
        torch.stack([view.states[:, past + 1 :] for view in views]).float(),
        driving.observed,
        held_out,
        _drawn(~held_out, settings.seed) if settings.bootstrap else (~held_out).float(),
    )


def held_out_windows(
    block: np.ndarray, members: int, settings: TrainingSettings, *, shared: bool = False
) -> torch.Tensor:
    """[M, N] bool: each member is stopped by other blocks, dealt out as evenly as can be, or all by the same."""
    names, number = np.unique(block, return_inverse=True)
    shares = max(settings.held_out_blocks, min(members, len(names)))
    share = np.empty(len(names), dtype=int)
    share[np.random.default_rng(settings.seed).permutation(len(names))] = np.arange(len(names)) % shares
    return torch.from_numpy(
        np.stack([share[number] == (0 if shared else member % shares) for member in range(members)])
    )


def _drawn(learned: torch.Tensor, seed: int) -> torch.Tensor:
    """[M, N] how often each window is drawn by each member, with replacement from those it may learn from."""
    generator = torch.Generator().manual_seed(seed)
    counts = []
    for allowed in learned:
        rows = allowed.nonzero()[:, 0]
        drawn = rows[torch.randint(len(rows), (len(rows),), generator=generator)]
        counts.append(torch.bincount(drawn, minlength=len(allowed)))
    return torch.stack(counts).float()


def _acted(windows: Windows, delay_steps: torch.Tensor, before: int) -> Driving:
    applied = delayed(windows.commands, delay_steps, before)
    states = windows.states[:, before:].clone()
    past = windows.past - before
    states[..., [X, Y]] -= windows.states[:, windows.past, None, [X, Y]]
    return Driving(states, windows.observed, applied, past, windows.block)
