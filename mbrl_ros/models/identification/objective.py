"""Multi-step prediction errors of a parametric model as a function of its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.delay import delayed
from mbrl_ros.core.layout import VX, YAW, YAW_RATE, X, Y
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.windows import Windows, start_states

ERRORS = ("along", "across", "yaw", "vx", "vy", "yaw_rate")
"""What a prediction is held to: position error along and across the recorded heading [m], heading [rad],
body velocities [m/s], yaw rate [rad/s]. Actuator states are not among them: recordings that stand a measured
angle in for a command would then answer every delay with zero."""

_ANSWERS_TO_DRIVE = torch.tensor([name in ("along", "vx") for name in ERRORS])

_ROWS = 8192  # rollouts evaluated at once: small enough for the cache, large enough to hide the overhead
_RELATIVE_STEP = 1e-6  # of a parameter's scale, for derivatives in float64


class PredictionErrors(torch.nn.Module):
    """Errors of rollouts from every window's start, at chosen steps.

    Distance along and speed are those of free rollouts. The other errors are taken at the recorded speed, to which
    vx is set after each step: a drive train that the model cannot follow would otherwise bend the wheelbase.

    The model's parameters may be scalars, or [R, 1] to evaluate R sets of them at once.

    Args:
        model: steps by the windows' ``dt``.
        settle: B, steps before the start used to settle what the recording lacks.
        steps: steps of the horizon, counted from 1, at which errors are taken.
    """

    def __init__(self, model: ParametricModel, settle: int, steps: Sequence[int]) -> None:
        super().__init__()
        self.model = model
        self.settle = settle
        self.steps = tuple(steps)

    def forward(self, windows: Windows) -> torch.Tensor:
        """[(R,) N, steps, 6] errors in the order of ``ERRORS``; zero for what is not recorded."""
        applied = self._applied(windows)
        start = start_states(self.model, windows, applied[..., : self.settle, :])
        count = len(windows)
        both = torch.cat([start, start], dim=-2)  # free, and led along the recorded speed
        errors = []
        for step, action in enumerate(applied[..., self.settle :, :].unbind(-2), start=1):
            both = self.model(both, torch.cat([action, action], dim=-2))
            driven = windows.driven[:, step - 1]
            free, led = both[..., :count, :], both[..., count:, :]
            if step in self.steps:
                of_free, of_led = (prediction_errors(state, driven, windows.observed) for state in (free, led))
                errors.append(torch.where(_ANSWERS_TO_DRIVE, of_free, of_led))
            led[..., VX] = driven[:, VX]
        return torch.stack(errors, dim=-2)

    def _applied(self, windows: Windows) -> torch.Tensor:
        commands = windows.commands[:, : windows.past + self.steps[-1]]
        p = self.model.parameters_by_name()
        delays = torch.stack([p["steering_delay"], p["drive_delay"]], dim=-1) / windows.dt  # [A] or [R, 1, A]
        past = windows.past - self.settle
        if delays.dim() == 1:
            return delayed(commands, delays, past)
        return torch.stack([delayed(commands, row, past) for row in delays[:, 0]])


def prediction_errors(state: torch.Tensor, driven: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """[..., 6] errors of states [..., 8] in the order of ``ERRORS``; zero where not ``observed``."""
    dx, dy = state[..., X] - driven[..., X], state[..., Y] - driven[..., Y]
    cos, sin = torch.cos(driven[..., YAW]), torch.sin(driven[..., YAW])
    velocities = slice(VX, YAW_RATE + 1)
    columns = [
        cos * dx + sin * dy,
        cos * dy - sin * dx,
        wrap_angle(state[..., YAW] - driven[..., YAW]),
        *((state - driven) * observed)[..., velocities].unbind(-1),
    ]
    return torch.stack(columns, dim=-1)


class Objective:
    """``theta -> errors`` and their derivatives, for P of a model's parameters; the others stay as they are.

    Derivatives are forward differences of rollouts in float64, all parameters in one batch: torch 2.x evaluates
    that an order of magnitude faster than forward-mode duals of the same rollouts, and it agrees with them.

    Args:
        errors: the prediction.
        scales: the parameters in ``theta``, in order, with a typical change of each.
        high: [P] upper bounds, which no difference may cross.
        windows: the driving.
    """

    def __init__(
        self, errors: PredictionErrors, scales: Mapping[str, float], high: np.ndarray, windows: Windows
    ) -> None:
        self._errors = errors
        self._names = tuple(scales)
        self._steps = _RELATIVE_STEP * np.array(list(scales.values()))
        self._high = high
        self._windows = windows

    def errors(self, theta: np.ndarray) -> np.ndarray:
        """[N, steps, 6] prediction errors at ``theta`` [P]."""
        return self._evaluate(theta[None])[0]

    def errors_and_jacobian(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The errors and their [N, steps, 6, P] derivatives."""
        steps = np.where(theta + self._steps > self._high, -self._steps, self._steps)
        values = self._evaluate(np.vstack([theta, theta + np.diag(steps)]))
        return values[0], np.moveaxis((values[1:] - values[0]) / steps[:, None, None, None], 0, -1)

    def _evaluate(self, points: np.ndarray) -> np.ndarray:
        """[R, N, steps, 6] errors at ``points`` [R, P]."""
        given = {f"model.{name}": torch.from_numpy(points[:, [k]]) for k, name in enumerate(self._names)}
        for name, value in self._errors.model.parameters_by_name().items():
            given.setdefault(f"model.{name}", value.detach().expand(len(points), 1))
        chunks = np.array_split(np.arange(len(self._windows)), -(-len(self._windows) * len(points) // _ROWS))
        with torch.no_grad():
            parts = [
                torch.func.functional_call(self._errors, given, (self._windows.part(rows),)).numpy()
                for rows in chunks
                if len(rows)
            ]
        return np.concatenate(parts, axis=1)
