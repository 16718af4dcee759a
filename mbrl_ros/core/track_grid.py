"""Curvilinear coordinates of very many points at once, for compiled rollouts: a grid of nearest samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from mbrl_ros.core.speed_profile import SpeedProfile
from mbrl_ros.core.track import Track

LARGEST_GRID_CELLS = 2_000_000
"""The default cell is enlarged until the grid fits (4 bytes each)."""

_SMALLEST_STRETCH = 0.1


class TrackPoint(NamedTuple):
    """Where points are on the track; every tensor has the points' shape.

    Args:
        s: arc length of the nearest centre-line point, in [0, length) on a closed track [m].
        lateral: signed distance from the centre line, left positive [m].
        heading: direction of the centre line, may lie outside of [-pi, pi) by the bend of a cell [rad].
        curvature: left turns positive [1/m].
        width_left: distance from the centre line to the left edge [m].
        width_right: distance from the centre line to the right edge [m].
        speed: the speed profile's value [m/s]; 0 without a profile.
    """

    s: torch.Tensor
    lateral: torch.Tensor
    heading: torch.Tensor
    curvature: torch.Tensor
    width_left: torch.Tensor
    width_right: torch.Tensor
    speed: torch.Tensor


class TrackGrid(torch.nn.Module):
    """Batched, differentiable lookup of points on a track, without search and without branches.

    A grid over the plane holds, per cell, the centre-line sample nearest to the cell's centre. A point takes its
    cell's sample and projects itself onto the centre line expanded there: a curve whose curvature changes linearly,
    ``theta(t) = kappa t + kappa' t^2 / 2``, one Newton step after the circle's tangential foot. The index is a
    constant for derivatives; inside a cell everything is smooth, and between cells it jumps by less than the
    error that ``grid_error`` measures.

    A point outside of the grid uses the border's cell: its lateral then grows with the distance from that sample
    in any direction, so what is off the track stays off the track. Points that are not finite give NaN.

    All that depends on the track is in buffers, so one compiled program serves any track. Columns of the table are
    gathered one by one (and never by a scalar index), so that a compiler can vectorise and `vmap` can batch them.

    Args:
        track: the track.
        cell_m: edge of a cell, and spacing of the samples [m]; None takes a sixth of the narrowest half width or
            an eighth of the smallest radius, whichever is smaller.
        profile: speed profile to look up along with the geometry.
        margin_m: how far the grid reaches beyond the edges [m]; None takes the largest width.
        dtype: of the points and the results.
    """

    table: torch.Tensor
    nearest: torch.Tensor
    origin: torch.Tensor
    cells_per_m: torch.Tensor
    last_cell: torch.Tensor
    spacing: torch.Tensor
    length: torch.Tensor

    def __init__(
        self,
        track: Track,
        cell_m: float | None = None,
        profile: SpeedProfile | None = None,
        *,
        margin_m: float | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.closed = track.closed
        edges = np.concatenate(track.edges())
        widest = max(track.widths_left.max(), track.widths_right.max())
        margin = widest if margin_m is None else margin_m
        low, high = edges.min(axis=0) - margin, edges.max(axis=0) + margin
        cell = _default_cell(track, float(np.prod(high - low))) if cell_m is None else cell_m
        count = max(8, int(np.ceil(track.length_m / cell)))
        s = np.linspace(0.0, track.length_m, count, endpoint=not track.closed)
        cells = np.ceil((high - low) / cell).astype(int)
        table = _table(track, s, profile)
        self.register_buffer("table", torch.tensor(table, dtype=dtype))
        self.register_buffer("nearest", torch.from_numpy(_nearest(table, low, cell, cells, 2 * widest, track.closed)))
        self.register_buffer("origin", torch.tensor(low, dtype=dtype))
        self.register_buffer("cells_per_m", torch.tensor(1 / cell, dtype=dtype))
        self.register_buffer("last_cell", torch.tensor(cells - 1, dtype=torch.int64))
        self.register_buffer("spacing", torch.tensor(s[1] - s[0], dtype=dtype))
        self.register_buffer("length", torch.tensor(track.length_m, dtype=dtype))

    def forward(self, xy: torch.Tensor) -> TrackPoint:
        """Where the points ``xy`` [..., 2] [m] are on the track."""
        sample = self._sample(xy.detach())
        x, y, cos, sin, heading, curvature, bend, left, left_slope, right, right_slope, speed, speed_slope = (
            column[sample[..., None]].squeeze(-1) for column in self.table.unbind(-1)
        )
        dx, dy = xy[..., 0] - x, xy[..., 1] - y
        ahead, beside = cos * dx + sin * dy, cos * dy - sin * dx  # in the sample's frame
        reach = 4 * self.spacing  # a cell's sample is nearer than this to every foot, but where the band folds
        beyond = (ahead.abs() - reach / 2).clamp_min(0.0)  # zero inside of the grid
        t = (ahead / (1 - curvature * beside).clamp_min(_SMALLEST_STRETCH)).clamp(-reach, reach)
        angle = t * (curvature + bend * t / 2)
        tangent_x, tangent_y = torch.cos(angle), torch.sin(angle)
        bent = curvature * t
        foot_x = t * (1 - bent * (bent / 6 + bend * t**2 / 8))
        foot_y = t * (bent / 2 + bend * t**2 / 6 - bent**3 / 24)
        ahead, beside = ahead - foot_x, beside - foot_y
        along, across = tangent_x * ahead + tangent_y * beside, tangent_x * beside - tangent_y * ahead
        here = curvature + bend * t
        step = along / (1 - here * across).clamp_min(_SMALLEST_STRETCH)
        step = step.clamp(-reach, reach)
        lateral = across - here * step * along / 2 + torch.where(across >= 0, beyond, -beyond)
        t = t + step
        s = sample * self.spacing + t
        return TrackPoint(
            s - self.length * torch.floor(s.detach() / self.length) if self.closed else s,
            lateral,
            heading + t * (curvature + bend * t / 2),
            curvature + bend * t,
            left + left_slope * t,
            right + right_slope * t,
            speed + speed_slope * t,
        )

    def set_profile(self, profile: SpeedProfile) -> None:
        """Look up another speed profile from now on, in place."""
        s = self.spacing.item() * np.arange(len(self.table))
        columns = np.column_stack(_with_slope(profile.at(s), self.spacing.item(), self.closed))
        self.table[:, -2:] = torch.tensor(columns, dtype=self.table.dtype)

    def difference(self, to_s: torch.Tensor, from_s: torch.Tensor) -> torch.Tensor:
        """``to_s - from_s`` [m], on a closed track the short way round."""
        difference = to_s - from_s
        if not self.closed:
            return difference
        return difference - self.length * torch.round(difference.detach() / self.length)

    def _sample(self, xy: torch.Tensor) -> torch.Tensor:
        """[...] index of the sample near ``xy`` [..., 2]."""
        place = torch.nan_to_num((xy - self.origin) * self.cells_per_m)
        last = self.last_cell.to(xy.dtype)
        column, row = torch.minimum(place.clamp_min(0.0), last).to(torch.int64).split(1, dim=-1)
        return self.nearest[row * (self.last_cell[0] + 1) + column].squeeze(-1).to(torch.int64)


@dataclass(frozen=True)
class GridError:
    """Largest and 99th-percentile difference between a grid and the exact projection [m].

    Args:
        s_max, s_p99: of the arc length.
        lateral_max, lateral_p99: of the lateral position.
        ambiguous: share of the points left out, because they belong to two parts of the track (``Track.notes``).
    """

    s_max: float
    s_p99: float
    lateral_max: float
    lateral_p99: float
    ambiguous: float


def grid_error(track: Track, grid: TrackGrid, count: int = 20_000, seed: int = 0) -> GridError:
    """The error of ``grid`` at ``count`` points spread evenly at random over the band of ``track``."""
    generator = np.random.default_rng(seed)
    s = generator.uniform(0, track.length_m, count)
    section = track.at(s)
    lateral = generator.uniform(-section.width_right, section.width_left)
    xy = track.to_xy(s, lateral)
    exact = track.project(xy)
    clear = np.abs(exact.lateral - lateral) < 1e-6 * track.length_m
    with torch.no_grad():
        found = grid(torch.tensor(xy[clear], dtype=grid.table.dtype))
    s_error = np.abs(track.difference(found.s.double().numpy(), exact.s[clear]))
    lateral_error = np.abs(found.lateral.double().numpy() - exact.lateral[clear])
    return GridError(
        float(s_error.max()),
        float(np.quantile(s_error, 0.99)),
        float(lateral_error.max()),
        float(np.quantile(lateral_error, 0.99)),
        float(1 - clear.mean()),
    )


def _default_cell(track: Track, area: float) -> float:
    radius = 1 / max(np.abs(track.at(track.samples).curvature).max(), 1e-9)
    narrowest = min(track.widths_left.min(), track.widths_right.min())
    return float(max(min(narrowest / 6, radius / 8), np.sqrt(area / LARGEST_GRID_CELLS)))


def _table(track: Track, s: np.ndarray, profile: SpeedProfile | None) -> np.ndarray:
    """[M, 13] rows: x, y, cos and sin of the heading, heading, and four quantities, each with its slope along s."""
    section = track.at(s)
    speed = profile.at(s) if profile is not None else np.zeros(len(s))
    columns = [*section.position.T, np.cos(section.heading), np.sin(section.heading), section.heading]
    for values in (section.curvature, section.width_left, section.width_right, speed):
        columns += _with_slope(values, s[1] - s[0], track.closed)
    return np.column_stack(columns)


def _with_slope(values: np.ndarray, spacing: float, closed: bool) -> list[np.ndarray]:
    if closed:
        return [values, (np.roll(values, -1) - np.roll(values, 1)) / (2 * spacing)]
    return [values, np.gradient(values, spacing)]


def _nearest(
    table: np.ndarray, low: np.ndarray, cell: float, cells: np.ndarray, band_m: float, closed: bool
) -> np.ndarray:
    """[rows x columns] int32: index of the sample nearest to each cell's centre, row by row.

    A distance transform over the cells finds the right stretch of track in linear time; within ``band_m`` of the
    centre line a descent along the samples then finds the nearest one.
    """
    place = ((table[:, :2] - low) / cell).astype(int)
    sample = np.full((cells[1], cells[0]), -1, dtype=np.int32)
    sample[place[:, 1], place[:, 0]] = np.arange(len(table))
    distance, (rows, columns) = distance_transform_edt(sample < 0, return_indices=True)
    sample = sample[rows, columns]
    row, column = np.nonzero(distance * cell < band_m)
    centre = low + cell * (np.column_stack([column, row]) + 0.5)
    found = sample[row, column]
    for stride in (4, 2, 1, 1):
        around = found[:, None] + stride * np.arange(-1, 2)
        around = around % len(table) if closed else np.clip(around, 0, len(table) - 1)
        best = np.linalg.norm(table[around, :2] - centre[:, None], axis=2).argmin(axis=1)
        found = around[np.arange(len(found)), best]
    sample[row, column] = found
    return sample.ravel()
