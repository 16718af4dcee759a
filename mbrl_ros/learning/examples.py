"""What a training reads: driving, mirrored, as the model's base reads it before anything is learned."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.core.recording import SAMPLED_ROWS
from mbrl_ros.learning.driving import Driving, Stretches, evenly
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.learning.stored import RowWriter, StoredTensor
from mbrl_ros.models.learned import LearnedModel, Prepared

STORED = ("car", "inputs", "shares", "applied", "driven")
_CHUNK = 512  # stretches that are read by the base at once


@dataclass(frozen=True)
class Examples:
    """What a training reads, each tensor [V, N, ...] in float32; V is 2 with mirror images, the original first.

    The large ones lie on disk.

    Args:
        car: [V, N, 8] states at the starts.
        inputs, shares: [V, N, P, F] and [V, N, K], see `models.learned.Prepared`.
        applied: [V, N, H, A] actions that act.
        driven: [V, N, H, 8] what happened.
        observed: [N, 8] bool.
        held_out: [M, N] bool: windows that stop the training of a member and are not learned from by it.
        weight: [M, N] how often a member learns from a window; 0 where it is held out.
        judging: [J] windows that members are stopped by: held out by any, evenly spread where they are many.
    """

    car: StoredTensor
    inputs: StoredTensor
    shares: StoredTensor
    applied: StoredTensor
    driven: StoredTensor
    observed: torch.Tensor
    held_out: torch.Tensor
    weight: torch.Tensor
    judging: torch.Tensor

    @property
    def count(self) -> int:
        """N."""
        return self.car.shape[1]

    @property
    def views(self) -> int:
        """V."""
        return self.car.shape[0]

    @property
    def sample(self) -> torch.Tensor:
        """[n] rows that stand for all of them: few enough to be looked at together, evenly spread."""
        length = self.inputs.shape[2] + self.driven.shape[2]
        return torch.from_numpy(evenly(self.count, SAMPLED_ROWS // length))


def scaling_of(model: LearnedModel, driving: Driving, mirror: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of what a model with this base and memory reads, surprises about zero.

    Surprises jump where sensors do: their scale is at most three times their median's.
    """
    views = [(model, driving), (model.mirrored(), driving.mirrored)] if mirror else [(model, driving)]
    rows = torch.cat([_read(*view) for view in views])
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


def examples_for(
    model: LearnedModel, stretches: Stretches, settings: TrainingSettings, folder: Path, group: Group = ALONE
) -> Examples:
    """``stretches`` as ``model``, in float64, reads them before anything is learned.

    They are written to files in ``folder``, by the leader of the group, that are gone when this process is.
    """
    paths = {name: folder / f"examples.{name}" for name in STORED}
    shapes = _shapes(model, stretches, settings)
    if group.leads:
        with ExitStack() as stack:
            writers = {name: stack.enter_context(RowWriter(paths[name], shapes[name])) for name in STORED}
            for rows in np.split(np.arange(len(stretches)), range(_CHUNK, len(stretches), _CHUNK)):
                driving = stretches.cut(rows)
                views = [(model, driving), (model.mirrored(), driving.mirrored)]
                for view, seen in enumerate(views[: shapes["car"][0]]):
                    for name, values in _stored(*seen).items():
                        writers[name].put(view, int(rows[0]), values)
    group.wait()
    stored = {name: StoredTensor(paths[name], shapes[name]) for name in STORED}
    group.wait()
    if group.leads:
        for path in paths.values():
            path.unlink()
    network = model.config.network
    shared = network.probabilistic  # elites are chosen by their errors on the same driving
    held_out = held_out_windows(stretches.starts.block, network.members, settings, shared=shared)
    weight = _drawn(~held_out, settings.seed) if settings.bootstrap else (~held_out).float()
    judging = held_out.any(dim=0).nonzero()[:, 0]
    if settings.epoch_predictions:
        judging = judging[evenly(len(judging), settings.epoch_predictions)]
    return Examples(**stored, observed=stretches.observed, held_out=held_out, weight=weight, judging=judging)


def _stored(model: LearnedModel, driving: Driving) -> dict[str, torch.Tensor]:
    prepared, past = _prepared(model, driving), driving.past
    return {
        "car": prepared.car,
        "inputs": prepared.inputs,
        "shares": prepared.shares,
        "applied": driving.applied[:, past:],
        "driven": driving.states[:, past + 1 :],
    }


def _shapes(model: LearnedModel, stretches: Stretches, settings: TrainingSettings) -> dict[str, tuple[int, ...]]:
    first = _stored(model, stretches.cut(np.arange(1)))
    views = 2 if settings.mirror else 1
    return {name: (views, len(stretches), *values.shape[1:]) for name, values in first.items()}


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
