"""Whether the recorded velocities tell the same story as the pose, which is what predictions are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mbrl_ros.core.layout import STATE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.recording import Drive, Segment, thinned

SPAN_S = 0.4
"""Time over which poses are differenced [s]: long enough for their noise, short against a corner."""

_SLOPES = (0.6, 1.6)  # of pose over velocity, outside of which they contradict each other
_LATEST_S = 0.1  # by which a yaw rate may trail the heading
_SEARCH_S = 0.6
_LEAST = 0.02  # rms of vy [m/s] and yaw rate [rad/s] below which there is nothing to compare
_SPEEDS = (0.95, 1.05)


@dataclass(frozen=True)
class Agreement:
    """What the pose says about the recorded velocities.

    Args:
        trusted: [8] state entries that the pose does not deny.
        sentences: contradictions in plain words.
    """

    trusted: np.ndarray
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class _Spans:
    """Means over spans of ``SPAN_S``, one row per sample: what the pose and the twist say."""

    pose: np.ndarray  # [N, 3] vx, vy, yaw rate by the pose
    twist: np.ndarray  # [N, 3] the recorded ones


def heading_rate(segment: Segment, dt: float, span_s: float) -> np.ndarray:
    """[N] rate of the recorded heading over ``span_s`` around each row [rad/s], shorter at the ends."""
    half = max(1, round(span_s / 2 / dt))
    yaw = np.unwrap(segment.state[:, YAW])
    row = np.arange(len(yaw))
    first, last = np.maximum(row - half, 0), np.minimum(row + half, len(yaw) - 1)
    return (yaw[last] - yaw[first]) / ((last - first) * dt)


def compare_with_pose(drives: Sequence[Drive], min_speed: float) -> Agreement:
    """Compare recorded velocities with the pose's own changes where vx is above ``min_speed`` [m/s].

    A lateral velocity or yaw rate that the pose denies is not trusted: predictions are neither begun with it nor
    held to it. Of much driving pieces are looked at.
    """
    dt = drives[0].dt
    trusted = np.ones(len(STATE), dtype=bool)
    spans = [
        _spans(segment, dt) for drive in thinned(drives) for segment in drive.segments if len(segment) > SPAN_S / dt + 1
    ]
    pose = np.concatenate([np.zeros((0, 3)), *(s.pose for s in spans)])
    twist = np.concatenate([np.zeros((0, 3)), *(s.twist for s in spans)])
    moving = twist[:, 0] > min_speed
    pose, twist = pose[moving], twist[moving]
    if len(pose) < 2:
        return Agreement(trusted, ())
    sentences = []
    scale = _slope(pose[:, 0], twist[:, 0])
    if not _SPEEDS[0] <= scale <= _SPEEDS[1]:
        sentences.append(
            f"the position moves {scale:.2f} times as far as the recorded speed says: the speed is that of slipping "
            "wheels or has the wrong scale, and predicted positions inherit it"
        )
    if np.sqrt(np.mean(twist[:, 1] ** 2)) > _LEAST:  # False where it is not recorded
        slope, error = _slope_and_error(pose[:, 1], twist[:, 1], len(pose) * dt)
        trusted[VY] = _SLOPES[0] < slope + 3 * error and slope - 3 * error < _SLOPES[1]
        if not trusted[VY]:
            sentences.append(
                f"the recorded vy contradicts the pose, which moves sideways {slope:.2f} ± {error:.2f} times as fast: "
                "another reference point or another source than the pose; vy is not used"
            )
    if np.sqrt(np.mean(twist[:, 2] ** 2)) > _LEAST:
        late_s = _late(spans, dt, min_speed)
        trusted[YAW_RATE] = abs(late_s) <= _LATEST_S
        if not trusted[YAW_RATE]:
            sentences.append(
                f"the recorded yaw rate is {'behind' if late_s > 0 else 'ahead of'} the heading's own rate by "
                f"{abs(late_s):.2f} s: it is filtered or comes from another clock; it is not used, and a delay "
                "read off it would be too long"
            )
    return Agreement(trusted, tuple(sentences))


def _spans(segment: Segment, dt: float) -> _Spans:
    k = max(1, round(SPAN_S / dt))
    state = segment.state
    yaw = np.unwrap(state[:, YAW])
    middle = (yaw[k:] + yaw[:-k]) / 2
    dx, dy = ((state[k:, column] - state[:-k, column]) / (k * dt) for column in (X, Y))
    cos, sin = np.cos(middle), np.sin(middle)
    pose = np.stack([cos * dx + sin * dy, cos * dy - sin * dx, (yaw[k:] - yaw[:-k]) / (k * dt)], axis=1)
    velocity = state[:, [VX, VY, YAW_RATE]]
    integral = np.vstack([np.zeros(3), np.cumsum((velocity[1:] + velocity[:-1]) / 2, axis=0)])
    return _Spans(pose, (integral[k:] - integral[:-k]) / k)


def _slope(y: np.ndarray, x: np.ndarray) -> float:
    return float(x @ y / (x @ x))


def _slope_and_error(y: np.ndarray, x: np.ndarray, duration_s: float) -> tuple[float, float]:
    """Slope of ``y`` over ``x`` about their means, and its jackknife error over blocks of ten spans."""
    x, y = x - x.mean(), y - y.mean()
    blocks = np.array_split(np.arange(len(x)), max(2, round(duration_s / (10 * SPAN_S))))
    xy, xx = np.array([x[b] @ y[b] for b in blocks]), np.array([x[b] @ x[b] for b in blocks])
    without = (xy.sum() - xy) / np.maximum(xx.sum() - xx, 1e-12)
    spread = np.sqrt((len(blocks) - 1) * np.mean((without - without.mean()) ** 2))
    return float(xy.sum() / xx.sum()), float(spread)


def _late(spans: Sequence[_Spans], dt: float, min_speed: float) -> float:
    """Lag [s] of the recorded yaw rate behind the pose's that leaves the least absolute difference, to a sample.

    The absolute difference, not its square: headings jump.
    """
    reach = round(_SEARCH_S / dt)
    differences = np.zeros(2 * reach + 1)
    for span in spans:
        count = len(span.pose)
        if count <= 2 * reach:
            continue
        inner = slice(reach, count - reach)
        moving = span.twist[inner, 0] > min_speed
        for i, lag in enumerate(range(-reach, reach + 1)):
            shifted = span.twist[reach + lag : count - reach + lag, 2]
            differences[i] += np.abs(span.pose[inner, 2] - shifted)[moving].sum()
    return float(differences.argmin() - reach) * dt
