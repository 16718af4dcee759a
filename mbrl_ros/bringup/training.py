"""A training from recipe and recordings to a scored model, for whoever starts it: a person, a node, torchrun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.files import write_whole
from mbrl_ros.core.layout import drive_command
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import SPLIT, held_out_scores, training_bag, training_parts
from mbrl_ros.learning.curves import Curves
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.trainer import Epoch
from mbrl_ros.learning.training import Progress
from mbrl_ros.learning.training import train as learn
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel

KEPT_FILE = "kept"
"""In the folder of a training that was stopped: id of the model that it left at its best so far."""


@dataclass(frozen=True)
class Training:
    """What to train, on what, and where to.

    Args:
        recipe: a name in config/training, or the path of a file.
        bags: recordings, all of one car.
        out: folder to write the model to.
        split: what to learn from, see `evaluation.splits.folds`, or ``none`` to hold nothing out.
        vehicle: a name in config/vehicles, or the path of a file: physics begins with its parameters; empty: with
            the recipe's, or the kind's defaults.
        seed: instead of the recipe's.
        force: replace a model that is there.
        reading: options of `data.read_drive`.
    """

    recipe: str
    bags: Sequence[Path]
    out: Path
    split: str = SPLIT
    vehicle: str = ""
    seed: int | None = None
    force: bool = False
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        """Folder beside ``out`` with what an interrupted training goes on with, and its curves."""
        return self.out.resolve().with_name(f"{self.out.resolve().name}-training")


@dataclass(frozen=True)
class Outcome:
    """A model that was trained and saved.

    Args:
        model: as it was saved.
        finished: False for the best that was found until the training was stopped.
    """

    model: LoadedModel
    finished: bool


def run_training(training: Training, progress: Progress | None = None, group: Group = ALONE) -> Outcome | None:
    """Train on what the split leaves, score the rest, and save the model; None in a process that does not lead.

    Stopped by ``progress``, it saves the best so far, which the same training, run again, goes on from and replaces.

    Raises:
        MbrlError: recipe, recordings, split or folder cannot be used, or the training failed; the message says what
            to do.
    """
    recipe = read_settings(config_file("training", training.recipe, ".yaml"), Recipe)
    if training.seed is not None:
        seeded = recipe.training.model_copy(update={"seed": training.seed})
        recipe = recipe.model_copy(update={"training": seeded})
    car = read_settings(config_file("vehicles", training.vehicle, ".yaml"), Vehicle) if training.vehicle else None
    passport.require_free(training.out, replace=training.force or _left_by(training))
    drives = _read(training, group)
    if car is not None:
        if recipe.physics is None:
            raise ConfigError(f"recipe {training.recipe} has no physics that could begin with a vehicle: leave it out")
        driven = drives[0]
        drive = drive_command(driven.segments[0].action_layout)
        recipe = recipe.beginning_with(car, drive=drive, reference_point=driven.reference_point)
    parts = training_parts(drives, training.split)
    trained = learn(parts, recipe, training.work, _with_curves(progress or Progress(), training.work), group)
    if not group.leads:
        return None
    scores, doubts = held_out_scores(trained.model, drives, training.split)
    provenance = replace(
        trained.provenance,
        bags=tuple(training_bag(part) for part in parts),
        split=training.split,
        scores=scores,
        notes=(*trained.provenance.notes, *doubts),
    )
    model_id = passport.save(trained.model, training.out, provenance)
    kept = training.work / KEPT_FILE
    if trained.finished:
        kept.unlink(missing_ok=True)
    else:
        write_whole(kept, model_id)
    return Outcome(passport.load(training.out), trained.finished)


def _read(training: Training, group: Group) -> list[Drive]:
    """The recordings; the leader decodes them, and the others find them in the cache."""
    if not group.leads:
        group.wait()
    drives = [read_drive(path, **training.reading) for path in training.bags]
    if group.leads:
        group.wait()
    return drives


def _with_curves(progress: Progress, work: Path) -> Progress:
    """The same, which also draws curves for TensorBoard in ``work``."""
    curves: list[Curves] = []

    def epoch(done: Epoch) -> None:
        if not curves:
            curves.append(Curves(work / "curves"))
        curves[0].add(done)
        progress.trained(done)

    return replace(progress, trained=epoch)


def _left_by(training: Training) -> bool:
    """Whether ``out`` holds what this training left there when it was stopped."""
    kept = training.work / KEPT_FILE
    return kept.is_file() and training.out.is_dir() and passport.load(training.out).id == kept.read_text()
