"""Transport delay of actuators: which command acts when."""

from __future__ import annotations

import bisect

import numpy as np
import torch

from mbrl_ros.core.errors import LayoutError


def delayed(commands: torch.Tensor, delay_steps: torch.Tensor, past: int, dim: int = -2) -> torch.Tensor:
    """The actions that act, given the commands that were and will be sent.

    Commands are held between samples, so over one step a delay of ``n + f`` steps mixes two commands:
    ``applied_k = (1 - f) u_(k-n) + f u_(k-n-1)``, which is exact for the mean over the step and
    differentiable in ``f``.

    Args:
        commands: [..., P + H, A]; the first P were sent before the present, oldest first.
        delay_steps: [A], delay of each action in steps of the sequence, >= 0.
        past: P.
        dim: of time (negative), where it is not the last but one; the actions' dimension follows it.

    Returns:
        [..., H, A] applied actions from the present on.

    Raises:
        LayoutError: the past is shorter than a delay.
    """
    needed = int(torch.ceil(delay_steps.detach()).max())
    if needed > past:
        raise LayoutError(f"a delay of {float(delay_steps.max()):.2f} steps needs {needed} past commands, got {past}")
    horizon = commands.shape[dim] - past
    applied = []
    for action, steps in enumerate(delay_steps.unbind(0)):
        whole = int(torch.floor(steps.detach()))
        sequence = commands.select(dim + 1, action)  # time is now its dimension dim + 1
        newest = sequence.narrow(dim + 1, past - whole, horizon)
        if past > whole:
            older = sequence.narrow(dim + 1, past - whole - 1, horizon)
        else:  # nothing is older, and of a whole delay nothing older acts
            older = torch.cat([sequence.narrow(dim + 1, 0, 1), sequence.narrow(dim + 1, 0, horizon - 1)], dim + 1)
        applied.append(newest + (steps - whole) * (older - newest))
    return torch.stack(applied, dim=dim + 1)


class CommandHistory:
    """Commands as they were sent, each held until the next: what an actuator with a delay is about to do.

    Args:
        initial: [A] command that held before the first one recorded.
        keep_s: how far back commands are kept [s].
    """

    def __init__(self, initial: np.ndarray, keep_s: float = 2.0) -> None:
        self._keep_s = keep_s
        self._stamps: list[float] = []
        self._commands: list[np.ndarray] = []
        self._initial = np.asarray(initial, dtype=float)

    def append(self, stamp_s: float, command: np.ndarray) -> None:
        """Record that ``command`` [A] holds from ``stamp_s`` on; a stamp in the past overrides what follows it."""
        cut = bisect.bisect_left(self._stamps, stamp_s)
        del self._stamps[cut:], self._commands[cut:]
        self._stamps.append(stamp_s)
        self._commands.append(np.array(command, dtype=float))
        self.forget(stamp_s - self._keep_s)

    def forget(self, before_s: float) -> None:
        """Drop what no longer held at ``before_s``."""
        expired = bisect.bisect_right(self._stamps, before_s) - 1
        if expired > 0:
            self._initial = self._commands[expired - 1]
            del self._stamps[:expired], self._commands[:expired]

    def at(self, stamp_s: float) -> np.ndarray:
        """[A] command that held at ``stamp_s``."""
        found = bisect.bisect_right(self._stamps, stamp_s) - 1
        return self._initial if found < 0 else self._commands[found]

    def changes(self, start_s: float, end_s: float) -> list[float]:
        """Stamps after ``start_s`` and up to ``end_s`` from which other commands held."""
        return self._stamps[bisect.bisect_right(self._stamps, start_s) : bisect.bisect_right(self._stamps, end_s)]

    def in_flight(self, stamp_s: float, dt: float, delay_steps: torch.Tensor) -> np.ndarray:
        """[P, A] commands of the steps before ``stamp_s`` that may still act, oldest first: as many as `delayed` needs.

        Args:
            stamp_s: the present [s].
            dt: length of a step [s].
            delay_steps: [A] delay of each action in steps, in the precision that `delayed` gets it in.
        """
        count = int(torch.ceil(delay_steps.detach()).max())
        return self.mean(stamp_s - count * dt, dt, count)

    def mean(self, start_s: float, dt: float, count: int) -> np.ndarray:
        """[count, A] time-average of the held commands over ``count`` intervals of ``dt`` [s] from ``start_s``."""
        end_s = start_s + dt * count
        first, last = bisect.bisect_right(self._stamps, start_s), bisect.bisect_left(self._stamps, end_s)
        held = np.array([self.at(start_s), *self._commands[first:last]])
        if len(held) == 1:
            return np.repeat(held, count, axis=0)
        knots = np.array([start_s, *self._stamps[first:last], end_s]) - start_s
        integral = np.zeros((len(knots), held.shape[1]))
        np.cumsum(np.diff(knots)[:, None] * held, axis=0, out=integral[1:])
        edges = dt * np.arange(count + 1)
        return np.diff(np.stack([np.interp(edges, knots, column) for column in integral.T], axis=1), axis=0) / dt

    def copy(self) -> CommandHistory:
        """A history of its own that holds the same commands."""
        twin = CommandHistory(self._initial, self._keep_s)
        twin._stamps, twin._commands = self._stamps.copy(), self._commands.copy()
        return twin
