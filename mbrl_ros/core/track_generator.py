"""Random closed tracks with a curvature limit, width limits and a given length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.core.track import Track

ATTEMPTS = 4000
"""Layouts tried before a wish is called impossible; most are refused because they cross themselves."""


class TrackSettings(Settings):
    """What a generated track must be like. The defaults suit a 1:10 car."""

    length_m: PositiveFloat = Field(default=70.0, description="length of the centre line")
    corners: int = Field(default=9, ge=3, le=40, description="number of corners between straights")
    min_radius_m: PositiveFloat = Field(default=1.2, description="smallest radius of the centre line")
    max_radius_m: PositiveFloat = Field(default=4.0, description="largest radius a corner is given")
    min_half_width_m: PositiveFloat = Field(default=0.75, description="smallest distance from centre line to edge")
    max_half_width_m: PositiveFloat = Field(default=1.0, description="largest distance from centre line to edge")
    gap_m: NonNegativeFloat = Field(default=0.3, description="least space between two parts of the track")

    @model_validator(mode="after")
    def _check(self) -> TrackSettings:
        if self.max_radius_m < self.min_radius_m or self.max_half_width_m < self.min_half_width_m:
            raise ValueError("a max_* value is below its min_* value")
        if self.min_radius_m < 1.1 * self.max_half_width_m:
            raise ValueError(
                f"min_radius_m {self.min_radius_m} must be at least 1.1 x max_half_width_m "
                f"{self.max_half_width_m}, or the inner edge would fold"
            )
        return self


def generate_track(seed: int, settings: TrackSettings | None = None, name: str = "") -> Track:
    """A random closed track: a chain of corners joined by straights, the same for the same seed and settings.

    Corners get random directions, angles (a whole turn in sum) and radii; in each the curvature rises linearly over
    the first quarter and falls over the last (clothoids), so it never exceeds 1 / min_radius_m and steering never
    jumps. The lengths of the straights are then the random ones nearest (least squares) to those wished for that
    close the track at the wanted length. Layouts that come nearer to themselves than ``gap_m`` are drawn again. The
    track starts in the middle of its longest straight, at the origin, heading along x.

    Raises:
        ConfigError: no layout fits; the message says what to loosen.
    """
    settings = settings or TrackSettings()
    generator = np.random.default_rng(seed)
    for _ in range(ATTEMPTS):
        layout = _draw(generator, settings)
        if layout is None:
            continue
        points = layout.points(_spacing(settings))
        if _comes_near(points, 2 * settings.max_half_width_m + settings.gap_m):
            continue
        left, right = (_widths(generator, len(points), settings) for _ in range(2))
        try:
            track = Track(points, left, right, name=name or f"seed {seed}")
        except DataError:  # crosses itself between neighbours that the distance test skips
            continue
        curvature = np.abs(track.at(track.samples).curvature).max()
        if curvature * settings.min_radius_m <= 1 and not track.doubtful(settings.gap_m / 2).any():
            return track
    raise ConfigError(
        f"no track of {settings.length_m:g} m with {settings.corners} corners of {settings.min_radius_m:g} to "
        f"{settings.max_radius_m:g} m and half widths to {settings.max_half_width_m:g} m found in {ATTEMPTS} attempts "
        f"(seed {seed}); make it longer, or the corners fewer or tighter"
    )


@dataclass(frozen=True)
class _Layout:
    """Corners in driving order and the straight after each."""

    angles: np.ndarray
    lengths: np.ndarray
    straights: np.ndarray

    def points(self, spacing: float) -> np.ndarray:
        """[N, 2] centre line, evenly spaced, from the middle of the longest straight."""
        longest = int(np.argmax(self.straights))
        angles, lengths, straights = (
            np.roll(values, -longest - 1) for values in (self.angles, self.lengths, self.straights)
        )
        ends = straights[-1] / 2 + np.cumsum(np.stack([lengths, straights], axis=1).ravel())
        starts = ends[::2] - lengths
        total = float(lengths.sum() + straights.sum())
        count = int(np.ceil(total / spacing))
        fine = 16
        s = np.linspace(0.0, total, count * fine + 1)
        heading = sum(
            angle * _turned((s - start) / length) for angle, start, length in zip(angles, starts, lengths, strict=True)
        )
        middle = (heading[1:] + heading[:-1]) / 2
        steps = np.stack([np.cos(middle), np.sin(middle)], axis=1) * (total / (count * fine))
        line = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
        line -= np.linspace(0, 1, len(line))[:, None] * line[-1]  # what the midpoint rule leaves open
        return line[:-1:fine]


def _turned(progress: np.ndarray) -> np.ndarray:
    """Share of a corner's angle turned at ``progress`` in [0, 1] of its length: curvature up, level, down."""
    p = np.clip(progress, 0.0, 1.0)
    ramp = 0.25
    rising = p**2 / (2 * ramp)
    level = p - ramp / 2
    falling = 1 - ramp - (1 - p) ** 2 / (2 * ramp)
    return np.where(p < ramp, rising, np.where(p < 1 - ramp, level, falling)) / (1 - ramp)


