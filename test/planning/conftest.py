"""A car, a track, and rollouts of the two that are compiled once per machine (kept in the user's cache)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import ParametricModel, build_for
from mbrl_ros.planning.rollouts import Rollouts

ROOT = Path(__file__).resolve().parents[2]
DT = 0.05


@pytest.fixture(scope="session")
def vehicle() -> Vehicle:
    return read_settings(ROOT / "config" / "vehicles" / "f1tenth.yaml", Vehicle)


@pytest.fixture(scope="session")
def track() -> Track:
    return generate_track(0, TrackSettings(length_m=30.0, corners=5, max_radius_m=2.0))


def racing_task(track: Track, vehicle: Vehicle, **weights: float) -> RacingTask:
    return RacingTask(track, vehicle, RacingSettings(**{"acceleration_limit_mps2": 5.5, **weights}), dt=DT)


@pytest.fixture
def car(vehicle: Vehicle) -> ParametricModel:
    return build_for(vehicle, "kinematic_bicycle", dt=DT)


@pytest.fixture
def race(track: Track, vehicle: Vehicle) -> RacingTask:
    return racing_task(track, vehicle)


@pytest.fixture
def compiled(car: ParametricModel, race: RacingTask) -> Rollouts:
    rollouts = Rollouts(car, race, "compiled")
    rollouts.warm_up()
    assert rollouts.backend == "compiled", rollouts.note
    return rollouts


@pytest.fixture
def start(track: Track) -> torch.Tensor:
    """On the track's first point, driving along it at 3 m/s."""
    section = track.at(0.0)
    return torch.tensor([*section.position, float(section.heading), 3.0, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture
def actions() -> torch.Tensor:
    """[K, H, A] of any kind; K is no multiple of a vector."""
    drawn = np.random.default_rng(0).normal(size=(101, 50, 2)) * [0.15, 2.0]
    return torch.tensor(drawn, dtype=torch.float32)
