"""How fast a track can be driven along its centre line: a reference for speed and a yardstick for lap times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track


@dataclass(frozen=True)
class SpeedProfile:
    """Speed along a track.

    Args:
        s: [M] evenly spaced arc lengths [m], from 0 on.
        speed: [M] [m/s].
        length_m: length of the track [m].
        closed: whether the last sample is followed by the first.
    """

    s: np.ndarray
    speed: np.ndarray
    length_m: float
    closed: bool

    def at(self, s: np.ndarray | float) -> np.ndarray:
        """Speed [m/s] at arc length ``s`` [...], linear between the samples."""
        return np.interp(s, self.s, self.speed, period=self.length_m if self.closed else None)

    @property
    def time_s(self) -> float:
        """Time of one lap, or from end to end: exact for constant acceleration between the samples [s]."""
        s, speed = self.s, self.speed
        if self.closed:
            s, speed = np.append(s, self.length_m), np.append(speed, speed[0])
        return float(np.sum(2 * np.diff(s) / (speed[1:] + speed[:-1])))


def speed_profile(
    track: Track,
    *,
    lateral_limit: float,
    acceleration_limit: float,
    braking_limit: float,
    top_speed: float,
    end_speed: float | None = None,
) -> SpeedProfile:
    """The fastest speed along the centre line inside a friction ellipse.

    Where the curvature is kappa the speed is at most ``sqrt(lateral_limit / |kappa|)``; a pass with the direction of
    travel limits the acceleration, and a pass against it the braking, to what cornering leaves of them:
    ``limit sqrt(1 - (v^2 kappa / lateral_limit)^2)``.

    Args:
        track: where to drive.
        lateral_limit: largest lateral acceleration [m/s^2].
        acceleration_limit: largest forward acceleration [m/s^2].
        braking_limit: largest deceleration, positive [m/s^2].
        top_speed: [m/s].
        end_speed: speed at the end of an open track [m/s]; None leaves it free.

    Raises:
        ConfigError: a limit is not positive.
    """
    limits = (lateral_limit, acceleration_limit, braking_limit, top_speed)
    if min(limits) <= 0:
        raise ConfigError(f"the limits of a speed profile must be positive, got {limits}")
    s = track.samples
    curvature = np.abs(track.at(s).curvature)
    ceiling = np.minimum(top_speed, np.sqrt(lateral_limit / np.maximum(curvature, 1e-12)))
    if end_speed is not None and not track.closed:
        ceiling[-1] = min(ceiling[-1], end_speed)
    step = float(s[1] - s[0])
    # The slowest point of a closed track is slow whatever comes before or after it: both passes may begin there.
    first = int(np.argmin(ceiling)) if track.closed else 0
    ceiling, curvature = np.roll(ceiling, -first), np.roll(curvature, -first)
    if track.closed:
        ceiling, curvature = np.append(ceiling, ceiling[0]), np.append(curvature, curvature[0])
    grip = curvature / lateral_limit
    forward = _pass(ceiling, grip, acceleration_limit, step)
    speed = _pass(forward[::-1], grip[::-1], braking_limit, step)[::-1]
    if track.closed:
        speed = np.roll(speed[:-1], first)
    return SpeedProfile(s, speed, track.length_m, track.closed)


def _pass(ceiling: np.ndarray, grip: np.ndarray, limit: float, step: float) -> np.ndarray:
    """[M] speeds below ``ceiling`` whose squares grow by at most 2 step x (what cornering leaves of ``limit``)."""
    square = ceiling**2
    for index in range(1, len(square)):
        before = square[index - 1]
        left = max(0.0, 1.0 - (before * grip[index - 1]) ** 2)
        square[index] = min(square[index], before + 2 * step * limit * left**0.5)
    return np.sqrt(square)
