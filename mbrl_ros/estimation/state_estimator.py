"""The state estimator: an extended Kalman filter on a car model that takes measurements late and in any order."""

from __future__ import annotations

import bisect
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import YAW, X, Y
from mbrl_ros.core.sensing import EstimatorSettings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation.ekf import Gaussian
from mbrl_ros.estimation.fusion import Belief, Fusion, Outcome
from mbrl_ros.estimation.measurement import PARTS, RANK, Measurement, Source, noise_covariance
from mbrl_ros.models.parametric import ParametricModel, build_for

_POSE = [X, Y, YAW]


@dataclass(frozen=True)
class Estimate:
    """What is believed of the car at one instant.

    Args:
        stamp_s: the instant [s].
        mean: [9] in `ESTIMATE`.
        covariance: [9, 9].
        measured_s: stamp of the newest measurement in it: an estimate far ahead of that is dead reckoning.
        pose_s: stamp of the newest pose fix in it.
    """

    stamp_s: float
    mean: np.ndarray
    covariance: np.ndarray
    measured_s: float
    pose_s: float


@dataclass
class _Entry:
    """A measurement in the history, what became of it, and the belief after it."""

    measurement: Measurement
    outcome: Outcome
    belief: Belief

    @property
    def key(self) -> tuple[float, int]:
        return self.measurement.stamp_s, RANK[self.measurement.source]


