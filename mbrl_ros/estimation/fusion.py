"""One step of the state estimator: a belief carried forward, and a measurement fused into it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.layout import ACCELERATION, DRIVE_COMMAND, STATE, STEERING_ANGLE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.sensing import EstimatorSettings
from mbrl_ros.estimation.ekf import Gaussian, gate_threshold, process_noise, propagated, squared_distance, updated
from mbrl_ros.estimation.measurement import (
    ESTIMATE,
    GYRO_BIAS,
    PARTS,
    Measurement,
    Part,
    Source,
    noise_covariance,
)
from mbrl_ros.estimation.process import Process
from mbrl_ros.models.parametric import ParametricModel

_FELT_S = 0.05
"""Longest that a lateral acceleration is taken to go on [s]."""

_TYRES_WRONG_MPS2, _NO_DRIVING_MPS2 = 1.5, 20.0
"""A lateral acceleration nearer to what the tyres should give may be off by roll or banking, one that is further away
is a knock; in between the grip is another one."""

_FELT_FROM_MPS = 3.0
"""Slower than this the model is better: there it is kinematic, and an accelerometer's bias would move a car at rest."""

_INITIAL_STD = {VY: 1.0, YAW_RATE: 1.0, STEERING_ANGLE: 0.3, ACCELERATION: 3.0}


@dataclass(frozen=True)
class Belief:
    """What the filter holds after the measurements up to an instant.

    Args:
        stamp_s: the instant [s].
        gaussian: [9] in `ESTIMATE`.
        measured_s: stamp of the newest measurement fused.
        pose_s: stamp of the newest pose fix fused.
        rejected_since_s: for each part that its gate rejects, since when.
        sideways: stamp [s] and value [m/s^2] of the last lateral acceleration, where that is followed.
    """

    stamp_s: float
    gaussian: Gaussian
    measured_s: float
    pose_s: float
    rejected_since_s: dict[str, float] = field(default_factory=dict)
    sideways: tuple[float, float] = (-math.inf, 0.0)


@dataclass(frozen=True)
class Outcome:
    """What became of a measurement.

    Args:
        used: names of the parts that were fused.
        refused: reasons, as they are counted, for what was not.
        distances: squared Mahalanobis distance of each part's innovation, chi-square distributed where all is as
            assumed, with as many degrees of freedom as the part has components.
    """

    used: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    distances: dict[str, float] = field(default_factory=dict)


