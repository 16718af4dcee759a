"""A training in a process of its own: out of the way of whoever waits for it, and no danger to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from mbrl_ros.bringup.child import KILLED, Advanced, Child, Failed, ended_by_itself, serve, tell
from mbrl_ros.bringup.stopping import StopOnSignal
from mbrl_ros.bringup.training import Outcome, Training, run_training
from mbrl_ros.core.errors import MbrlError, StoppedError
from mbrl_ros.learning.trainer import Epoch
from mbrl_ros.learning.training import Progress

_TOO_EARLY = "stopped before the training had begun: nothing was written"


@dataclass(frozen=True)
class Finished:
    """The end of a training that left a model.

    Args:
        model_id: of the model.
        complete: False for the best until it was stopped.
        scores: on held-out driving, as the passport has them.
        notes: of the passport.
    """

    model_id: str
    complete: bool
    scores: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


Event = Advanced | Epoch | Finished | Failed


class TrainingProcess:
    """A `Training` that runs in a child process, which goes when its parent goes.

    Args:
        training: what to train; its reading options have to be plain values.
        niceness: by how much others go first, from 0 to 19.
        threads: of the processor.
    """

    def __init__(self, training: Training, niceness: int = 10, threads: int = 1) -> None:
        self._stopped = self._ended = False
        plain = {**asdict(training), "bags": [str(bag) for bag in training.bags], "out": str(training.out)}
        self._child = Child(__name__, plain, get_args(Event), niceness, threads)

    def events(self) -> Iterator[Event]:
        """What happens, as it happens; the last is `Finished` or `Failed`, and then the process is gone."""
        last: Event | None = None
        for last in self._child.events():
            yield last
        if isinstance(last, Finished | Failed):
            return
        if self._ended:
            yield Failed("ended at once; the same training, started again, goes on where it was", stopped=True)
        elif self._stopped and self._child.status != KILLED:
            yield Failed(_TOO_EARLY, stopped=True)
        else:
            yield Failed(ended_by_itself("training", self._child.status, "lower batch, hidden or members"))

    def stop(self) -> None:
        """Ask it to end with the best that it has."""
        self._stopped = True
        self._child.interrupt()

    def kill(self) -> None:
        """End it at once; the same training, started again, goes on where it was."""
        self._ended = True
        self._child.kill()


def _finished(outcome: Outcome) -> Finished:
    stated = outcome.model.passport
    return Finished(
        outcome.model.id, outcome.finished, tuple(score.model_dump() for score in stated.scores), stated.notes
    )


def _run(plain: dict[str, Any]) -> None:
    training = Training(**{**plain, "bags": [Path(bag) for bag in plain["bags"]], "out": Path(plain["out"])})
    progress = Progress(lambda what, share: tell(Advanced(what, share)), tell)
    with StopOnSignal() as stop:
        try:
            outcome = run_training(training, replace(progress, stop=stop))
        except KeyboardInterrupt:
            tell(Failed(_TOO_EARLY, stopped=True))
        except StoppedError as error:
            tell(Failed(str(error), stopped=True))
        except MbrlError as error:
            tell(Failed(str(error)))
        except OSError as error:
            tell(Failed(f"{error.filename}: {error.strerror}; check the path"))
        else:
            assert outcome is not None  # noqa: S101
            tell(_finished(outcome))


if __name__ == "__main__":
    serve(_run)
