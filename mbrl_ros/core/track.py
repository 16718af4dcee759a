"""A track: a centre line with widths, and curvilinear (Frenet) coordinates along it, exact in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.track_file import COLUMNS, read_rows, write_rows

SHARPEST_TURN_RAD = 2.2
"""A larger change of direction at one point means points out of order, not a corner."""

_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(8)


@dataclass(frozen=True)
class TrackSection:
    """The track across at some arc lengths; every array has the shape of the question.

    Args:
        position: [..., 2] centre line [m].
        heading: direction of the centre line in [-pi, pi) [rad].
        curvature: left turns positive [1/m].
        width_left: distance from the centre line to the left edge [m].
        width_right: distance from the centre line to the right edge [m].
    """

    position: np.ndarray
    heading: np.ndarray
    curvature: np.ndarray
    width_left: np.ndarray
    width_right: np.ndarray


@dataclass(frozen=True)
class Projection:
    """The nearest point of the centre line.

    Args:
        s: arc length of that point, in [0, length) on a closed track [m].
        lateral: signed distance from the centre line, left positive [m].
        section: the track across at ``s``.
    """

    s: np.ndarray
    lateral: np.ndarray
    section: TrackSection


class Track:
    """A cubic spline through centre-line points, parametrised by its arc length, with a width to either side.

    The spline runs over the chord length ``u``; arc length is integrated along it (8-point Gauss-Legendre between
    neighbouring points) and inverted by Newton's method, so positions at ``s`` are exact to about 1e-9 of a spacing.
    Widths are linear in ``s`` between the points.

    Args:
        points: [N >= 4, 2] centre line [m]; of a closed track the first point is not repeated.
        width_left: [N] distance to the left edge, positive [m].
        width_right: [N] distance to the right edge, positive [m].
        closed: whether the last point is followed by the first.
        name: names the track in errors and tables.
        where: names a point in errors, by its index.

    Raises:
        DataError: too few points, repeated points, a line that doubles back or crosses itself, widths that are not
            positive, or values that are not finite.
    """

    def __init__(
        self,
        points: np.ndarray,
        width_left: np.ndarray,
        width_right: np.ndarray,
        *,
        closed: bool = True,
        name: str = "track",
        where: Callable[[int], str] = lambda index: f"point {index}",
    ) -> None:
        self.points = np.array(points, dtype=float)
        self.widths_left = np.array(width_left, dtype=float)
        self.widths_right = np.array(width_right, dtype=float)
        self.closed = closed
        self.name = name
        self._check(where)
        knots = np.vstack([self.points, self.points[:1]]) if closed else self.points
        chords = np.linalg.norm(np.diff(knots, axis=0), axis=1)
        self._u = np.concatenate([[0.0], np.cumsum(chords)])
        self._spline = CubicSpline(self._u, knots, bc_type="periodic" if closed else "natural")
        self._s = np.concatenate([[0.0], np.cumsum(self._arc(self._u[:-1], self._u[1:]))])
        self.length_m = float(self._s[-1])
        """Length of the centre line [m]."""
        self._index_samples()
        self._check_crossing(where)

    @staticmethod
    def from_csv(path: str | Path, *, closed: bool = True) -> Track:
        """The track in a CSV file with the header ``# x_m,y_m,w_tr_right_m,w_tr_left_m`` (the ``#`` may be missing).

        Columns are found by name; lines that begin with ``#`` are comments.

        Raises:
            DataError: the file cannot be read or is no track; the message names line, field and fix.
        """
        rows, numbers = read_rows(path)
        return Track(
            rows[:, :2],
            rows[:, 3],
            rows[:, 2],
            closed=closed,
            name=Path(path).stem,
            where=lambda index: f"{path}: line {numbers[index]}" if index < len(numbers) else str(path),
        )

    def to_csv(self, path: str | Path, comments: Sequence[str] = ()) -> None:
        """Write the points and widths as ``from_csv`` reads them, below ``comments``."""
        write_rows(path, np.column_stack([self.points, self.widths_right, self.widths_left]), comments)

    def at(self, s: np.ndarray | float) -> TrackSection:
        """The track across at arc length ``s`` [...] [m], wrapped on a closed track, held at an open one's ends."""
        s = self._inside(s)
        return self._section(s, self._u_at(s))

    def to_xy(self, s: np.ndarray | float, lateral: np.ndarray | float) -> np.ndarray:
        """[..., 2] position [m] at arc length ``s`` [...] and ``lateral`` [...] from the centre line, left positive."""
        section = self.at(s)
        normal = np.stack([-np.sin(section.heading), np.cos(section.heading)], axis=-1)
        return section.position + np.asarray(lateral, dtype=float)[..., None] * normal

    def project(self, xy: np.ndarray) -> Projection:
        """The nearest point of the centre line to ``xy`` [..., 2] [m].

        Newton's method on ``(xy - p(u)) . p'(u) = 0`` between the neighbours of the nearest sample, with bisection
        where a step would leave them. Beyond the ends of an open track ``s`` is that of the end.

        Raises:
            DataError: a position is not finite.
        """
        xy = np.asarray(xy, dtype=float)
        if not np.isfinite(xy).all():
            raise DataError("cannot project a position that is not finite")
        flat = xy.reshape(-1, 2)
        u = self._foot(flat)
        s = self._inside(self._arc_at(u)).reshape(xy.shape[:-1])
        section = self._section(s, u.reshape(s.shape))
        offset = xy - section.position
        lateral = np.cos(section.heading) * offset[..., 1] - np.sin(section.heading) * offset[..., 0]
        return Projection(s, lateral, section)

    def difference(self, to_s: np.ndarray | float, from_s: np.ndarray | float) -> np.ndarray:
        """``to_s - from_s`` [m], on a closed track the short way round: in [-length / 2, length / 2)."""
        difference = np.asarray(to_s, dtype=float) - from_s
        half = self.length_m / 2
        return (difference + half) % self.length_m - half if self.closed else difference

    @property
    def samples(self) -> np.ndarray:
        """[M] arc lengths [m], evenly spaced and fine enough to see every corner and width."""
        return self._sample_s

    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """Left and right edge, each [M, 2] [m], at ``samples``."""
        section = self.at(self.samples)
        return self.to_xy(self.samples, section.width_left), self.to_xy(self.samples, -section.width_right)

    def doubtful(self, gap_m: float = 0.0) -> np.ndarray:
        """[M] bool: samples from where an edge, ``gap_m`` further out, is nearer to another part of the centre line.

        There the band folds (wider than the radius of the corner) or overlaps itself, and coordinates of points near
        that edge jump between two parts of the track.
        """
        doubtful = np.zeros(len(self.samples), dtype=bool)
        section = self.at(self.samples)
        for lateral in (section.width_left + gap_m, -section.width_right - gap_m):
            found = self.project(self.to_xy(self.samples, lateral))
            doubtful |= np.abs(found.lateral - lateral) > 1e-3 * np.abs(lateral)
        return doubtful

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What to know before trusting coordinates on this track, each a sentence a person can read."""
        doubtful = self.doubtful()
        if not doubtful.any():
            return ()
        first = float(self.samples[np.flatnonzero(doubtful)[0]])
        note = (
            f"over {100 * doubtful.mean():.1f} % of its length (first at s = {first:.1f} m) the band is"
            " wider than the corner's radius or overlaps another part; positions near that edge belong"
            " to two parts of the track"
        )
        return (note,)

    def _inside(self, s: np.ndarray | float) -> np.ndarray:
        s = np.asarray(s, dtype=float)
        if not self.closed:
            return np.clip(s, 0.0, self.length_m)
        wrapped = s % self.length_m
        return np.where(wrapped < self.length_m, wrapped, 0.0)  # -1e-17 % length is length

    def _section(self, s: np.ndarray, u: np.ndarray) -> TrackSection:
        tangent = self._spline(u, 1)
        heading = wrap_angle(np.arctan2(tangent[..., 1], tangent[..., 0]))
        left, right = self._width(s, self.widths_left), self._width(s, self.widths_right)
        return TrackSection(self._spline(u), heading, self._curvature(u), left, right)

    def _curvature(self, u: np.ndarray) -> np.ndarray:
        first, second = self._spline(u, 1), self._spline(u, 2)
        turning = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
        return turning / np.linalg.norm(first, axis=-1) ** 3

    def _width(self, s: np.ndarray, widths: np.ndarray) -> np.ndarray:
        return np.interp(s, self._s, np.append(widths, widths[0]) if self.closed else widths)

    def _arc(self, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Arc length [m] from ``start`` [...] to ``end`` [...] inside one piece of the spline."""
        half = (end - start) / 2
        nodes = ((start + end) / 2)[..., None] + half[..., None] * _GAUSS_NODES
        return half * (np.linalg.norm(self._spline(nodes, 1), axis=-1) @ _GAUSS_WEIGHTS)

    def _arc_at(self, u: np.ndarray) -> np.ndarray:
        piece = np.clip(np.searchsorted(self._u, u, side="right") - 1, 0, len(self._u) - 2)
        return self._s[piece] + self._arc(self._u[piece], u)

    def _u_at(self, s: np.ndarray) -> np.ndarray:
        piece = np.clip(np.searchsorted(self._s, s, side="right") - 1, 0, len(self._s) - 2)
        start, end = self._u[piece], self._u[piece + 1]
        u = start + (end - start) * (s - self._s[piece]) / (self._s[piece + 1] - self._s[piece])
        for _ in range(8):
            error = self._s[piece] + self._arc(start, u) - s
            if np.all(np.abs(error) < 1e-11 * self.length_m):
                break
            u = np.clip(u - error / np.linalg.norm(self._spline(u, 1), axis=-1), start, end)
        return u

    def _foot(self, xy: np.ndarray) -> np.ndarray:
        nearest = self._tree.query(xy)[1]
        low, high = self._bracket_u[nearest], self._bracket_u[nearest + 2]
        u = self._bracket_u[nearest + 1]
        for _ in range(40):
            first, second = self._curve(u, 1), self._curve(u, 2)
            offset = xy - self._curve(u, 0)
            value = np.einsum("ij,ij->i", offset, first)  # positive: the foot lies further on
            low, high = np.where(value >= 0, u, low), np.where(value <= 0, u, high)
            slope = np.einsum("ij,ij->i", first, first) - np.einsum("ij,ij->i", offset, second)
            step = value / np.where(slope > 0, slope, np.inf)
            newton = u + step
            fine = (newton >= low) & (newton <= high) & (slope > 0)
            following = np.where(fine, newton, (low + high) / 2)
            done = np.all(np.abs(following - u) < 1e-12 * self._u[-1])
            u = following
            if done:
                break
        return u % self._u[-1] if self.closed else u

    def _curve(self, u: np.ndarray, derivative: int) -> np.ndarray:
        return self._spline(u % self._u[-1] if self.closed else u, derivative)

    def _index_samples(self) -> None:
        """Samples along the line for the search of the nearest, and their neighbours' ``u`` that bracket a foot."""
        middles = (self._u[:-1] + self._u[1:]) / 2
        sharpest = np.abs(self._curvature(np.concatenate([self._u, middles]))).max()
        scale = min(self.widths_left.min(), self.widths_right.min(), 1 / max(sharpest, 1e-9))
        count = int(np.clip(np.ceil(4 * self.length_m / scale), 64, 100_000))
        self._sample_s = np.linspace(0.0, self.length_m, count, endpoint=not self.closed)
        u = self._u_at(self._sample_s)
        self._tree = cKDTree(self._spline(u))
        before, after = (u[-1] - self._u[-1], self._u[-1] + u[0]) if self.closed else (u[0], u[-1])
        self._bracket_u = np.concatenate([[before], u, [after]])

    def _check(self, where: Callable[[int], str]) -> None:
        points, widths = self.points, np.column_stack([self.widths_left, self.widths_right])
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 4 or widths.shape != points.shape:
            raise DataError(
                f"{where(len(points))}: a track needs at least 4 points, each with two widths; got points "
                f"{points.shape} and widths {widths.shape}"
            )
        for name, values in zip(COLUMNS, (*points.T, self.widths_right, self.widths_left), strict=True):
            for index in np.flatnonzero(~np.isfinite(values))[:1]:
                raise DataError(f"{where(index)}: field '{name}' is {values[index]}; remove or repair this point")
        for name, values in ((COLUMNS[2], self.widths_right), (COLUMNS[3], self.widths_left)):
            for index in np.flatnonzero(values <= 0)[:1]:
                raise DataError(
                    f"{where(index)}: field '{name}' is {values[index]}; a width is the positive distance [m] from "
                    "the centre line to that edge"
                )
        chords = np.diff(np.vstack([points, points[:1]]) if self.closed else points, axis=0)
        lengths = np.linalg.norm(chords, axis=1)
        for index in np.flatnonzero(lengths < 1e-9 * max(lengths.sum(), 1e-300))[:1]:
            last = self.closed and index == len(points) - 1
            raise DataError(
                f"{where(index)}: fields 'x_m', 'y_m' repeat "
                + ("the first point; remove this line, the track closes by itself" if last else "in the next point")
            )
        headings = np.arctan2(chords[:, 1], chords[:, 0])
        turns = wrap_angle(np.roll(headings, -1) - headings if self.closed else np.diff(headings))
        for index in np.flatnonzero(np.abs(turns) > SHARPEST_TURN_RAD)[:1]:
            raise DataError(
                f"{where((index + 1) % len(points))}: the line turns back by {np.degrees(abs(turns[index])):.0f} "
                "degrees at this point; points are out of order, or the last ones overlap the first"
            )

    def _check_crossing(self, where: Callable[[int], str]) -> None:
        """A line that crosses itself has no unique coordinates at the crossing."""
        start = self._spline(self._bracket_u[1:-1])
        end = np.roll(start, -1, axis=0)
        if not self.closed:
            start, end = start[:-1], end[:-1]
        reach = np.linalg.norm(end - start, axis=1).max()
        pairs = cKDTree((start + end) / 2).query_pairs(1.01 * reach, output_type="ndarray")
        apart = pairs[:, 1] - pairs[:, 0]
        pairs = pairs[(apart > 1) & (apart < len(start) - 1)]
        a, b, c, d = start[pairs[:, 0]], end[pairs[:, 0]], start[pairs[:, 1]], end[pairs[:, 1]]
        crossing = (_side(a, b, c) * _side(a, b, d) < 0) & (_side(c, d, a) * _side(c, d, b) < 0)
        for first, second in pairs[crossing][:1]:
            near = [int(np.searchsorted(self._s, self._sample_s[index], side="right")) - 1 for index in (first, second)]
            raise DataError(
                f"{where(near[0])}: the centre line crosses itself (again near {where(near[1])}); "
                "its coordinates would be ambiguous there"
            )


def _side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area of the triangles a, b, c: positive where c is to the left of the line from a to b."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
