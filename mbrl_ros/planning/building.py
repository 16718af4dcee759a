"""Packages built in a process of their own: torch's compiler changes modules for every thread of the one it runs in."""

from __future__ import annotations

import fcntl
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.core.errors import MbrlError
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.planning.packages import PART


@dataclass(frozen=True)
class Order:
    """What rollouts are to be compiled for; see `planning.rollouts.Rollouts`."""

    model: DynamicsModel
    task: Task
    members: int
    device: str


def build_elsewhere(order: Order) -> None:
    """Leave the package in the cache; blocks. The other process ends with this one, and builds nothing twice.

    Raises:
        MbrlError: it left none, with what it said last.
    """
    with tempfile.TemporaryDirectory() as folder:
        written, said = Path(folder, "order"), Path(folder, "said")
        written.write_bytes(pickle.dumps(sys.path) + pickle.dumps(order))
        command = [sys.executable, "-m", "mbrl_ros.planning.building", str(written)]
        with (
            said.open("wb") as output,
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output) as process,
        ):
            failed = process.wait()
        last = said.read_text(errors="replace").strip().splitlines()[-1:]
    if failed:
        raise MbrlError(f"the process that builds them ended with {failed}: {''.join(last) or 'it said nothing'}")


def main() -> None:
    """Build what the file orders that the command line names."""
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    with Path(sys.argv[1]).open("rb") as file:
        sys.path[:] = pickle.load(file)  # noqa: S301  # of the process that started this one
        order: Order = pickle.load(file)  # noqa: S301
    from mbrl_ros.planning.rollouts import Rollouts

    with (cache_folder(PART) / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second finds what the first has built
        rollouts = Rollouts(order.model, order.task, members=order.members, device=order.device)
        rollouts.warm_up()
    if (rollouts.backend, rollouts.device) != ("compiled", order.device):
        sys.exit(rollouts.note)


def _end_with_the_other() -> None:
    sys.stdin.read()  # nothing comes but the end
    os._exit(1)


if __name__ == "__main__":
    main()
