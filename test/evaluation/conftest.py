"""Drives whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from mbrl_ros.core.layout import ACTIONS, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.recording import Drive, Segment

START_S = 1_700_000_000.0


def euler_poses(state: np.ndarray, dt: float) -> np.ndarray:
    """``state`` with its pose integrated along its own body velocities."""
    yaw = np.concatenate([[0.0], np.cumsum(state[:-1, YAW_RATE] * dt)])
    vx, vy = state[:, VX], state[:, VY]
    steps = np.stack([vx * np.cos(yaw) - vy * np.sin(yaw), vx * np.sin(yaw) + vy * np.cos(yaw)], axis=1) * dt
    state[:, YAW] = (yaw + np.pi) % (2 * np.pi) - np.pi
    state[1:, [X, Y]] = np.cumsum(steps[:-1], axis=0)
    return state


@pytest.fixture(scope="session")
def drive_of() -> Callable[..., Drive]:
    """Makes a drive of states (and actions), cut into segments at given rows.

    With ``integrate`` the poses are those that the body velocities lead to (Euler).
    """

    def make(
        state: np.ndarray,
        action: np.ndarray | None = None,
        dt: float = 0.02,
        cuts: tuple[int, ...] = (),
        source: str = "made",
        integrate: bool = False,
    ) -> Drive:
        state = euler_poses(state.copy(), dt) if integrate else state
        action = np.zeros((len(state), 2)) if action is None else action
        time_s = START_S + dt * np.arange(len(state))
        edges = [0, *cuts, len(state)]
        segments = tuple(
            Segment(time_s[a:b], state[a:b], action[a:b], ACTIONS["acceleration"]) for a, b in pairwise(edges)
        )
        return Drive(segments, dt, "cg", source, source_hash=f"hash of {source}")

    return make


@pytest.fixture(scope="session")
def weaving(drive_of: Callable[..., Drive]) -> Drive:
    """20 s of changing speed and yaw rate; poses follow from them exactly (Euler)."""
    t = 0.02 * np.arange(1000)
    state = np.zeros((1000, 8))
    state[:, VX], state[:, VY], state[:, YAW_RATE] = 8 + 2 * np.sin(t), 0.2 * np.sin(2 * t), 0.5 * np.cos(0.7 * t)
    state[:, 6], state[:, 7] = 0.1 * np.cos(0.7 * t), 2 * np.cos(t)
    return drive_of(state, integrate=True)
