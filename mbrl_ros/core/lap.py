"""Laps: times, and how well the car stayed on the track."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mbrl_ros.core.errors import DataError


@dataclass(frozen=True)
class Lap:
    """One completed lap.

    Args:
        number: 1 for the first.
        start_s: stamp at which the lap began [s].
        time_s: lap time [s].
        exits: how many times the car left the track; an excursion counts in the lap in which it began.
        min_clearance_m: smallest distance between the car's side and the track's edge, negative outside [m].
        mean_lateral_m: mean distance from the centre line over the lap's samples [m].
        max_lateral_m: largest distance from the centre line [m].
    """

    number: int
    start_s: float
    time_s: float
    exits: int
    min_clearance_m: float
    mean_lateral_m: float
    max_lateral_m: float


class LapTimer:
    """Times laps from samples of where the car is on a closed track.

    A lap is one track length of progress, driven forward; crossings of the line are interpolated between samples,
    and driving back over the line and forward again completes nothing. The car has left the track when its side,
    taken as half its width from its reference point, is beyond an edge.

    Args:
        length_m: length of the track [m].
        car_width_m: width of the car [m].
        line_m: arc length of the timing line [m]; None puts it where the first sample is, so that the first lap is
            a standing start. With a line given, driving up to it for the first time counts for nothing.
    """

    def __init__(self, length_m: float, car_width_m: float, line_m: float | None = None) -> None:
        self._length = length_m
        self._half_width = car_width_m / 2
        self._line = line_m
        self.laps: list[Lap] = []
        """Completed laps."""
        self.discarded = 0
        """Laps thrown away because the car was moved (a jump of more than a quarter of the track)."""
        self._started = False
        self._stamp = self._s = self._progress = self._target = 0.0
        self._outside = False
        self._begin_lap(0.0)

    @property
    def exits(self) -> int:
        """Exits in completed laps and in the present one."""
        return sum(lap.exits for lap in self.laps) + self._exits

    def add(self, stamp_s: float, s: float, lateral: float, width_left: float, width_right: float) -> Lap | None:
        """One sample of the car's place on the track; returns the lap it completes, if it does.

        Args:
            stamp_s: instant of the sample [s], later than the last one's.
            s: arc length [m].
            lateral: from the centre line, left positive [m].
            width_left: distance from the centre line to the left edge there [m].
            width_right: distance from the centre line to the right edge there [m].

        Raises:
            DataError: a value is not finite, or the stamp is not later than the last one's.
        """
        if not all(math.isfinite(value) for value in (stamp_s, s, lateral, width_left, width_right)):
            raise DataError(f"lap timer: a sample at {stamp_s} s is not finite")
        clearance = min(width_left - lateral, width_right + lateral) - self._half_width
        if not self._started:
            self._start(stamp_s, s)
        elif stamp_s <= self._stamp:
            raise DataError(f"lap timer: the sample at {stamp_s} s is not later than the last, at {self._stamp} s")
        half = self._length / 2
        moved = (s - self._s + half) % self._length - half
        if abs(moved) > half / 2:
            self.discarded += self._progress >= 0
            self._start(stamp_s, s)
            moved = 0.0
        before, self._progress = self._progress, self._progress + moved
        completed = self._cross(before, stamp_s)
        self._stamp, self._s = stamp_s, s
        self._measure(lateral, clearance)
        return completed

    def _start(self, stamp_s: float, s: float) -> None:
        self._started = True
        self._stamp, self._s = stamp_s, s
        self._outside = False
        self._line = s if self._line is None else self._line
        self._progress = -((self._line - s) % self._length)
        self._target = 0.0 if self._progress < 0 else self._length
        self._begin_lap(stamp_s)

    def _begin_lap(self, stamp_s: float) -> None:
        self._lap_start = stamp_s
        self._exits, self._samples = 0, 0
        self._sum_lateral, self._max_lateral, self._min_clearance = 0.0, 0.0, math.inf

    def _cross(self, before: float, stamp_s: float) -> Lap | None:
        """Ends the lap if the line was passed between progress ``before`` at the last sample and now."""
        if self._progress < self._target:
            return None
        share = (self._target - before) / (self._progress - before) if self._progress > before else 1.0
        crossed = self._stamp + share * (stamp_s - self._stamp)
        lap = None
        if self._target > 0:
            lap = Lap(
                len(self.laps) + 1,
                self._lap_start,
                crossed - self._lap_start,
                self._exits,
                self._min_clearance,
                self._sum_lateral / self._samples,
                self._max_lateral,
            )
            self.laps.append(lap)
        self._target += self._length
        self._begin_lap(crossed)
        return lap

    def _measure(self, lateral: float, clearance: float) -> None:
        outside = clearance < 0
        self._exits += outside and not self._outside
        self._outside = outside
        self._samples += 1
        self._sum_lateral += abs(lateral)
        self._max_lateral = max(self._max_lateral, abs(lateral))
        self._min_clearance = min(self._min_clearance, clearance)
