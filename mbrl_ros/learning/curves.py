"""Training curves for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from mbrl_ros.learning.trainer import Epoch


class Curves:
    """Losses and held-out errors by epoch, as TensorBoard shows them (`tensorboard --logdir FOLDER`).

    A training that goes on after an interruption continues its curves.

    Args:
        folder: for the event files.
    """

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds

        self._writer = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]

    def add(self, epoch: Epoch) -> None:
        """Write one epoch down, on disk when this returns."""
        values = {"loss": epoch.loss, "duration_s": epoch.duration_s}
        values |= {f"held_out_m/member_{k}": error for k, error in enumerate(epoch.held_out)}
        values |= {f"best_m/member_{k}": error for k, error in enumerate(epoch.best)}
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch.number)  # type: ignore[no-untyped-call]
        self._writer.flush()  # type: ignore[no-untyped-call]
