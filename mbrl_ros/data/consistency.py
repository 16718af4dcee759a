"""Whether a recording's velocities and poses tell the same story."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mbrl_ros.core import mapped
from mbrl_ros.core.layout import VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.recording import Segment

_SPAN_S = 0.5
_MOVING_MPS, _TURNING_RADPS = 0.5, 0.05
_AGREE = (0.7, 1.4)


def contradictions(segments: Sequence[Segment], dt: float) -> list[str]:
    """Sentences on velocities that the poses deny by more than a third or so; empty where they agree.

    Compared are the distance and the angle covered in half-second spans in which pose or twist says that the
    car moves, so that the noise of a standing car does not add up.
    """
    k = max(1, round(_SPAN_S / dt))
    driven, turned = np.zeros(2), np.zeros(2)
    for segment, rows in _parts(segments, k):
        state = segment.state[rows]
        ends = state[::k]
        spans = state[:-1].reshape(-1, k, state.shape[1]).mean(axis=1)
        by_pose = np.hypot(*np.diff(ends[:, [X, Y]], axis=0).T)
        by_twist = np.hypot(spans[:, VX], np.nan_to_num(spans[:, VY])) * k * dt
        moving = np.maximum(by_pose, by_twist) > _MOVING_MPS * k * dt
        driven += by_pose[moving].sum(), by_twist[moving].sum()
        by_heading = np.abs(np.diff(np.unwrap(ends[:, YAW])))
        by_rate = np.abs(spans[:, YAW_RATE]) * k * dt
        turning = np.maximum(by_heading, by_rate) > _TURNING_RADPS * k * dt
        turned += by_heading[turning].sum(), by_rate[turning].sum()
        segment.let_go()
    found = []
    if _disagree(driven):
        found.append(
            f"velocity contradicts pose: the car went {driven[0]:.1f} m by its positions but {driven[1]:.1f} m "
            "by its velocity; check the topics, the twist's frame and its unit"
        )
    if _disagree(turned):
        found.append(
            f"yaw rate contradicts heading: the car turned {turned[0]:.1f} rad by its headings but "
            f"{turned[1]:.1f} rad by its yaw rate; check the topics, and for degrees"
        )
    return found


def _parts(segments: Sequence[Segment], k: int) -> Iterator[tuple[Segment, slice]]:
    """Rows of whole spans of ``k`` steps, from the first to the last state of them, a block after another."""
    together = max(1, mapped.BLOCK // k) * k
    for segment in segments:
        last = (len(segment) - 1) // k * k
        for first in range(0, last, together):
            yield segment, slice(first, min(first + together, last) + 1)


def _disagree(amounts: np.ndarray) -> bool:
    by_pose, by_twist = amounts
    return max(amounts) > 1.0 and not _AGREE[0] * by_pose < by_twist < _AGREE[1] * by_pose