class StateEstimator:
    """Fuses wheel speed, gyroscope, accelerometer, steering feedback and pose fixes on a car model.

    The estimate depends on what was measured and commanded, not on the order of arrival: a measurement that arrives
    late is inserted where it belongs, and everything after it is filtered again, with the commands that acted then.
    The same holds for a command that arrives late. What is older than ``history_s`` is refused. Filtering again waits
    for the next prediction, so that a burst of late messages, as after a stall, costs one pass and not one for each:
    otherwise a filter that has fallen behind would fall behind further. What `add` answers is therefore preliminary.

    - Commands reach the model after its transport delays. When none has come for ``command_timeout_s``, the
      actuators are taken to stay where they are, as unsurely as ``unheard_mps2_rts`` says, so that a car driven by hand
      or by its own watchdog is followed too.
    - The filter starts with the first complete pose fix, or with ``set_pose``; until then measurements are refused.
    - Where nothing was measured for ``outage_s``, nothing is predicted, and the next pose fix starts the filter anew:
      what the car did meanwhile is unknown, and gates set by a wrong guess would refuse the truth.
    - Each part of a measurement (see ``PARTS``) must pass a chi-square gate. A part that has been rejected for
      ``gate_patience_s`` without interruption is believed instead of the filter: the variance of the entries that
      it observes grows by the squared innovation, and it is fused. Accelerations never are: they observe no entry
      by themselves.
    - A result that is not finite ends in a reset, which is counted; the next pose fix starts the filter anew.

    ``counters`` holds, by reason, how often something was refused, rejected or repaired; a measurement that is
    filtered again counts with its latest outcome only.

    Args:
        model: a parametric model, see `Process`.
        settings: noise, gates, memory.
    """

    def __init__(self, model: ParametricModel, settings: EstimatorSettings | None = None) -> None:
        self.settings = settings or EstimatorSettings()
        self.reference_point = model.reference_point
        self.action_layout = model.action_layout
        self._fusion = Fusion(model, self.settings)
        self.counters: Counter[str] = Counter()
        self.reset()

    @classmethod
    def for_vehicle(cls, vehicle: Vehicle, kind: str = "single_track") -> StateEstimator:
        """An estimator on a vehicle's nominal model, about its centre of gravity, with the vehicle's settings."""
        model = build_for(vehicle, kind, dt=vehicle.estimator.step_s, drive=vehicle.plant.drive, integrator="euler")
        return cls(model, vehicle.estimator)

    @property
    def is_aligned(self) -> bool:
        """Whether a pose has started the filter."""
        return self._base is not None

    def reset(self) -> None:
        """Forget everything but the counters."""
        settings, delays_s = self.settings, self._fusion.process.delays_s
        self._base: Belief | None = None
        self._entries: list[_Entry] = []
        self._stale_from = 0
        """Entries from here on hold beliefs from before a late message."""
        self._newest_s: dict[Source, float] = {}
        self._newest_command_s = -math.inf
        self._commands = CommandHistory(
            np.full(len(self.action_layout), np.nan),
            keep_s=settings.history_s + settings.command_timeout_s + max(delays_s) + 1.0,
        )

    def add_command(self, stamp_s: float, action: np.ndarray, arrival_s: float = math.inf) -> str:
        """Note that ``action`` [A] is commanded from ``stamp_s`` on; returns why it was refused, or an empty string.

        ``arrival_s`` [s], where given, is what a stamp in the future is told by.
        """
        if np.shape(action) != (len(self.action_layout),):
            raise LayoutError(f"a command of shape {np.shape(action)}, expected {self.action_layout.names}")
        refusal = ""
        if not (math.isfinite(stamp_s) and np.isfinite(action).all()):
            refusal = "command: non-finite"
        elif stamp_s > arrival_s + self.settings.future_tolerance_s:
            refusal = "command: stamp in the future"
        elif stamp_s <= self._newest_command_s:
            refusal = "command: duplicate or backward stamp"
        if refusal:
            self.counters[refusal] += 1
            return refusal
        self._newest_command_s = stamp_s
        self._commands.append(stamp_s, action)
        # Not a number marks silence; the next command, if it comes in time, overrides it.
        self._commands.append(stamp_s + self.settings.command_timeout_s, np.full(len(action), np.nan))
        acts_s = stamp_s + min(self._fusion.process.delays_s)
        late = bisect.bisect_right(self._entries, (acts_s, len(RANK)), key=lambda entry: entry.key)
        self._stale_from = min(self._stale_from, late)
        return refusal

    def add(self, measurement: Measurement) -> Outcome:
        """Fuse a measurement; accelerations only where ``use_accelerometer`` says so."""
        if measurement.source == "accelerometer" and not self.settings.use_accelerometer:
            return Outcome()
        refusal = self._refusal(measurement)
        if refusal:
            self.counters[refusal] += 1
            return Outcome(refused=(refusal,))
        if self._base is not None:
            silence_s = measurement.stamp_s - max(self._newest_s.values(), default=self._base.stamp_s)
            if silence_s > self.settings.outage_s:
                self.counters["resets: all sensors were silent"] += 1
                self.reset()
        self._newest_s[measurement.source] = measurement.stamp_s
        if self._base is None:
            return self._align(measurement)
        if measurement.stamp_s <= self._base.stamp_s:
            reason = f"{measurement.source}: older than the history"
            self.counters[reason] += 1
            return Outcome(refused=(reason,))
        entry = _Entry(measurement, Outcome(), self._base)
        index = bisect.bisect(self._entries, entry.key, key=lambda other: other.key)
        self._entries.insert(index, entry)
        if self._stale_from >= index:
            self._stale_from = index + 1
        if self._filter(index):
            self._forget()
        return entry.outcome

    def predict(self, stamp_s: float) -> Estimate | None:
        """The estimate for ``stamp_s``, from what is known up to then; None before alignment and in an outage.

        Predicting leaves the filter as it is. An instant before the history is answered with the oldest belief.
        """
        self._refresh()
        if self._base is None:
            return None
        found = bisect.bisect_right(self._entries, (stamp_s, len(RANK)), key=lambda entry: entry.key)
        belief = self._before(found)
        if stamp_s - belief.measured_s > self.settings.outage_s:
            return None
        gaussian = self._fusion.advanced(belief, stamp_s, self._commands)
        if not gaussian.is_valid():
            self._break_down()
            return None
        stamp_s, mean = max(stamp_s, belief.stamp_s), gaussian.mean.copy()
        mean[YAW] = wrap_angle(mean[YAW])
        return Estimate(stamp_s, mean, gaussian.covariance, belief.measured_s, belief.pose_s)

    def set_pose(
        self, stamp_s: float, pose: np.ndarray, covariance: np.ndarray | None = None, arrival_s: float | None = None
    ) -> str:
        """Put the car at ``pose`` [x m, y m, yaw rad] at ``stamp_s``; velocities, if known, are kept.

        Returns why it was refused, or an empty string.

        Measurements up to then are forgotten, later ones are filtered again.

        Args:
            stamp_s: the instant [s].
            pose: of the model's reference point.
            covariance: [3, 3]; None or all zero: as uncertain as a pose fix.
            arrival_s: when it came, on the clock of the stamps [s]; None: not judged. A stamp ahead of that, or
                older than the history (zero, as tools send that set none), is refused.

        Raises:
            LayoutError: the pose is not finite.
        """
        if not (np.isfinite(pose).all() and math.isfinite(stamp_s)):
            raise LayoutError(f"set_pose: {pose} at {stamp_s} is not finite")
        if arrival_s is not None and not -self.settings.future_tolerance_s <= arrival_s - stamp_s <= (
            self.settings.history_s
        ):
            refusal = f"set_pose: stamp {'in the future' if stamp_s > arrival_s else 'older than the history'}"
            self.counters[refusal] += 1
            return refusal
        noise, impossible = noise_covariance(
            Measurement("pose", stamp_s, stamp_s, np.asarray(pose, dtype=float), covariance), self.settings
        )
        if impossible:
            self.counters["pose: impossible covariance"] += 1
        known = self.predict(stamp_s)
        start = self._fusion.initial() if known is None else Gaussian(known.mean.copy(), known.covariance.copy())
        start.mean[_POSE] = pose
        start.covariance[_POSE, :] = 0.0
        start.covariance[:, _POSE] = 0.0
        start.covariance[np.ix_(_POSE, _POSE)] = noise
        stamp_s = stamp_s if known is None else known.stamp_s
        self._base = Belief(stamp_s, start, stamp_s, stamp_s)
        self._entries = [entry for entry in self._entries if entry.measurement.stamp_s > stamp_s]
        self._stale_from = 0
        return ""

    def _refusal(self, measurement: Measurement) -> str:
        source, stamp_s = measurement.source, measurement.stamp_s
        if not math.isfinite(stamp_s):
            return f"{source}: non-finite stamp"
        if stamp_s > measurement.arrival_s + self.settings.future_tolerance_s:
            return f"{source}: stamp in the future"
        newest_s = self._newest_s.get(source, -math.inf)
        if stamp_s == newest_s:
            return f"{source}: duplicate stamp"
        return f"{source}: backward stamp" if stamp_s < newest_s else ""

    def _align(self, measurement: Measurement) -> Outcome:
        if measurement.source != "pose" or not np.isfinite(measurement.values).all():
            reason = f"{measurement.source}: no pose yet"
            self.counters[reason] += 1
            return Outcome(refused=(reason,))
        self.set_pose(measurement.stamp_s, measurement.values, measurement.covariance)
        self.counters["alignments"] += 1
        return Outcome(used=tuple(part.name for part in PARTS["pose"]))

    def _before(self, index: int) -> Belief:
        assert self._base is not None  # noqa: S101, callers have checked
        return self._entries[index - 1].belief if index else self._base

    def _refresh(self) -> None:
        """Filter again what a late message has made stale."""
        for index in range(self._stale_from, len(self._entries)):
            if not self._filter(index):
                return
        self._stale_from = len(self._entries)

    def _filter(self, index: int) -> bool:
        """Fuse one entry with the belief before it; False where the filter broke down."""
        entry = self._entries[index]
        for reason in entry.outcome.refused:
            self.counters[reason] -= 1
        try:
            entry.belief, entry.outcome = self._fusion.fused(self._before(index), entry.measurement, self._commands)
        except np.linalg.LinAlgError:
            self._break_down()
            return False
        for reason in entry.outcome.refused:
            self.counters[reason] += 1
        if not entry.belief.gaussian.is_valid():
            self._break_down()
            return False
        return True

    def _forget(self) -> None:
        """Let go of what lies before the history, keeping the belief at its beginning."""
        if not self._entries:
            return
        oldest_s = self._entries[-1].measurement.stamp_s - self.settings.history_s
        expired = bisect.bisect_left(self._entries, (oldest_s, -1), key=lambda entry: entry.key)
        if expired:
            if self._stale_from < expired:
                self._refresh()
            if not self._entries:  # the filter broke down
                return
            self._base = self._entries[expired - 1].belief
            del self._entries[:expired]
            self._stale_from -= expired

    def _break_down(self) -> None:
        self.counters["resets: the estimate was not finite"] += 1
        self.reset()
