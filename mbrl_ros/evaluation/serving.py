"""The model in force: how another takes its place, how it is taken back, and how far it is trusted. No ROS."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.trust import Evidence, Sustained, TrustSettings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.judge import Judge, Standing
from mbrl_ros.evaluation.proof import ProofSettings, common_starts, compare
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.models.plausibility import require_same_car
from mbrl_ros.planning.racing import require_drivable


@dataclass(frozen=True)
class Served:
    """A model as it is handed out.

    Args:
        files: contents of passport and weights, read once: what is handed out is what is in force, also where the
            folder is replaced meanwhile.
        loaded: the validated model.
        folder: where it was read.
    """

    files: tuple[str, bytes]
    loaded: passport.LoadedModel
    folder: Path

    @property
    def id(self) -> str:
        """See `models.passport.model_id`."""
        return self.loaded.id


def read(folder: Path) -> Served:
    """The validated model in ``folder``.

    Raises:
        ModelError: it cannot be read or is not valid; the message names the folder.
    """
    files = passport.read(folder)
    try:
        return Served(files, passport.from_bytes(*files), folder)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error


class ModelInForce:
    """The model in force, the one before it, and the nominal one that takes over where neither is trusted.

    Changes are atomic: whoever reads ``present`` or ``standing`` has a whole one, and may go on with it, in any thread.

    Args:
        first: the model to begin with.
        nominal: physics from the vehicle's file.
        proof: what a newcomer has to show.
        trust: thresholds and times of distrust.
        vehicle: the car that they are models of.
    """

    def __init__(
        self, first: Served, nominal: Served, proof: ProofSettings, trust: TrustSettings, vehicle: Vehicle
    ) -> None:
        self.present = first
        self.previous: Served | None = None
        self.nominal = nominal
        self._vehicle = vehicle
        self._judge = Judge(first.id, trust, vehicle.limits.speed_mps)
        self._proof = proof
        self._failing = Sustained(proof.rollback_dwell_s)
        self._lock = threading.Lock()

    @property
    def standing(self) -> Standing:
        """How far the model in force is trusted."""
        return self._judge.standing

    def find(self, model_id: str) -> Served:
        """The model ``model_id``, if it is the one in force or the nominal one; empty: the one in force.

        Raises:
            ModelError: it is neither.
        """
        present = self.present
        for served in (present, self.nominal):
            if model_id in ("", served.id):
                return served
        raise ModelError(f"model {present.id} is in force, not {model_id}; {self.nominal.id} is the nominal one")

    def load(self, folder: Path, driven: Driven) -> str:
        """Put the model in ``folder`` in force if it is of this car, can drive it and holds its own on ``driven``.

        Returns:
            How it proved itself, or why it did not have to, in a sentence.

        Raises:
            ModelError: it does not; the message says why, with figures, and nothing has changed.
        """
        newcomer = read(folder)
        try:
            require_drivable(newcomer.loaded)
            require_same_car(newcomer.loaded, self._vehicle)
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from error
        with self._lock:
            words = self._proven(newcomer, driven)
            self._install(newcomer)
            return words

    def provable(self, newcomer: LoadedModel, driven: Driven) -> bool:
        """Whether ``driven`` is enough to compare ``newcomer`` with the model in force on."""
        return len(common_starts(newcomer, self.present.loaded, driven, self._proof)) > 0

    def roll_back(self) -> None:
        """Put the previous model back in force, as a person asked: it was there before and needs no proof.

        Raises:
            ModelError: there is none.
        """
        with self._lock:
            if self.previous is None:
                raise ModelError("there is no previous model to roll back to")
            self._install(self.previous)

    def watch(self, driven: Driven) -> str:
        """Judge the model in force by ``driven``; take it back where it fails and the previous one does better.

        Returns:
            Why it was taken back, in a sentence, or nothing.

        Raises:
            Exception: it cannot be judged. That is counted, and ends in a stop where it lasts.
        """
        with self._lock:
            found = self._judge.judge(self.present.loaded, driven)
            if not self._fails(found, driven.stamp_s) or self.previous is None:
                return ""
            self._failing.clear()
            comparison = compare(self.previous.loaded, self.present.loaded, driven, self._proof)
            if comparison is None or not comparison.holds(1.0):
                return ""
            self._install(self.previous)
            # What was taken back does not come back by itself.
            self.previous = None
            return f"live error {found.residual:.1f} times the held-out error: {comparison.words}"

    def reset_trust(self, driven: Driven) -> None:
        """Release a latched stop, on behalf of a person who looked at the car; what was driven before is forgiven.

        Raises:
            ModelError: the car drives.
        """
        with self._lock:
            self._judge.reset(driven)

    def _proven(self, newcomer: Served, driven: Driven) -> str:
        settings = self._proof
        comparison = compare(newcomer.loaded, self.present.loaded, driven, settings)
        if comparison is not None:
            if not comparison.holds(settings.tolerance):
                raise ModelError(
                    f"{newcomer.folder}: {comparison.words}; at most {settings.tolerance:g} times the error is accepted"
                )
            return comparison.words
        if driven.driven_s == 0.0:
            return "unproven: nothing has been driven yet"
        words = f"{driven.driven_s:.1f} s driven, too little to prove a model: {settings.least_s:g} s are needed"
        if not settings.allow_unproven:
            raise ModelError(f"{newcomer.folder}: {words}; drive on, or set proof.allow_unproven")
        return f"unproven: {words}"

    def _install(self, served: Served) -> None:
        self.present, self.previous = served, self.present
        self._failing.clear()
        self._judge.renew(served.id)

    def _fails(self, found: Evidence, stamp_s: float) -> bool:
        share = self._proof.rollback_share if self._failing.begun else 1.0
        return self._failing.update(found.residual > share * self._proof.rollback_residual, stamp_s)
