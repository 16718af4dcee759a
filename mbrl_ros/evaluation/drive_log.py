"""What happened on a closed-loop drive, and its figures: the same for `mbrl drive` and `mbrl race`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.lap import Lap, LapTimer
from mbrl_ros.core.layout import STATE, VX, YAW, X, Y
from mbrl_ros.core.track import Track

MOVING_MPS = 0.1
"""Speed at which the first lap's clock starts: how long nodes take to come up is no part of a lap."""


@dataclass(frozen=True)
class DriveSummary:
    """Figures of a drive.

    Args:
        laps: completed laps.
        control_rate_kept: share of control cycles within their slot; on simulated time, of those whose solve took no
            longer than a cycle; nan where nothing was timed.
        solve_p50_ms, solve_p99_ms: wall time of a planner's solve; nan where nothing was timed.
        estimator_position_rmse_m: estimate against truth; nan without estimates.
        top_speed_mps: highest true speed.
        distrusted: share of the drive in which the planner's model was not trusted, and slowed the car; nan where
            nothing watched it.
    """

    laps: tuple[Lap, ...]
    control_rate_kept: float
    solve_p50_ms: float
    solve_p99_ms: float
    estimator_position_rmse_m: float
    top_speed_mps: float
    distrusted: float = math.nan

    @property
    def exits(self) -> int:
        """Times the track was left, over all completed laps."""
        return sum(lap.exits for lap in self.laps)

    def to_json(self) -> dict[str, Any]:
        """Plain data; figures that do not exist are null."""
        return {
            "laps": [
                {
                    "time_s": lap.time_s,
                    "exits": lap.exits,
                    "mean_lateral_m": lap.mean_lateral_m,
                    "max_lateral_m": lap.max_lateral_m,
                }
                for lap in self.laps
            ],
            "control_rate_kept": _null_if_nan(self.control_rate_kept),
            "solve_ms": {"p50": _null_if_nan(self.solve_p50_ms), "p99": _null_if_nan(self.solve_p99_ms)},
            "estimator_position_rmse_m": _null_if_nan(self.estimator_position_rmse_m),
            "top_speed_mps": _null_if_nan(self.top_speed_mps),
            "distrusted": _null_if_nan(self.distrusted),
        }


@dataclass
class DriveLog:
    """Collects a drive as it happens.

    Args:
        track: what is driven on.
        car_width_m: width of the car, for exits.
    """

    track: Track
    car_width_m: float
    truth: list[tuple[float, np.ndarray]] = field(default_factory=list)
    estimates: list[tuple[float, np.ndarray]] = field(default_factory=list)
    solve_times_s: list[float] = field(default_factory=list)
    control_rate_kept: float = math.nan
    distrusted: float = math.nan
    lateral_m: float = math.nan

    def __post_init__(self) -> None:
        self._timer = LapTimer(self.track.length_m, self.car_width_m)
        self._moved = False

    @property
    def laps(self) -> list[Lap]:
        """Laps completed so far."""
        return self._timer.laps

    @property
    def exits(self) -> int:
        """Times the track was left, in completed laps and in the present one."""
        return self._timer.exits

    def add_truth(self, stamp_s: float, state: np.ndarray) -> Lap | None:
        """The car's true state [8]; returns the lap that this sample completed. The first begins with a moving car."""
        self.truth.append((stamp_s, state))
        place = self.track.project(state[[X, Y]])
        self.lateral_m = float(place.lateral)
        self._moved = self._moved or bool(state[VX] > MOVING_MPS)
        if not self._moved:
            return None
        return self._timer.add(
            stamp_s,
            float(place.s),
            self.lateral_m,
            float(place.section.width_left),
            float(place.section.width_right),
        )

    def add_estimate(self, stamp_s: float, state: np.ndarray) -> None:
        """The estimator's state [8]."""
        self.estimates.append((stamp_s, state))

    def summary(self) -> DriveSummary:
        """The figures so far."""
        solves_ms = 1e3 * np.array(self.solve_times_s)
        p50, p99 = np.percentile(solves_ms, [50, 99]) if len(solves_ms) else (math.nan, math.nan)
        return DriveSummary(
            laps=tuple(self.laps),
            control_rate_kept=self.control_rate_kept,
            solve_p50_ms=float(p50),
            solve_p99_ms=float(p99),
            estimator_position_rmse_m=self._estimator_rmse_m(),
            top_speed_mps=max((float(state[VX]) for _, state in self.truth), default=math.nan),
            distrusted=self.distrusted,
        )

    def errors(self) -> np.ndarray:
        """[N, 8] estimate minus truth, at the estimates' stamps inside the truth's."""
        if not self.estimates or len(self.truth) < 2:
            return np.empty((0, len(STATE)))
        times, states = _stacked(self.truth)
        states[:, YAW] = np.unwrap(states[:, YAW])
        stamps, estimates = _stacked(self.estimates)
        inside = (stamps >= times[0]) & (stamps <= times[-1])
        truth = np.stack([np.interp(stamps[inside], times, column) for column in states.T], axis=1)
        errors = estimates[inside] - truth
        errors[:, YAW] = wrap_angle(errors[:, YAW])
        return errors

    def _estimator_rmse_m(self) -> float:
        errors = self.errors()
        return float(np.sqrt((errors[:, [X, Y]] ** 2).sum(axis=1).mean())) if len(errors) else math.nan


def _stacked(samples: list[tuple[float, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([stamp for stamp, _ in samples]), np.stack([state for _, state in samples])


def _null_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
