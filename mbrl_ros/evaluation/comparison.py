"""Models and baselines side by side on recorded driving."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import VY
from mbrl_ros.core.recording import Drive
from mbrl_ros.evaluation import baselines
from mbrl_ros.evaluation.coverage import Coverage, coverage
from mbrl_ros.evaluation.open_loop import (
    HORIZONS_S,
    START_EVERY_S,
    Predictor,
    Score,
    Windows,
    cut_windows,
    default_min_speed,
    scores,
)
from mbrl_ros.evaluation.regimes import Regimes, RegimeScore, regime_scores, regimes_of
from mbrl_ros.evaluation.splits import Fold, Interval, folds
from mbrl_ros.models.passport import LoadedModel

BASELINES = ("persistence", "ctrv", "linear", "floor")

Progress = Callable[[str], None]
"""Told what is done next."""


@dataclass(frozen=True)
class BagComparison:
    """Every predictor on one recording.

    Args:
        drive: the recording.
        held_out: the parts that were scored.
        min_speed: starts are where vx is above this [m/s].
        windows: the starts.
        predicted: [N, H + 1, 8] predicted states by predictor, models first.
        scores: by predictor and horizon.
        notes: what a reader of the scores has to know, each a sentence.
        regimes: which start lies in which.
        regime_scores: by predictor, horizon and regime.
        coverage: what the intervals of models hold that state some.
    """

    drive: Drive
    held_out: tuple[Interval, ...]
    min_speed: float
    windows: Windows
    predicted: dict[str, torch.Tensor]
    scores: tuple[Score, ...]
    notes: tuple[str, ...]
    regimes: Regimes
    regime_scores: tuple[RegimeScore, ...]
    coverage: tuple[Coverage, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The predictors that are no baselines."""
        return tuple(name for name in self.predicted if name not in BASELINES)


def compare(
    models: Mapping[str, LoadedModel],
    drives: Sequence[Drive],
    *,
    split: str = "auto",
    train: Sequence[Drive] = (),
    horizons_s: Sequence[float] = HORIZONS_S,
    start_every_s: float = START_EVERY_S,
    min_speed: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[BagComparison]:
    """Score ``models`` and the four baselines on each of ``drives``.

    Args:
        models: by name.
        drives: recordings to score on.
        split: see `evaluation.splits.folds`; or ``auto``: a recording that a model was fitted to is scored
            outside of the driving that its passport names, another one as a whole, and without models at all
            the last fifth of each recording.
        train: driving to fit the linear baseline to where the split leaves none of the recording itself.
        horizons_s: prediction horizons [s].
        start_every_s: spacing of the starts [s], unless they were too many.
        min_speed: starts where vx is above this [m/s]; None for `default_min_speed`.
        seed: of the bootstrap.
        progress: told before each predictor what is scored.

    Raises:
        DataError: a recording has nothing to score on.
        ModelError, LayoutError: a model does not fit a recording.
    """
    if split != "auto":
        chosen = folds(drives, split)
    elif models:
        chosen = [_unseen(drive, models) for drive in drives]
    else:
        chosen = folds(drives, "time:0.8")
    told = progress or (lambda what: None)
    return [_compare_on(fold, models, train, horizons_s, start_every_s, min_speed, seed, told) for fold in chosen]


def _compare_on(
    fold: Fold,
    models: Mapping[str, LoadedModel],
    train: Sequence[Drive],
    horizons_s: Sequence[float],
    start_every_s: float,
    min_speed: float | None,
    seed: int,
    progress: Progress,
) -> BagComparison:
    drive, notes = fold.drive, []
    predictors = [baselines.of_model(name, loaded.model) for name, loaded in models.items()]
    predictors += [baselines.persistence(), baselines.ctrv()]
    linear, note = _linear(fold, train)
    if linear:
        predictors.append(linear)
    notes.append(note)
    predictors.append(baselines.floor())
    for name, loaded in models.items():
        seen = [i for i in _training_intervals(loaded, drive) for part in fold.held_out if _overlap(i, part)]
        if seen:
            notes.append(f"{name} was fitted to some of the driving that it is scored on here: no held-out score")
    speed = default_min_speed(drive) if min_speed is None else min_speed
    windows = cut_windows(
        drive,
        fold.held_out,
        horizons_s=horizons_s,
        start_every_s=start_every_s,
        min_speed=speed,
        past_s=max(p.past_s for p in predictors),
    )
    if windows.every_s > start_every_s + drive.dt:
        notes.append(f"much driving: starts are {windows.every_s:.2g} s apart, not {start_every_s:g} s")
    if torch.isnan(windows.start[:, VY]).all():
        notes.append("vy is not recorded: CTRV and the floor take it for zero, models let it settle")
    regimes = regimes_of(windows)
    predicted: dict[str, torch.Tensor] = {}
    found: list[Score] = []
    by_regime: list[RegimeScore] = []
    held: list[Coverage] = []
    for predictor in predictors:
        name = predictor.name
        progress(f"{name} on {Path(drive.source).resolve().name}")
        predicted[name] = states = predictor.predict(windows)
        found += scores(name, states, windows, horizons_s, seed=seed)
        by_regime += regime_scores(name, states, windows, regimes, horizons_s, seed=seed)
        if name in models:
            held += coverage(name, models[name], windows, states, regimes)
    return BagComparison(
        drive,
        fold.held_out,
        speed,
        windows,
        predicted,
        tuple(found),
        tuple(notes),
        regimes,
        tuple(by_regime),
        tuple(held),
    )


def _linear(fold: Fold, train: Sequence[Drive]) -> tuple[Predictor | None, str]:
    """The linear baseline fitted to the fold's own training part, or to ``train``, or None; and which."""
    driving = list(fold.train) or [d for d in train if d.source_hash != fold.drive.source_hash]
    if not driving:
        return None, "linear: left out, the split leaves no driving to fit it to"
    names = ", ".join(dict.fromkeys(d.source for d in driving))
    return baselines.linear(driving), f"linear: fitted to {_duration(driving):.0f} s of {names}"


def _duration(drives: Sequence[Drive]) -> float:
    return sum(len(segment) * drive.dt for drive in drives for segment in drive.segments)


def _unseen(drive: Drive, models: Mapping[str, LoadedModel]) -> Fold:
    """All of ``drive`` that none of ``models`` was fitted to."""
    seen = sorted(interval for loaded in models.values() for interval in _training_intervals(loaded, drive))
    held_out, begin = [], -math.inf
    for start_s, end_s in seen:
        if begin < start_s and drive.start_s < start_s:
            held_out.append((begin, start_s))
        begin = max(begin, float(np.nextafter(end_s, np.inf)))
    if begin <= drive.end_s:
        held_out.append((begin, math.inf))
    if not held_out:
        names = ", ".join(name for name, loaded in models.items() if _training_intervals(loaded, drive))
        raise DataError(
            f"{drive.source}: {names} was fitted to all of it; give another --bag, fit with a --split, or ask for "
            "the error on its training data with --split all"
        )
    parts = tuple(drive.between(start_s, float(np.nextafter(end_s, np.inf))) for start_s, end_s in seen)
    return Fold(parts, drive, tuple(held_out))


def _training_intervals(loaded: LoadedModel, drive: Drive) -> list[Interval]:
    return [(bag.start_s, bag.end_s) for bag in loaded.passport.bags if bag.sha256 == drive.source_hash]


def _overlap(one: Interval, other: Interval) -> bool:
    return one[0] < other[1] and other[0] < one[1]
