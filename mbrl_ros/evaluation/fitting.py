"""A model fitted to the training part of recordings, scored on the rest, and saved with where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.core.layout import drive_command
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.comparison import BagComparison, compare
from mbrl_ros.evaluation.splits import folds, parts_without
from mbrl_ros.models import passport
from mbrl_ros.models.identification import Identification, Options, identify
from mbrl_ros.models.identification.identify import Progress
from mbrl_ros.models.parametric import ParametricModel, build, build_for
from mbrl_ros.models.passport import LoadedModel, Provenance, SavableModel, Score, TrainingBag

SPLIT = "time:0.8"
WHOLE = "none"
"""The split that holds nothing out."""

_FITTED = "fitted"
_SIMPLE = ("persistence", "ctrv", "linear")

SCORED_S = (1.0, 2.0)
"""Horizons at which a passport says how well the model predicts [s]."""


@dataclass(frozen=True)
class Fitted:
    """A model that was fitted and saved.

    Args:
        model: as it was saved.
        found: what the fit says of its parameters.
        scores: on the held-out driving, none where nothing was held out.
        notes: what the driving tells and what it cannot, each a sentence.
    """

    model: LoadedModel
    found: Identification
    scores: tuple[Score, ...]
    notes: tuple[str, ...]


def start_model(kind: str, drive: Drive, vehicle: Vehicle | None = None) -> ParametricModel:
    """The model of ``kind`` to begin with: for the actions, rate and reference point of ``drive``.

    Args:
        kind: a name in `models.parametric.KINDS`.
        drive: a recording.
        vehicle: whose nominal parameters it has; None for the defaults of the kind.

    Raises:
        ModelError: there is no such kind, or the vehicle's parameters do not fit.
    """
    config: dict[str, Any] = {
        "dt": drive.dt,
        "drive": drive_command(drive.segments[0].action_layout),
        "reference_point": drive.reference_point,
    }
    return build_for(vehicle, kind, **config) if vehicle else build(kind, **config)


def fit_and_save(
    drives: Sequence[Drive],
    start: ParametricModel,
    folder: str | Path,
    *,
    split: str = SPLIT,
    options: Options | None = None,
    horizons_s: Sequence[float] = SCORED_S,
    progress: Progress | None = None,
    replace: bool = False,
) -> Fitted:
    """Fit ``start`` to what ``split`` gives for training, score it on what it holds out, and save it.

    Args:
        drives: recordings at one rate and with the same actions.
        start: the model to begin with, see `start_model`.
        folder: to write the model to.
        split: ``time:0.8`` or ``lap:2``, see `evaluation.splits.folds`, or ``none`` to hold nothing out.
        options: what to fit and what is known beforehand.
        horizons_s: of the scores [s].
        progress: told how far it is.
        replace: a model that is in ``folder`` already.

    Raises:
        ConfigError: the split leaves nothing to fit to, or an option makes no sense.
        DataError, LayoutError: see `identify`.
        ModelError: ``folder`` holds something else, or a model that is not to be replaced.
    """
    passport.require_free(folder, replace=replace)
    options = options or Options()
    parts = training_parts(drives, split)
    found = identify(parts, start, options, progress)
    scores, doubts = held_out_scores(found.model, drives, split, horizons_s, options.min_speed)
    notes = (*found.statements, *doubts)
    provenance = Provenance(
        bags=tuple(training_bag(part) for part in parts),
        split=split,
        std={name: estimate.std for name, estimate in found.estimates.items()},
        identifiable={name: estimate.identifiable for name, estimate in found.estimates.items()},
        scores=scores,
        notes=notes,
    )
    passport.save(found.model, folder, provenance)
    return Fitted(passport.load(folder), found, scores, notes)


def training_bag(part: Drive) -> TrainingBag:
    """What a passport says of driving that was learned from."""
    return TrainingBag(source=part.source, sha256=part.source_hash, start_s=part.start_s, end_s=part.end_s)


def training_parts(drives: Sequence[Drive], split: str) -> list[Drive]:
    """What ``split`` leaves of ``drives`` to learn from; everything if it is ``none``.

    Raises:
        ConfigError: nothing is left.
    """
    if split == WHOLE:
        return list(drives)
    parts = [part for fold in folds(drives, split) for part in parts_without(fold.drive, fold.held_out)]
    if not parts:
        raise ConfigError(f"split '{split}' leaves nothing to fit to; expected time:0.8, lap:2 or {WHOLE}")
    return parts


def held_out_scores(
    model: SavableModel,
    drives: Sequence[Drive],
    split: str,
    horizons_s: Sequence[float] = SCORED_S,
    min_speed: float | None = None,
) -> tuple[tuple[Score, ...], tuple[str, ...]]:
    """Scores of ``model`` on what ``split`` holds out of ``drives``, and sentences on what could not be scored."""
    if split == WHOLE:
        return (), ()
    loaded = {_FITTED: passport.in_memory(model)}
    try:
        comparisons = compare(loaded, drives, split=split, horizons_s=horizons_s, min_speed=min_speed)
    except DataError as error:
        return (), (f"not scored on held-out driving: {error}",)
    scores = tuple(score for comparison in comparisons for score in _scores(comparison))
    return scores, tuple(doubt for comparison in comparisons for doubt in _doubts(comparison))


def _doubts(comparison: BagComparison) -> list[str]:
    """Where what knows no car predicts better: the fit ended in a wrong place, or there was too little driving."""
    doubts = []
    for horizon_s in sorted({score.horizon_s for score in comparison.scores}):
        fde_m = {score.model: score.fde_m for score in comparison.scores if score.horizon_s == horizon_s}
        simple = min((name for name in _SIMPLE if name in fde_m), key=fde_m.__getitem__)
        if fde_m[_FITTED] > fde_m[simple]:
            doubts.append(
                f"after {horizon_s:g} s the baseline '{simple}' is nearer to the held-out driving than the model "
                f"({fde_m[simple]:.3f} against {fde_m[_FITTED]:.3f} m): begin with the car's parameters (--vehicle, or "
                "--prior of a fit), or record more driving"
            )
    return doubts


def _scores(comparison: BagComparison) -> list[Score]:
    bag = Path(comparison.drive.source).resolve().name
    return [
        Score(bag=bag, horizon_s=score.horizon_s, ade_m=score.ade_m, fde_m=score.fde_m, starts=score.starts)
        for score in comparison.scores
        if score.model in comparison.models
    ]
