"""Starting a graph's nodes as processes, watching them, and leaving none behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import yaml

from mbrl_ros.bringup.graph import PACKAGE, Graph, NodeSpec


@dataclass(frozen=True)
class Ended:
    """A process that ended by itself."""

    node: str
    status: int
    log: Path


class Processes:
    """The processes of a graph; a context manager that stops them all on the way out.

    Each process is a session of its own, so that a Ctrl-C in the terminal reaches only the caller, which then
    stops the nodes in order; and a child of a node cannot outlive it.

    Args:
        graph: what to run.
        log_folder: where each node's output goes, one file per node.
        environment: additions to the environment of the nodes.
    """

    def __init__(self, graph: Graph, log_folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self._graph = graph
        self._log_folder = log_folder
        self._environment = {**os.environ, **(environment or {})}
        self._scratch = tempfile.TemporaryDirectory(prefix=f"{PACKAGE}_")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        try:
            for spec in self._graph.nodes:
                self._processes[spec.node] = self._start(spec)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def pid(self, node: str) -> int:
        """Process id of a node."""
        return self._processes[node].pid

    def log(self, node: str) -> Path:
        """File with the output of a node."""
        return self._log_folder / f"{node}.log"

    def ended(self) -> Ended | None:
        """The first process that ended by itself and that the others need, or None while all of these run."""
        return next(self._all_ended(dispensable=False), None)

    def lost(self) -> list[Ended]:
        """Processes that ended by themselves, without the others."""
        return list(self._all_ended(dispensable=True))

    def _all_ended(self, dispensable: bool) -> Iterator[Ended]:
        for spec in self._graph.nodes:
            status = self._processes[spec.node].poll()
            if spec.dispensable == dispensable and status is not None:
                yield Ended(spec.node, status, self.log(spec.node))

    def stop(self, patience_s: float = 5.0) -> dict[str, int]:
        """Interrupt the nodes, planner and gate while the car still listens; kill what does not end in time.

        Returns:
            Exit status by node; negative for a signal that ended it.
        """
        with _undisturbed():
            for name in reversed(self._processes):
                process = self._processes[name]
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                deadline = time.monotonic() + patience_s
                while process.poll() is None and time.monotonic() < deadline:
                    try:
                        process.wait(timeout=0.1)
                    except subprocess.TimeoutExpired:
                        continue
                _kill_session(process)
            self._scratch.cleanup()
        return {name: process.wait() for name, process in self._processes.items()}

    def _start(self, spec: NodeSpec) -> subprocess.Popen[bytes]:
        parameters = Path(self._scratch.name) / f"{spec.node}.yaml"
        parameters.write_text(yaml.safe_dump({spec.node: {"ros__parameters": dict(spec.parameters)}}))
        renamed = {"__node": spec.name} if spec.name else {}
        remappings = [word for pair in {**spec.remappings, **renamed}.items() for word in ("-r", ":=".join(pair))]
        command = [
            sys.executable,
            "-m",
            f"{PACKAGE}.nodes.{spec.executable}",
            "--ros-args",
            "--params-file",
            str(parameters),
            *remappings,
        ]
        with self.log(spec.node).open("wb") as output:
            return subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """In a child: have the kernel send SIGTERM when the process that started it is gone, even by SIGKILL."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No second Ctrl-C spares what must be stopped; only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
