"""Processes that train one model together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed

_PATIENCE = timedelta(days=1)  # of those that wait while one of them identifies the physics


@dataclass(frozen=True)
class Group:
    """What one process knows of the others.

    Each takes its share of every batch and the gradients are summed, so that the outcome is that of one process with
    the whole batch, up to the order of sums. All of them must see the same files.

    Args:
        rank: number of this process, from 0.
        size: of the group.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes, scores and speaks."""
        return self.rank == 0

    def share(self, rows: torch.Tensor) -> torch.Tensor:
        """Of ``rows`` [n] those that are this process's."""
        return rows[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` summed over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.size > 1:
            torch.distributed.barrier()


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """The group that `torchrun` started this process in; a process by itself is alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield ALONE
        return
    torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield Group(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()
