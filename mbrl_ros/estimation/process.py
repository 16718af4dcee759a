"""The filter's process: a car model over any time step, with its Jacobian."""

from __future__ import annotations

import numpy as np
import torch

from mbrl_ros.core.layout import (
    ACCELERATION,
    DRIVE_COMMAND,
    STATE,
    STEERING_ANGLE,
    STEERING_COMMAND,
    VX,
    VY,
    YAW,
    YAW_RATE,
    X,
    Y,
)
from mbrl_ros.estimation.traced import Traced
from mbrl_ros.models.parametric import ParametricModel
from mbrl_ros.models.parametric.kinematic import reference_lever

_NUDGE = 1e-5
_INSTANT_S = 1e-6
_SLIDING_FROM = 0.3
"""Slip, sideways over forward velocity, from which on the car is said to slide: tyres of the small car give nine tenths
of their largest force there, those of a full-size car are past theirs."""

_PROBE = (0.0, 0.0, 0.0, 5.0, 0.5, 0.5, 0.0, 0.0)


class Process:
    """A parametric model as the filter sees it.

    Velocities and actuators come from the model. The pose is integrated here, from the mean body velocities along a
    mid-step heading (second order whatever the model's integrator), so that a cheap Euler step of the model serves.

    A kinematic model computes ``vy`` and ``yaw_rate`` from speed and steering, and would make a filter deaf to what
    the gyroscope says. What they differ by from the model's values is therefore kept, as a first-order
    Gauss-Markov process with the correlation time ``discrepancy_time_s``. A model with tyres has no such
    difference: there the two are states of their own.

    The Jacobian is by central differences in one batched call: in float64 good to nine digits, and as cheap as one
    prediction, where forward-mode differentiation of tensors this small takes twenty times as long. The model is
    run by numpy (see ``Traced``).

    Args:
        model: a parametric model, float64, on the CPU.
        discrepancy_time_s: see above [s].
    """

    def __init__(self, model: ParametricModel, discrepancy_time_s: float) -> None:
        self._drive = model.config.drive
        self._values = model.values()
        lever_of = {name: torch.tensor(value, dtype=torch.float64) for name, value in self._values.items()}
        self._rear_lever_m = float(reference_lever(lever_of, model.reference_point))
        self._discrepancy_time_s = discrepancy_time_s
        self.delays_s = (self._values["steering_delay"], self._values["drive_delay"])
        example = torch.tensor([_PROBE], dtype=torch.float64)
        self._step = Traced(model.step, example, example[:, :2], torch.tensor(0.01, dtype=torch.float64))
        probe = np.array([_PROBE])
        after = self._stepped(probe, self._holding(probe), _INSTANT_S)
        self._is_kinematic = bool(np.abs(after - probe)[0, [VY, YAW_RATE]].max() > 0.1)

    def predicted(self, mean: np.ndarray, action: np.ndarray, step_s: float) -> tuple[np.ndarray, np.ndarray]:
        """[8] state after ``step_s`` and its [8, 8] Jacobian.

        Args:
            mean: [8] state.
            action: [2] what acts; a NaN entry leaves that actuator where it is.
            step_s: [s] > 0.
        """
        ahead = self._transition(_around(mean), action, step_s)
        return ahead[0], _slope(ahead)

    def sliding_mps(self, mean: np.ndarray) -> float:
        """Speed at which the rear axle moves sideways beyond what tyres that grip let it [m/s]."""
        sideways_mps = mean[VY] - self._rear_lever_m * mean[YAW_RATE]
        return max(abs(float(sideways_mps)) - _SLIDING_FROM * abs(float(mean[VX])), 0.0)

    def specific_force(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[2] forward and left specific force at the reference point [m/s^2], and its [2, 8] Jacobian."""
        states = _around(mean)
        instant_s = 1e-3
        after = self._transition(states, np.full(2, np.nan), instant_s)
        rate = (after - states) / instant_s
        yaw_rate = states[:, YAW_RATE]
        force = np.stack(
            [rate[:, VX] - yaw_rate * states[:, VY], rate[:, VY] + yaw_rate * states[:, VX]],
            axis=1,
        )
        return force[0], _slope(force)

    def _transition(self, states: np.ndarray, action: np.ndarray, step_s: float) -> np.ndarray:
        holding = self._holding(states)
        after = self._stepped(states, np.where(np.isnan(action), holding, action), step_s)
        if self._is_kinematic:
            discrepancy = states - self._stepped(states, holding, _INSTANT_S)
            kept = np.exp(-step_s / self._discrepancy_time_s)
            after[:, [VY, YAW_RATE]] += kept * discrepancy[:, [VY, YAW_RATE]]
        mean = 0.5 * (states + after)
        after[:, YAW] = states[:, YAW] + step_s * mean[:, YAW_RATE]
        heading = states[:, YAW] + 0.5 * step_s * mean[:, YAW_RATE]
        cos, sin = np.cos(heading), np.sin(heading)
        after[:, X] = states[:, X] + step_s * (mean[:, VX] * cos - mean[:, VY] * sin)
        after[:, Y] = states[:, Y] + step_s * (mean[:, VX] * sin + mean[:, VY] * cos)
        return after

    def _stepped(self, states: np.ndarray, actions: np.ndarray, step_s: float) -> np.ndarray:
        return self._step(states, actions, np.float64(step_s))

    def _holding(self, states: np.ndarray) -> np.ndarray:
        """[B, 2] actions that leave the actuators where they are (for duty: coasting)."""
        values, actions = self._values, np.zeros((len(states), 2))
        actions[:, STEERING_COMMAND] = (states[:, STEERING_ANGLE] - values["steering_offset"]) / values[
            "steering_scale"
        ]
        if self._drive == "acceleration":
            wanted = states[:, ACCELERATION] - values["acceleration_offset"]
            actions[:, DRIVE_COMMAND] = wanted / values["acceleration_scale"]
        elif self._drive == "speed":
            actions[:, DRIVE_COMMAND] = states[:, VX] / values["speed_scale"]
        return actions


def _around(mean: np.ndarray) -> np.ndarray:
    """[17, 8]: the mean, then it nudged up and down in each entry."""
    nudges = _NUDGE * np.eye(len(STATE))
    return np.concatenate([mean[None], mean + nudges, mean - nudges])


def _slope(values: np.ndarray) -> np.ndarray:
    """[n, 8] central differences of [17, n] values at ``_around``'s states."""
    up, down = values[1 : len(STATE) + 1], values[len(STATE) + 1 :]
    return (up - down).T / (2 * _NUDGE)