def _draw(generator: np.random.Generator, settings: TrackSettings) -> _Layout | None:
    """Corners and straights that close at the wanted length, or None where straights would be negative."""
    count = settings.corners
    angles = generator.uniform(np.radians(35), np.radians(170), count)
    angles *= np.where(generator.random(count) < 0.35, -1, 1)
    angles += (2 * np.pi - angles.sum()) / count
    if np.abs(angles).min() < np.radians(15) or np.abs(angles).max() > np.radians(200):
        return None
    tightest = 1.05 * settings.min_radius_m  # the spline through the points overshoots a little
    widest = max(tightest, settings.max_radius_m)
    radii = np.exp(generator.uniform(np.log(tightest), np.log(widest), count))
    lengths = np.abs(angles) * radii / 0.75  # the ramps make a corner longer than its arc
    if generator.random() < 0.5:
        angles = -angles
    before = np.concatenate([[0.0], np.cumsum(angles)[:-1]])
    p = (np.arange(200) + 0.5) / 200
    local = np.exp(1j * angles[:, None] * _turned(p)).mean(axis=1) * lengths  # a corner's own displacement
    corners = (local * np.exp(1j * before)).sum()
    along = np.exp(1j * (before + angles))  # direction of the straight after each corner
    left = settings.length_m - lengths.sum()
    if left <= 0:
        return None
    equations = np.stack([along.real, along.imag, np.ones(count)])
    wanted = np.array([-corners.real, -corners.imag, left])
    straights = generator.dirichlet(np.ones(count)) * left
    inverse = np.linalg.pinv(equations)
    for _ in range(50):
        straights = np.maximum(straights + inverse @ (wanted - equations @ straights), 0.0)
    residual = wanted - equations @ straights
    if np.abs(residual).max() > 1e-3 * settings.min_radius_m:
        return None
    return _Layout(angles, lengths, straights)


def _spacing(settings: TrackSettings) -> float:
    """Distance of the points: a few on the shortest ramp of curvature."""
    return settings.min_radius_m / 15


def _comes_near(points: np.ndarray, distance: float) -> bool:
    """Whether two parts of the closed line are nearer than ``distance``, neighbours along the line aside."""
    step = float(np.linalg.norm(points[1] - points[0]))
    stride = max(1, int(distance / 4 / step))
    coarse = points[::stride]
    apart = np.abs(np.arange(len(coarse))[:, None] - np.arange(len(coarse)))
    apart = np.minimum(apart, len(coarse) - apart) * stride * step
    gaps = np.linalg.norm(coarse[:, None] - coarse, axis=2)
    return bool(np.any((apart > np.pi * distance / 2) & (gaps < distance)))


def _widths(generator: np.random.Generator, count: int, settings: TrackSettings) -> np.ndarray:
    """[N] smooth random widths within the limits."""
    around = 2 * np.pi * np.arange(count) / count
    waves = np.arange(1, 6)
    weights, phases = generator.normal(size=5) / waves, generator.uniform(0, 2 * np.pi, 5)
    wave = (weights * np.sin(around[:, None] * waves + phases)).sum(axis=1)
    share = 0.5 + 0.5 * wave / max(np.abs(wave).max(), 1e-9)
    return settings.min_half_width_m + (settings.max_half_width_m - settings.min_half_width_m) * share
