"""A training in a process of its own: out of the way of whoever waits for it, and no danger to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mbrl_ros.bringup.processes import end_with_parent
from mbrl_ros.bringup.stopping import StopOnSignal
from mbrl_ros.bringup.training import Outcome, Training, run_training
from mbrl_ros.core.errors import MbrlError, StoppedError
from mbrl_ros.learning.trainer import Epoch
from mbrl_ros.learning.training import Progress

_KILLED = -signal.SIGKILL
_TOO_EARLY = "stopped before the training had begun: nothing was written"


@dataclass(frozen=True)
class Identified:
    """Part of the identification that is done.

    Args:
        what: is being done.
        share: of the whole that is done.
    """

    what: str
    share: float


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


@dataclass(frozen=True)
class Failed:
    """The end of a training that left none.

    Args:
        message: why, and what to do.
        stopped: because it was asked to stop.
    """

    message: str
    stopped: bool = False


Event = Identified | Epoch | Finished | Failed
_KINDS: dict[str, Callable[..., Event]] = {kind.__name__: kind for kind in (Identified, Epoch, Finished, Failed)}


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
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, json.dumps(plain), str(niceness), str(threads)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    def events(self) -> Iterator[Event]:
        """What happens, as it happens; the last is `Finished` or `Failed`, and then the process is gone."""
        assert self._process.stdout is not None  # noqa: S101
        last: Event | None = None
        for line in self._process.stdout:
            last = _event(line)
            yield last
        status = self._process.wait()
        if isinstance(last, Finished | Failed):
            return
        if self._ended:
            yield Failed("ended at once; the same training, started again, goes on where it was", stopped=True)
        elif self._stopped and status != _KILLED:
            yield Failed(_TOO_EARLY, stopped=True)
        else:
            killed = ", which is what a system does that runs out of memory: lower batch, hidden or members"
            yield Failed(f"the training's process ended with status {status}{killed if status == _KILLED else ''}")

    def stop(self) -> None:
        """Ask it to end with the best that it has."""
        self._stopped = True
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once; the same training, started again, goes on where it was."""
        self._ended = True
        self._process.kill()


def _event(line: str) -> Event:
    kind, values = json.loads(line)
    return _KINDS[kind](**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _tell(event: Event) -> None:
    sys.stdout.write(json.dumps([type(event).__name__, asdict(event)]) + "\n")
    sys.stdout.flush()


def _finished(outcome: Outcome) -> Finished:
    stated = outcome.model.passport
    return Finished(
        outcome.model.id, outcome.finished, tuple(score.model_dump() for score in stated.scores), stated.notes
    )


def _run(plain: dict[str, Any]) -> None:
    training = Training(**{**plain, "bags": [Path(bag) for bag in plain["bags"]], "out": Path(plain["out"])})
    progress = Progress(lambda what, share: _tell(Identified(what, share)), _tell)
    with StopOnSignal() as stop:
        try:
            outcome = run_training(training, replace(progress, stop=stop))
        except KeyboardInterrupt:
            _tell(Failed(_TOO_EARLY, stopped=True))
        except StoppedError as error:
            _tell(Failed(str(error), stopped=True))
        except MbrlError as error:
            _tell(Failed(str(error)))
        except OSError as error:
            _tell(Failed(f"{error.filename}: {error.strerror}; check the path"))
        else:
            assert outcome is not None  # noqa: S101
            _tell(_finished(outcome))


if __name__ == "__main__":
    os.nice(int(sys.argv[2]))
    torch.set_num_threads(int(sys.argv[3]))
    _run(json.loads(sys.argv[1]))
