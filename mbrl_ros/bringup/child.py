"""Long work in a process of its own: out of the way of whoever waits for it, and no danger to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mbrl_ros.bringup.processes import end_with_parent

KILLED = -signal.SIGKILL
"""Status of a process that was ended by force."""


@dataclass(frozen=True)
class Advanced:
    """Part of the work that is done.

    Args:
        what: is being done.
        share: of the whole that is done.
    """

    what: str
    share: float


@dataclass(frozen=True)
class Failed:
    """The end of work that left nothing.

    Args:
        message: why, and what to do.
        stopped: because it was asked to stop.
    """

    message: str
    stopped: bool = False


class Child:
    """A module that runs as a child process, which goes when its parent goes, and tells what happens as events.

    Args:
        module: ends with `serve`.
        given: plain values, for the module.
        kinds: dataclasses of the events that it tells.
        niceness: by how much others go first, from 0 to 19.
        threads: of the processor.
    """

    def __init__(
        self, module: str, given: Mapping[str, Any], kinds: Sequence[type], niceness: int = 10, threads: int = 1
    ) -> None:
        self._kinds: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in kinds}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, json.dumps(given), str(niceness), str(threads)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )

    def events(self) -> Iterator[Any]:
        """What happens, as it happens; afterwards the process is gone."""
        assert self._process.stdout is not None  # noqa: S101
        for line in self._process.stdout:
            kind, values = json.loads(line)
            plain = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
            yield self._kinds[kind](**plain)
        self._process.wait()

    @property
    def status(self) -> int:
        """Exit status, negative for a signal, once the process is gone."""
        return self._process.wait()

    def interrupt(self) -> None:
        """Ask it to end, as Ctrl-C does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()


def ended_by_itself(what: str, status: int, cure: str) -> str:
    """Why ``what`` came to nothing when its process went without a word; ``cure`` is for too little memory."""
    killed = f", which is what a system does that runs out of memory: {cure}" if status == KILLED else ""
    return f"the {what}'s process ended with status {status}{killed}"


def tell(event: Any) -> None:
    """In the child: an event, for the parent."""
    sys.stdout.write(json.dumps([type(event).__name__, asdict(event)]) + "\n")
    sys.stdout.flush()


def serve(run: Callable[[dict[str, Any]], None]) -> None:
    """In the child: ``run`` with what was given, as politely as the parent wished."""
    os.nice(int(sys.argv[2]))
    torch.set_num_threads(int(sys.argv[3]))
    run(json.loads(sys.argv[1]))
