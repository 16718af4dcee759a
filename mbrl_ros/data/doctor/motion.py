"""How the car moved by its poses: what every recorded velocity, rate and acceleration is held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mbrl_ros.data.doctor.lag import LagFit, fit_lag
from mbrl_ros.data.doctor.spans import Trace

SPAN_S = 0.4
"""Time over which poses are differenced [s]: long enough for their noise, short against a corner."""

LAGS_S = np.arange(-100, 101) * 0.01
"""Lags tried between two measurements, or a command and its response [s]."""

MATTERS_S = 0.05
"""A lag that a model must know of [s]: at 20 m/s and 0.3 rad/s it turns the car by a degree."""

_LEFT = 0.5
_STANDING_MPS, _SLOW = 0.3, 0.2


@dataclass(frozen=True, eq=False)
class Motion:
    """Means over spans of ``SPAN_S``, half of one apart, by the poses of one topic; NaN in gaps.

    Args:
        topic: whose poses.
        poses: x, y [m] and yaw [rad], not wrapped, over time.
        centre_s: [K] middles of the spans.
        velocity: [K] complex, x + iy in the frame of the poses [m/s].
        heading: [K] mean of the first and the last yaw of a span [rad].
        turn_rate: [K] rad/s.
    """

    topic: str
    poses: Trace
    centre_s: np.ndarray
    velocity: np.ndarray
    heading: np.ndarray
    turn_rate: np.ndarray

    @classmethod
    def by(cls, topic: str, time_s: np.ndarray, x: np.ndarray, y: np.ndarray, yaw: np.ndarray) -> Motion:
        """From poses [N] at ``time_s`` [N]."""
        poses = Trace(time_s, np.stack([x, y, np.unwrap(yaw)], axis=1))
        centre = np.arange(time_s[0] + SPAN_S / 2, time_s[-1] - SPAN_S / 2, SPAN_S / 2)
        first, last = poses.at(centre - SPAN_S / 2), poses.at(centre + SPAN_S / 2)
        change = (last - first) / SPAN_S
        return cls(
            topic,
            poses,
            centre,
            change[:, 0] + 1j * change[:, 1],
            (first[:, 2] + last[:, 2]) / 2,
            change[:, 2],
        )

    @property
    def body(self) -> np.ndarray:
        """[K] complex velocity, forward + i left [m/s]."""
        return np.asarray(self.velocity * np.exp(-1j * self.heading))

    @cached_property
    def moving(self) -> np.ndarray:
        """[K] bool: spans fast enough for ratios and angles to mean something."""
        speed = np.abs(self.velocity)
        known = speed[np.isfinite(speed)]
        top = float(np.percentile(known, 95)) if len(known) else 0.0
        return np.asarray(speed > max(_STANDING_MPS, _SLOW * top))

    def denies(self, fit: LagFit) -> bool:
        """Whether most of the turning is left by a fit to it; its variance alone is nothing on a steady circle."""
        turning = self.turn_rate[np.isfinite(self.turn_rate) & self.moving]
        return fit.rms**2 > _LEFT * float(np.mean(turning**2))

    def mean(self, trace: Trace, lag_s: float = 0.0) -> np.ndarray:
        """[K, C] means of other columns over the same spans, ``lag_s`` earlier."""
        start = self.centre_s - SPAN_S / 2 - lag_s
        return trace.mean(start, start + SPAN_S)

    def change(self, trace: Trace, lag_s: float = 0.0) -> np.ndarray:
        """[K, C] mean rates of change of other columns over the same spans, ``lag_s`` earlier."""
        start = self.centre_s - SPAN_S / 2 - lag_s
        return (trace.at(start + SPAN_S) - trace.at(start)) / SPAN_S

    def while_moving(self, values: np.ndarray) -> np.ndarray:
        """[K] ``values`` [K], NaN where the car does not move."""
        return np.where(self.moving, values, np.nan)

    def heading_by(self, turn_rate: Trace) -> LagFit | None:
        """The heading's own rate by a recorded turn rate, proportionally; its lag is how far the heading trails.

        The heading is the response because it is the noisier of the two: noise in a cause would bias the slope.
        """
        return fit_lag(self.while_moving(self.turn_rate), lambda lag: self.mean(turn_rate, lag), LAGS_S)
