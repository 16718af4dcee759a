"""The model in force adapted to the last driving while the car goes on driving. No ROS."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, PositiveFloat

from mbrl_ros.bringup.adaptation_process import AdaptationProcess, Adapted
from mbrl_ros.bringup.adapting import Adaptation
from mbrl_ros.bringup.child import Advanced, Failed
from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ConfigError, MbrlError, ModelError
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.driven_recording import record
from mbrl_ros.evaluation.serving import ModelInForce, Served
from mbrl_ros.learning.adaptation import AdaptationSettings
from mbrl_ros.models import passport

_LOOK_EVERY_S = 0.2  # while there is too little new driving to prove a model on


class OnlineSettings(Settings):
    """Adaptation of the model in force while the car drives."""

    folder: str = Field(default="", description="where adapted models and the driving behind them go; empty: off")
    replay: str = Field(
        default="",
        description="recordings that are not to be forgotten, separated by colons; empty: those the model learned from",
    )
    driving_s: PositiveFloat = Field(default=30.0, le=600.0, description="last driving that is learned from")
    proof_timeout_s: PositiveFloat = Field(
        default=300.0, le=86400.0, description="longest wait for new driving to prove an adapted model on"
    )
    niceness: int = Field(default=10, ge=0, le=19, description="by how much it lets other processes go first")
    learning: AdaptationSettings = Field(default_factory=AdaptationSettings, description="how far it may go")


@dataclass(frozen=True)
class Standing:
    """How an adaptation stands.

    Args:
        running: whether one is under way.
        words: what it does, or what became of the last one, in a sentence.
        failed: whether the last one left the model in force as it was for an error or for want of proof.
    """

    running: bool
    words: str
    failed: bool = False


class OnlineAdaptation:
    """One adaptation at a time, in a process that lets others go first; what comes of it has to prove itself.

    The last driving is recorded beside the model that it is to improve, so that `mbrl adapt` can do the same again. The
    adapted model is compared with the one in force on driving that came after that recording.

    Args:
        settings: see there.
        models: what is served.
        driving: called for a copy of the last driving.
        announce: called, in a thread of its own, when the adapted model has come into force.
        concluded: called likewise with how it ended.
        time_s: a clock that nothing sets [s].
    """

    def __init__(
        self,
        settings: OnlineSettings,
        models: ModelInForce,
        driving: Callable[[], Driven],
        announce: Callable[[], None],
        concluded: Callable[[Standing], None],
        time_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._models, self._driving = settings, models, driving
        self._announce, self._concluded, self._time_s = announce, concluded, time_s
        self.standing = Standing(False, "idle" if settings.folder else "off")
        self._process: AdaptationProcess | None = None
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._closing = False

    def begin(self) -> str:
        """Begin to adapt the model in force to the last driving; what was begun, in a sentence.

        Raises:
            ConfigError: adaptation is off.
            ModelError: one is under way.
        """
        if not self._settings.folder:
            raise ConfigError("adaptation is off; set adapt.folder")
        if self.standing.running:
            raise ModelError(f"an adaptation is under way: {self.standing.words}")
        driven, present = self._driving(), self._models.present
        driven = driven.since(driven.stamp_s - self._settings.driving_s)
        words = f"{present.id} is adapted to the last {driven.driven_s:.0f} s driven"
        self.standing = Standing(True, words)
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, args=(present, driven), name="adaptation", daemon=True)
        self._thread.start()
        return words

    def cancel(self) -> str:
        """End what is under way, and leave the model in force as it is; what is ended, in a sentence.

        Raises:
            ModelError: nothing is under way.
        """
        standing = self.standing
        if not standing.running:
            raise ModelError(f"no adaptation is under way; the last word was: {standing.words}")
        self._end()
        return f"cancelled: {standing.words}"

    def close(self) -> None:
        """End what is under way, without a word."""
        self._closing = True
        self._end()
        if self._thread is not None:
            self._thread.join()

    def _end(self) -> None:
        self._ending.set()
        if (process := self._process) is not None:
            process.kill()

    def _run(self, present: Served, driven: Driven) -> None:
        try:
            words, failed = self._adapt(present, driven), False
        except MbrlError as error:
            # Whatever a process says that was killed.
            cancelled = self._ending.is_set()
            words = "the adaptation was cancelled; nothing was changed" if cancelled else str(error)
            failed = not cancelled
        except Exception:
            words, failed = traceback.format_exc(), True
        self._process = None
        self.standing = Standing(False, words, failed)
        if not self._closing:
            self._concluded(self.standing)

    def _adapt(self, present: Served, driven: Driven) -> str:
        """How it ended, in a sentence."""
        folder = _free(Path(self._settings.folder), present.id)
        record(driven, folder / "driving")
        passport.write(folder / "model", *present.files)
        replay = [Path(path) for path in self._settings.replay.split(os.pathsep) if path]
        adaptation = Adaptation(
            folder / "model", [folder / "driving"], replay, folder / "adapted", self._settings.learning
        )
        self._process = AdaptationProcess(adaptation, self._settings.niceness)
        if self._ending.is_set():  # it was too late for `cancel` or `close` to see the process
            self._process.kill()
        end = None
        for end in self._process.events():
            if isinstance(end, Advanced):
                self.standing = Standing(True, f"{present.id} is adapted, {end.what}: {end.share:.0%}")
        if isinstance(end, Failed):
            raise ModelError(end.message)
        assert isinstance(end, Adapted)  # noqa: S101  # nothing else ends it
        if not end.better:
            return end.words
        self.standing = Standing(True, f"{end.words}; waits for new driving to prove itself on")
        return f"{end.words}; {self._install(folder / 'adapted', present, driven.stamp_s)}"

    def _install(self, folder: Path, adapted_from: Served, learned_until_s: float) -> str:
        """Put the model in ``folder`` in force as soon as there is driving that it did not learn from.

        Raises:
            ModelError: it does not prove itself, or there is no such driving for too long, or another model came into
                force, time was set back, or it was cancelled meanwhile.
        """
        until_s = self._time_s() + self._settings.proof_timeout_s
        newcomer = passport.load(folder)
        while not self._ending.wait(_LOOK_EVERY_S):
            if self._models.present is not adapted_from:
                raise ModelError(f"{folder}: {self._models.present.id} came into force meanwhile; nothing was changed")
            driven = self._driving()
            if driven.stamp_s < learned_until_s:
                raise ModelError(f"{folder}: time was set back before it could be proven; nothing was changed")
            fresh = driven.since(learned_until_s)
            if self._models.provable(newcomer, fresh):
                words = self._models.load(folder, fresh)
                self._announce()
                return words
            if self._time_s() > until_s:
                raise ModelError(
                    f"{folder}: {fresh.driven_s:.1f} s were driven within {self._settings.proof_timeout_s:g} s, too "
                    "little to prove it on; drive on and load it with ~/load_model; nothing was changed"
                )
        raise ModelError(f"{folder}: ended before it could be proven")


def _free(parent: Path, name: str) -> Path:
    """A folder in ``parent`` that is not there, called by ``name`` and a number."""
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
