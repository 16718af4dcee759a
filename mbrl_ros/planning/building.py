"""Packages built in a process of their own: torch's compiler changes modules for every thread of the one it runs in."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

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
        MbrlError: it left none.
    """
    context = multiprocessing.get_context("spawn")  # a copy of a process with threads would be half of it
    told, tells = context.Pipe(duplex=False)
    process = context.Process(target=_build, args=(order, tells), name="build rollouts", daemon=True)
    process.start()
    tells.close()
    try:
        note = told.recv()
    except EOFError:
        process.join()
        note = f"Rollouts are not compiled: the process for that ended with {process.exitcode}"
    process.join()
    if note:
        raise MbrlError(note)


def _build(order: Order, tells: Connection) -> None:
    """In the other process; tells why it failed, or nothing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends as the process does that started it, not beside it
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    torch.set_num_threads(1)  # the other cores are for what drives meanwhile
    from mbrl_ros.planning.rollouts import Rollouts

    with (cache_folder(PART) / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # who comes second finds what the first has built
        rollouts = Rollouts(order.model, order.task, members=order.members, device=order.device)
        rollouts.warm_up()
    built = (rollouts.backend, rollouts.device) == ("compiled", order.device)
    tells.send("" if built else rollouts.note)


def _end_with_the_other() -> None:
    other = multiprocessing.parent_process()
    assert other is not None  # noqa: S101  # there is one
    other.join()
    os._exit(1)