class Fusion:
    """The filter's mathematics, without memory.

    Args:
        model: a parametric model, see `Process`.
        settings: noise and gates.
    """

    def __init__(self, model: ParametricModel, settings: EstimatorSettings) -> None:
        self.settings = settings
        self.process = Process(model, settings.discrepancy_time_s)
        self._thresholds = {size: gate_threshold(settings.gate_probability, size) for size in (1, 2)}

    def initial(self) -> Gaussian:
        """The belief about a car of which only the pose will be told."""
        std = np.zeros(len(ESTIMATE))
        std[VX] = self.settings.initial_speed_std_mps
        std[GYRO_BIAS] = self.settings.initial_gyro_bias_std_radps
        for entry, value in _INITIAL_STD.items():
            std[entry] = value
        return Gaussian(np.zeros(len(ESTIMATE)), np.diag(std * std))

    def advanced(self, belief: Belief, stamp_s: float, commands: CommandHistory) -> Gaussian:
        """The belief's Gaussian at ``stamp_s``, under the commands that act until then.

        Where ``stamp_s`` is not after the belief's, that is the belief's own.
        """
        gaussian = belief.gaussian
        elapsed_s = stamp_s - belief.stamp_s
        if elapsed_s <= 0.0:
            return gaussian
        steps = max(math.ceil(elapsed_s / self.settings.step_s - 1e-6), 1)
        step_s = elapsed_s / steps
        jacobian = np.eye(len(ESTIMATE))
        for step in range(steps):
            action = self._acting(belief.stamp_s + step * step_s, step_s, commands)
            sliding_mps, unheard = self.process.sliding_mps(gaussian.mean), bool(np.isnan(action[DRIVE_COMMAND]))
            noise = process_noise(self.settings.process, step_s, sliding_mps, unheard)
            state, jacobian[: len(STATE), : len(STATE)] = self.process.predicted(
                gaussian.mean[: len(STATE)], action, step_s
            )
            if belief.stamp_s + step * step_s - belief.sideways[0] < _FELT_S and gaussian.mean[VX] > _FELT_FROM_MPS:
                state[VY], jacobian[VY] = _pushed(gaussian.mean, belief.sideways[1], step_s)
            gaussian = propagated(gaussian, np.append(state, gaussian.mean[GYRO_BIAS]), jacobian, noise)
        return gaussian

    def fused(self, belief: Belief, measurement: Measurement, commands: CommandHistory) -> tuple[Belief, Outcome]:
        """The belief after a measurement that is not older than it."""
        gaussian = self.advanced(belief, measurement.stamp_s, commands)
        expected, jacobian = self._expected(gaussian.mean, measurement.source)
        innovation = measurement.values - expected
        if measurement.source == "pose":
            innovation[2] = wrap_angle(innovation[2])
        noise, impossible = noise_covariance(measurement, self.settings)
        refused = [f"{measurement.source}: impossible covariance"] if impossible else []
        rejected_since_s = dict(belief.rejected_since_s)
        distances: dict[str, float] = {}
        used, rows, sideways = [], [], belief.sideways
        for part in PARTS[measurement.source]:
            finite = [row for row in part.components if math.isfinite(innovation[row])]
            refused += [f"{part.name}: non-finite"] * (len(part.components) - len(finite))
            if not finite:
                continue
            if part.name == "lateral_acceleration" and self.settings.follow_sideways:
                missed_mps2 = abs(innovation[finite[0]])
                if missed_mps2 > _NO_DRIVING_MPS2:
                    refused.append(f"{part.name}: rejected by the gate")
                    continue
                if missed_mps2 > _TYRES_WRONG_MPS2:
                    sideways = measurement.stamp_s, float(measurement.values[finite[0]])
                    continue
            inputs = innovation[finite], jacobian[finite], noise[np.ix_(finite, finite)]
            distances[part.name] = squared_distance(gaussian, *inputs)
            if distances[part.name] > self._thresholds[len(finite)]:
                since_s = rejected_since_s.setdefault(part.name, measurement.stamp_s)
                patient = measurement.stamp_s - since_s < self.settings.gate_patience_s
                if patient or not part.observes or self._checked(belief, part, measurement.stamp_s):
                    refused.append(f"{part.name}: rejected by the gate")
                    continue
                refused.append(f"{part.name}: believed after long rejection")
                gaussian = _doubted(gaussian, part, innovation[finite])
            rejected_since_s.pop(part.name, None)
            used.append(part.name)
            rows += finite
        if rows:
            if measurement.source == "wheel_speed":  # gated as wheels that roll, weighed as what they may be
                noise = noise + self._sliding(gaussian.mean)
            gaussian = updated(gaussian, innovation[rows], jacobian[rows], noise[np.ix_(rows, rows)])
            gaussian.mean[YAW] = wrap_angle(gaussian.mean[YAW])
        stamp_s = measurement.stamp_s
        measured_s = stamp_s if used else belief.measured_s
        pose_s = stamp_s if used and measurement.source == "pose" else belief.pose_s
        outcome = Outcome(tuple(used), tuple(refused), distances)
        return Belief(stamp_s, gaussian, measured_s, pose_s, rejected_since_s, sideways), outcome

    def _sliding(self, mean: np.ndarray) -> float:
        """Variance [(m/s)^2] of the wheels' speed for what driving and braking do to it beyond their linear slip."""
        return float(self.settings.wheel_slide_s2pm * mean[VX] * mean[ACCELERATION]) ** 2

    def _checked(self, belief: Belief, part: Part, stamp_s: float) -> bool:
        """Whether what checks ``part`` was believed of late: then the filter is right, and not the part. Where both are
        rejected they speak for each other, and against the filter."""
        agrees = part.checked_by not in belief.rejected_since_s
        return bool(part.checked_by) and agrees and stamp_s - belief.pose_s < self.settings.check_patience_s

    def _acting(self, start_s: float, step_s: float, commands: CommandHistory) -> np.ndarray:
        """[A] mean command that acts in a step, each entry after its own delay; NaN where there is none."""
        acting = np.empty(len(self.process.delays_s))
        for entry, delay_s in enumerate(self.process.delays_s):
            sent_s = start_s - delay_s
            first, last = commands.at(sent_s), commands.at(sent_s + step_s)
            held = first if first is last else commands.mean(sent_s, step_s, 1)[0]
            acting[entry] = held[entry]
        return acting

    def _expected(self, mean: np.ndarray, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """What a source should measure, and the derivative of that by the estimate."""
        if source == "accelerometer":
            force, slope = self.process.specific_force(mean[: len(STATE)])
            return force, np.column_stack([slope, np.zeros(2)])
        jacobian = _DIRECT[source]
        if source == "wheel_speed":
            # Wheels that push slip: they read vx (1 + k a).
            stretch = 1.0 + self.settings.wheel_slip_s2pm * mean[ACCELERATION]
            jacobian = jacobian * stretch
            jacobian[0, ACCELERATION] = self.settings.wheel_slip_s2pm * mean[VX]
            return np.array([mean[VX] * stretch]), jacobian
        return jacobian @ mean, jacobian


def _rows(*entries: list[int]) -> np.ndarray:
    jacobian = np.zeros((len(entries), len(ESTIMATE)))
    for row, columns in enumerate(entries):
        jacobian[row, columns] = 1.0
    return jacobian


_DIRECT: dict[Source, np.ndarray] = {
    "pose": _rows([X], [Y], [YAW]),
    "wheel_speed": _rows([VX]),
    "steering": _rows([STEERING_ANGLE]),
    "gyro": _rows([YAW_RATE, GYRO_BIAS]),
}


def _pushed(mean: np.ndarray, sideways_mps2: float, step_s: float) -> tuple[float, np.ndarray]:
    """Lateral velocity after a step under a measured lateral acceleration, and the derivative of that by the estimate:
    ``vy' = ay - vx r``, whatever the tyres."""
    slope = np.zeros(len(ESTIMATE))
    slope[[VX, VY, YAW_RATE]] = -step_s * mean[YAW_RATE], 1.0, -step_s * mean[VX]
    return float(mean[VY] + step_s * (sideways_mps2 - mean[VX] * mean[YAW_RATE])), slope


def _doubted(gaussian: Gaussian, part: Part, innovation: np.ndarray) -> Gaussian:
    """The belief with as much more variance as it takes to accept an innovation of ``part``."""
    covariance = gaussian.covariance.copy()
    for entry in part.observes:
        covariance[entry, entry] += float(np.square(innovation).max())
    return Gaussian(gaussian.mean, covariance)
