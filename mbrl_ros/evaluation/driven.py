"""The last seconds that were really driven, and where in them predictions may begin."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.layout import STATE, VX, VY, YAW
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.starting import Remembering, start

SENT = ("steering_command", "acceleration_command", "speed_command")
"""What a recorded command holds: whatever a car follows is among it."""

STANDING_MPS = 0.1
"""A car that is slower stands [m/s]."""

_REST_S = 1.0  # standing that is still kept: models must predict stopping, too
_GAP_S = 0.3  # states further apart than this have a seam between them
_MARGIN_S = 5.0  # commands kept from before the first state: a model's delay and memory reach back


@dataclass(frozen=True)
class Window:
    """Predictions that can be compared with what happened, N of H steps.

    Args:
        starts_s: [N] stamps of the starts.
        begin: [N, S] the model's states there.
        applied: [N, H, A] what acted from there on.
    """

    starts_s: np.ndarray
    begin: torch.Tensor
    applied: torch.Tensor


class Driven:
    """States and commands of the last seconds of driving; what the car stood through is left out.

    Args:
        keep_s: how much driving is kept [s].
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._rows: deque[tuple[float, float, np.ndarray]] = deque()
        self._commands: CommandHistory | None = None
        self._first_command_s = math.inf
        self._moved_s = -math.inf
        self._latest_s = -math.inf

    def copy(self) -> Driven:
        """The same driving, to be worked on while more comes in."""
        twin = Driven(self._keep_s)
        twin._rows = self._rows.copy()
        twin._commands = self._commands and self._commands.copy()
        twin._first_command_s = self._first_command_s
        twin._moved_s, twin._latest_s = self._moved_s, self._latest_s
        return twin

    def since(self, stamp_s: float) -> Driven:
        """The same driving without the states before ``stamp_s``, to be worked on."""
        twin = self.copy()
        while twin._rows and twin._rows[0][0] < stamp_s:
            twin._rows.popleft()
        return twin

    @property
    def stamp_s(self) -> float:
        """Stamp of the newest state kept [s], minus infinity where there is none."""
        return self._rows[-1][0] if self._rows else -math.inf

    @property
    def driven_s(self) -> float:
        """How much driving is kept [s]."""
        return self._rows[-1][1] - self._rows[0][1] if self._rows else 0.0

    @property
    def standing(self) -> bool:
        """Whether the car stands, or has never moved."""
        return self._moved_s != self._latest_s or math.isinf(self._latest_s)

    def observe(self, stamp_s: float, state: np.ndarray) -> None:
        """A state [8] (core.layout.STATE) that was driven; a stamp in the past starts anew."""
        if stamp_s <= self._latest_s:
            self.clear()
        self._latest_s = stamp_s
        if math.hypot(state[VX], state[VY]) >= STANDING_MPS:
            self._moved_s = stamp_s
        if stamp_s - self._moved_s > _REST_S:
            return
        since_s = min(stamp_s - self.stamp_s, _GAP_S) if self._rows else 0.0
        driven_s = (self._rows[-1][1] if self._rows else 0.0) + since_s
        self._rows.append((stamp_s, driven_s, state))
        while self.driven_s > self._keep_s:
            self._rows.popleft()
        if self._commands is not None:
            self._commands.forget(self._rows[0][0] - _MARGIN_S)

    def command(self, stamp_s: float, action: np.ndarray) -> None:
        """A command [3] (`SENT`) that was sent to the car; one that repeats the last takes no room: that one holds."""
        if self._commands is None:
            self._commands = CommandHistory(action, keep_s=math.inf)
            self._first_command_s = stamp_s
        if not np.array_equal(self._commands.at(stamp_s), action):
            self._commands.append(stamp_s, action)

    def states(self) -> tuple[np.ndarray, np.ndarray]:
        """Stamps [n] and states [n, 8] that are kept."""
        return self._times()[0], np.array([state for _, _, state in self._rows]).reshape(-1, len(STATE))

    def commands(self, every_s: float) -> Iterator[tuple[float, np.ndarray]]:
        """Stamps and commands [3] (`SENT`) that were sent up to the newest state, told again every ``every_s``."""
        if self._commands is None or not self._rows:
            return
        first_s = max(self._first_command_s, self._rows[0][0] - _MARGIN_S)
        changed_s = self._commands.changes(first_s, self.stamp_s)
        for begin_s, end_s in pairwise([first_s, *changed_s, self.stamp_s]):
            repeated_s = np.arange(begin_s + every_s, end_s - every_s / 2, every_s)
            for stamp_s in (begin_s, *repeated_s.tolist()):
                yield stamp_s, self._commands.at(stamp_s)

    def starts(self, model: DynamicsModel, horizon_s: float, last_s: float, every_s: float = 0.2) -> np.ndarray:
        """[N] stamps, multiples of ``every_s``, from which ``model`` can be compared for ``horizon_s``.

        They end within the last ``last_s`` seconds of driving; no standing and no loss of states is in between.
        """
        if self._commands is None or len(self._rows) < 2 or not set(model.action_layout.names) <= set(SENT):
            return np.empty(0)
        stamps, driven = self._times()
        starts_s = every_s * np.arange(math.ceil(stamps[0] / every_s), math.floor(stamps[-1] / every_s) + 1)
        starts_s = starts_s[self._whole(model, starts_s, horizon_s)]
        ends_s = np.interp(starts_s + _steps(model, horizon_s) * model.dt, stamps, driven)
        return starts_s[ends_s >= driven[-1] - last_s]

    def _whole(self, model: DynamicsModel, starts_s: np.ndarray, horizon_s: float) -> np.ndarray:
        """[N] bool: whether all that ``model`` needs to know about a start is kept, and what followed it."""
        stamps, _ = self._times()
        begin_s = starts_s - _seen(model) * model.dt
        end_s = starts_s + _steps(model, horizon_s) * model.dt
        told_s = begin_s - _past(model) * model.dt
        seams = np.flatnonzero(np.diff(stamps) > _GAP_S)
        across = (begin_s[:, None] < stamps[seams + 1]) & (end_s[:, None] > stamps[seams])
        kept = (begin_s >= stamps[0]) & (end_s <= stamps[-1]) & (told_s >= self._first_command_s)
        return kept & ~across.any(axis=1)

    def _times(self) -> tuple[np.ndarray, np.ndarray]:
        """Stamps of the states kept, and how much was driven up to them [s]."""
        return np.array([stamp for stamp, _, _ in self._rows]), np.array([seconds for _, seconds, _ in self._rows])

    def window(self, model: DynamicsModel, starts_s: np.ndarray, horizon_s: float) -> Window:
        """What ``model`` begins with at ``starts_s`` [N], of `starts` for it, and what acted afterwards."""
        assert self._commands is not None  # noqa: S101  # there are no starts without
        past, seen = _past(model), _seen(model)
        steps = _steps(model, horizon_s)
        first_s = starts_s - (past + seen) * model.dt
        followed = [SENT.index(name) for name in model.action_layout.names]
        commands = np.stack([self._commands.mean(at_s, model.dt, past + seen + steps) for at_s in first_s])
        grid_s = starts_s[:, None] + model.dt * np.arange(-seen, 1)
        before = self.at(grid_s.ravel()).reshape(*grid_s.shape, len(STATE))
        dtype = model.delay.dtype
        applied = delayed(torch.from_numpy(commands[..., followed]), model.delay.double() / model.dt, past).to(dtype)
        everything = torch.ones(len(before), len(STATE), dtype=torch.bool)
        with torch.no_grad():
            begin = start(model, torch.from_numpy(before).to(dtype), everything, applied[:, :seen])
        return Window(starts_s, begin, applied[:, seen:])

    def now(self, model: DynamicsModel) -> torch.Tensor | None:
        """[S] what ``model`` makes of the driving up to the newest state, or None where that is too short."""
        newest = np.array([self.stamp_s])
        if self._commands is None or not self._rows or not self._whole(model, newest, 0.0).all():
            return None
        return self.window(model, newest, 0.0).begin[0]

    def at(self, times: np.ndarray) -> np.ndarray:
        """[n, 8] states at ``times`` [n], linearly between stamps, the heading continuous."""
        stamps, states = self.states()
        states[:, YAW] = np.unwrap(states[:, YAW])
        return np.stack([np.interp(times, stamps, column) for column in states.T], axis=1)


def _past(model: DynamicsModel) -> int:
    """Steps before a start whose commands act after it."""
    return math.ceil(float(model.delay.detach().max()) / model.dt) + 1


def _steps(model: DynamicsModel, horizon_s: float) -> int:
    """Steps that reach ``horizon_s``."""
    return math.ceil(horizon_s / model.dt - 1e-9)


def _seen(model: DynamicsModel) -> int:
    """Steps before a start that fill the model's memory."""
    return math.ceil(model.history_s / model.dt - 1e-9) if isinstance(model, Remembering) else 0
