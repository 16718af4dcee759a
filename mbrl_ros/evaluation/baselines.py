"""Predictors that every model has to beat, the floor that none can be expected to, and models as predictors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from mbrl_ros.core.delay import delayed
from mbrl_ros.core.errors import DataError, ModelError
from mbrl_ros.core.layout import STATE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.recording import Drive
from mbrl_ros.evaluation.open_loop import Predictor, Windows
from mbrl_ros.models.model import DynamicsModel, rollout
from mbrl_ros.models.starting import history_s, start

_LINEAR_STATES = ("vx", "vy", "yaw_rate", "steering_angle", "acceleration")


def persistence() -> Predictor:
    """Everything stays as it is, the position too."""
    return Predictor("persistence", lambda windows: windows.start[:, None].expand_as(windows.driven))


def ctrv() -> Predictor:
    """Constant turn rate and velocity: body velocity and yaw rate stay, the pose follows (explicit Euler)."""

    def predict(windows: Windows) -> torch.Tensor:
        return _with_pose(windows.start[:, None].expand_as(windows.driven).clone(), windows)

    return Predictor("ctrv", predict)


def floor() -> Predictor:
    """The *measured* body velocity and yaw rate integrated (explicit Euler).

    What is left is how badly the recording's velocities and poses agree: no model of the velocities does much
    better.
    """
    return Predictor("floor", lambda windows: _with_pose(windows.driven.clone(), windows))


def linear(train: Sequence[Drive]) -> Predictor:
    """Linear least squares: next body velocities and actuator states from the present ones and the command.

    ``z' = A z + B u + c`` over one sample, z the recorded ones of (vx, vy, yaw rate, steering angle,
    acceleration), fitted to ``train`` alone; the pose follows by explicit Euler.

    Raises:
        DataError: nothing to fit to, or the drives differ in sample time or in what they record.
    """
    segments = [segment for drive in train for segment in drive.segments]
    if not segments:
        raise DataError("the linear baseline has no driving to be fitted to")
    dt = train[0].dt
    columns = [i for i in STATE.indices(_LINEAR_STATES) if segments[0].observed[i]]
    commanded = bool(np.isfinite(segments[0].action).all())
    if any(not math.isclose(d.dt, dt, rel_tol=1e-6) for d in train) or any(
        not s.observed[columns].all() for s in segments
    ):
        raise DataError("the linear baseline needs drives at one rate that record the same quantities")

    def features(z: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.concatenate([z, u, np.ones((len(z), 1))] if commanded else [z, np.ones((len(z), 1))], axis=1)

    inputs = np.concatenate([features(s.state[:-1, columns], s.action[:-1]) for s in segments])
    outputs = np.concatenate([s.state[1:, columns] for s in segments])
    coefficients, *_ = np.linalg.lstsq(inputs, outputs, rcond=None)

    def predict(windows: Windows) -> torch.Tensor:
        if not math.isclose(windows.dt, dt, rel_tol=1e-6):
            raise DataError(
                f"the linear baseline was fitted at {1 / dt:g} Hz, {windows.source} is read at {1 / windows.dt:g} Hz"
            )
        states = windows.start[:, None].expand_as(windows.driven).clone()
        z = windows.start[:, columns].numpy()
        for k in range(states.shape[1] - 1):
            z = features(z, windows.commands[:, windows.past + k].numpy()) @ coefficients
            states[:, k + 1, columns] = torch.from_numpy(z)
        return _with_pose(states, windows)

    return Predictor("linear", predict)


def of_model(name: str, model: DynamicsModel) -> Predictor:
    """A dynamics model, rolled out along the recorded commands behind its own delay.

    It begins with what it makes of the driving before the start (`models.starting.start`): a model with memory reads
    it, and whatever the recording does not hold of a start state (say the lateral velocity) settles.
    """

    def predict(windows: Windows) -> torch.Tensor:
        at_rate, begin, applied = beginning(name, model, windows)
        with torch.no_grad():
            predicted = rollout(at_rate, begin, applied)
        return predicted[..., : len(STATE)].to(torch.float64)

    return Predictor(name, predict, past_s=float(model.delay.detach().max()) + history_s(model))


def beginning(name: str, model: DynamicsModel, windows: Windows) -> tuple[DynamicsModel, torch.Tensor, torch.Tensor]:
    """The model at the windows' rate, the states [N, S] that it begins with, and the actions [N, H, A] that act then.

    Raises:
        LayoutError, ModelError: the model is of another car or rate.
    """
    model.action_layout.require(windows.action_layout, f"actions of {windows.source} for model '{name}'")
    if model.reference_point != windows.reference_point:
        raise ModelError(
            f"model '{name}' describes the {model.reference_point}, {windows.source} the {windows.reference_point}"
        )
    at_rate = _at_rate(name, model, windows.dt)
    dtype = next((p.dtype for p in getattr(model, "parameters", list)()), torch.float64)
    states = torch.where(windows.measured[:, None], windows.states, 0.0).to(dtype)
    needed = math.floor(float(model.delay.detach().max()) / windows.dt) + 1
    past = min(windows.past - needed, math.ceil(history_s(model) / windows.dt - 1e-9))
    with torch.no_grad():
        delay_steps = (model.delay / windows.dt).to(dtype)
        applied = delayed(windows.commands.to(dtype), delay_steps, needed)[:, windows.past - needed - past :]
        driven = states[:, windows.past - past : windows.past + 1]
        return at_rate, start(at_rate, driven, windows.measured, applied[:, :past]), applied[:, past:]


def _at_rate(name: str, model: DynamicsModel, dt: float) -> DynamicsModel:
    if math.isclose(model.dt, dt, rel_tol=1e-6):
        return model
    with_dt = getattr(model, "with_dt", None)
    if with_dt is None:
        raise ModelError(
            f"model '{name}' steps {model.dt:g} s and no other, the recording is read every {dt:g} s; "
            f"read it with --rate {1 / model.dt:g}"
        )
    return with_dt(dt)


def _with_pose(states: torch.Tensor, windows: Windows) -> torch.Tensor:
    """``states`` [N, H + 1, 8] with the pose integrated from the start along their own body velocities (Euler).

    A lateral velocity that is not recorded counts as zero.
    """
    if torch.isnan(states[:, 0, YAW_RATE]).any() or torch.isnan(states[:, 0, VX]).any():
        raise DataError(f"{windows.source}: records no speed or no yaw rate, so no pose can be integrated from it")
    vx, yaw_rate = states[..., VX], states[..., YAW_RATE]
    vy = torch.nan_to_num(states[..., VY]) if torch.isnan(windows.start[:, VY]).all() else states[..., VY]

    def integral(rate: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(rate[:, :1]), torch.cumsum(rate[:, :-1] * windows.dt, dim=1)], dim=1)

    yaw = windows.start[:, None, YAW] + integral(yaw_rate)
    states[..., YAW] = yaw
    states[..., X] = windows.start[:, None, X] + integral(vx * torch.cos(yaw) - vy * torch.sin(yaw))
    states[..., Y] = windows.start[:, None, Y] + integral(vx * torch.sin(yaw) + vy * torch.cos(yaw))
    return states
