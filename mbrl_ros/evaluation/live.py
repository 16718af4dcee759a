"""What a model predicted against what then happened, while driving."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.layout import STATE, VX, YAW, YAW_RATE, X, Y
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.starting import Remembering, start


@dataclass(frozen=True)
class HorizonErrors:
    """Root mean square errors by horizon, each [n]: position [m], yaw [rad], speed [m/s], yaw rate [rad/s]."""

    stamp_s: float
    horizons_s: tuple[float, ...]
    position_m: np.ndarray
    yaw_rad: np.ndarray
    speed_mps: np.ndarray
    yaw_rate_radps: np.ndarray
    starts: int


class LiveErrors:
    """Keeps the last seconds of driving and scores a model on them.

    Args:
        window_s: how much driving is kept and scored [s].
        horizons_s: prediction horizons [s].
        start_every_s: spacing of the starts [s].
    """

    def __init__(self, window_s: float, horizons_s: Sequence[float], start_every_s: float = 0.2) -> None:
        self._window_s = window_s
        self._horizons_s = tuple(horizons_s)
        self._start_every_s = start_every_s
        self._states: deque[tuple[float, np.ndarray]] = deque()
        self._commands: CommandHistory | None = None
        self._first_command_s = math.inf

    def observe(self, stamp_s: float, state: np.ndarray) -> None:
        """A state [8] (core.layout.STATE) that was driven; a stamp in the past starts anew."""
        if self._states and stamp_s <= self._states[-1][0]:
            self.clear()
        self._states.append((stamp_s, state))
        while stamp_s - self._states[0][0] > self._window_s + max(self._horizons_s):
            self._states.popleft()

    def command(self, stamp_s: float, action: np.ndarray) -> None:
        """A command [A] that was sent to the car."""
        if self._commands is None:
            self._commands = CommandHistory(action, keep_s=self._window_s + 2 * max(self._horizons_s) + 2.0)
            self._first_command_s = stamp_s
        self._commands.append(stamp_s, action)

    def copy(self) -> LiveErrors:
        """The same driving, to be scored while more comes in."""
        twin = LiveErrors(self._window_s, self._horizons_s, self._start_every_s)
        twin._states = self._states.copy()
        twin._commands = self._commands and self._commands.copy()
        twin._first_command_s = self._first_command_s
        return twin

    def clear(self) -> None:
        """Forget all driving."""
        self._states.clear()
        self._commands = None
        self._first_command_s = math.inf

    def score(self, model: DynamicsModel) -> HorizonErrors | None:
        """Errors of ``model`` over the window, or None while there is too little driving for the longest horizon."""
        if self._commands is None or len(self._states) < 2:
            return None
        delay = math.ceil(float(model.delay.detach().max()) / model.dt) + 1
        seen = math.ceil(model.history_s / model.dt - 1e-9) if isinstance(model, Remembering) else 0
        past = delay + seen
        steps = math.ceil(max(self._horizons_s) / model.dt)
        stamps = np.array([stamp for stamp, _ in self._states])
        first_s = max(stamps[0] + seen * model.dt, self._first_command_s + past * model.dt)
        starts_s = np.arange(first_s, stamps[-1] - steps * model.dt, self._start_every_s)
        if not len(starts_s):
            return None
        states = np.stack([state for _, state in self._states])
        states[:, YAW] = np.unwrap(states[:, YAW])
        driven = _Interpolator(stamps, states)
        commands = np.stack(
            [self._commands.mean(start_s - past * model.dt, model.dt, past + steps) for start_s in starts_s]
        )
        before = np.stack([driven.at(starts_s + k * model.dt) for k in range(-seen, 1)], axis=1)
        with torch.no_grad():
            dtype = model.delay.dtype
            applied = delayed(torch.from_numpy(commands), model.delay.double() / model.dt, delay).to(dtype)
            everything = torch.ones(len(before), len(STATE), dtype=torch.bool)
            begin = start(model, torch.from_numpy(before).to(dtype), everything, applied[:, :seen])
            predicted = rollout(model, begin, applied[:, seen:])[..., : len(STATE)]
        return self._errors(stamps[-1], starts_s, predicted.double().numpy(), driven, model.dt)

    def _errors(
        self, stamp_s: float, starts_s: np.ndarray, predicted: np.ndarray, driven: _Interpolator, dt: float
    ) -> HorizonErrors:
        rows = []
        for horizon_s in self._horizons_s:
            step = round(horizon_s / dt)
            error = predicted[:, step] - driven.at(starts_s + step * dt)
            error[:, YAW] = wrap_angle(error[:, YAW])
            squares = (error**2).mean(axis=0)
            rows.append([squares[X] + squares[Y], squares[YAW], squares[VX], squares[YAW_RATE]])
        position, yaw, speed, yaw_rate = np.sqrt(np.array(rows)).T
        return HorizonErrors(float(stamp_s), self._horizons_s, position, yaw, speed, yaw_rate, len(starts_s))


class _Interpolator:
    """States between stamps, linearly; the heading must be unwrapped."""

    def __init__(self, stamps: np.ndarray, states: np.ndarray) -> None:
        self._stamps, self._states = stamps, states

    def at(self, times: np.ndarray) -> np.ndarray:
        """[n, 8] states at ``times`` [n]."""
        columns = [np.interp(times, self._stamps, self._states[:, k]) for k in range(len(STATE))]
        return np.stack(columns, axis=1)
