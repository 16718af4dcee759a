"""An adaptation from recordings to a saved model, for whoever starts it: a person, or the model server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.recording import Drive
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import training_bag
from mbrl_ros.learning.adaptation import AdaptationSettings, Adapted, Progress, adapt
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel


@dataclass(frozen=True)
class Adaptation:
    """What to adapt, to what, and where to.

    Args:
        model: folder of the model.
        new: recordings of what was driven since.
        replay: recordings of what is not to be forgotten; none for the driving that the model learned from, which its
            passport names.
        out: folder to write the adapted model to.
        settings: see there.
        reading: options of `data.read_drive`.
    """

    model: Path
    new: Sequence[Path]
    replay: Sequence[Path]
    out: Path
    settings: AdaptationSettings = field(default_factory=AdaptationSettings)
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """An adapted model.

    Args:
        model: as it was saved.
        adapted_from: id of the model that it was.
        adapted: what became of it.
    """

    model: LoadedModel
    adapted_from: str
    adapted: Adapted

    @property
    def better(self) -> bool:
        """Whether any step was worth taking; if not, the model was saved as it was."""
        return self.adapted.after != self.adapted.before

    @property
    def words(self) -> str:
        """What changed, with figures, in a sentence."""
        before, after = self.adapted.before, self.adapted.after
        if not self.better:
            return (
                f"{self.adapted_from} stays as it is: no step made it better than {before.new_m:.3f} m on held-out new "
                f"driving and kept it near {before.old_m:.3f} m on what it is not to forget"
            )
        changed = [f"{name} {old:.4g} to {new:.4g}" for name, (old, new) in self.adapted.changed.items()]
        if self.adapted.regime:
            told = _listed(self.adapted.regime)
            changed.append(f"another regime with {told}, told apart by the driving before a prediction")
        changed += [f"the regime with {_listed(other)} is given up for it" for other in self.adapted.given_up]
        return (
            f"{self.model.id} is {self.adapted_from} adapted: position error {before.new_m:.3f} to {after.new_m:.3f} m "
            f"on held-out new driving, {before.old_m:.3f} to {after.old_m:.3f} m on what it is not to forget; "
            f"{', '.join(changed) or 'physics as it was'}"
        )


def run_adaptation(adaptation: Adaptation, progress: Progress | None = None) -> Outcome:
    """Adapt, and save what came of it.

    Raises:
        MbrlError: model, recordings or folder cannot be used; the message says what to do.
    """
    loaded = passport.load(adaptation.model)
    passport.require_free(adaptation.out, replace=False)
    reading = {"rate_hz": 1 / loaded.model.dt, "mean_commands": True, **adaptation.reading}
    new = [read_drive(path, **reading) for path in adaptation.new]
    old = [read_drive(path, **reading) for path in adaptation.replay] or _learned_from(loaded, reading)
    adapted = adapt(loaded, new, old, adaptation.settings, progress)
    bags = (*adapted.provenance.bags, *(training_bag(part) for part in new))
    passport.save(adapted.model, adaptation.out, replace(adapted.provenance, bags=bags))
    return Outcome(passport.load(adaptation.out), loaded.id, adapted)


def _listed(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())


def _learned_from(loaded: LoadedModel, reading: Mapping[str, Any]) -> list[Drive]:
    """The driving that the passport names.

    Raises:
        DataError: it names none, or a recording is no longer what it was.
    """
    if not loaded.passport.bags:
        raise DataError(f"model {loaded.id} does not say what it learned from; name recordings to replay")
    drives = []
    for bag in loaded.passport.bags:
        drive = read_drive(bag.source, **reading)
        if drive.source_hash != bag.sha256:
            raise DataError(
                f"{bag.source}: is another recording than the one that {loaded.id} learned from; name recordings to "
                "replay"
            )
        drives.append(drive.between(bag.start_s, bag.end_s))
    return drives
