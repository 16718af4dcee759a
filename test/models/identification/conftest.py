"""Driving whose truth is known: a model of the project, driven by smooth random commands, and its sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import delayed
from mbrl_ros.core.layout import ACCELERATION, STATE, STEERING_ANGLE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.models.parametric import ParametricModel, build


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors: more threads wait for each other longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


START_S = 1_700_000_000.0
NOISE = {X: 0.01, Y: 0.01, YAW: 0.002, VX: 0.02, VY: 0.02, YAW_RATE: 0.005}


def smooth(rng: np.random.Generator, count: int, dt: float, hold_s: float) -> np.ndarray:
    """[count] a random signal of unit size that changes direction about every ``hold_s`` seconds."""
    knots = np.arange(0.0, count * dt + 2 * hold_s, hold_s)
    return np.interp(np.arange(count) * dt, knots, rng.uniform(-1, 1, len(knots)))


def commands(
    rng: np.random.Generator, count: int, dt: float, speed: float, steering: float, drive: str, hold_s: float
) -> np.ndarray:
    """[count, 2] steering to both sides, and a drive command that keeps the car about ``speed``."""
    turn = steering * smooth(rng, count, dt, 0.6)
    if drive == "speed":
        return np.stack([turn, speed * (1 + 0.3 * smooth(rng, count, dt, 2.0))], axis=1)
    wanted = speed * (1 + 0.3 * smooth(rng, count, dt, hold_s))
    return np.stack([turn, np.gradient(wanted, dt)], axis=1)


@pytest.fixture(scope="session")
def driven() -> Callable[..., Drive]:
    """Makes a recording of a model that is driven, with sensor noise and some entries left unrecorded."""

    def make(
        model: ParametricModel,
        *,
        seconds: float = 60.0,
        speed: float = 8.0,
        steering: float = 0.1,
        hold_s: float = 3.0,
        noise: float = 1.0,
        hidden: tuple[int, ...] = (STEERING_ANGLE, ACCELERATION),
        seed: int = 0,
        source: str = "driven",
    ) -> Drive:
        rng = np.random.default_rng(seed)
        past, count = 60, round(seconds / model.dt)
        sent = commands(rng, count + past, model.dt, speed, steering, model.config.drive, hold_s)
        with torch.no_grad():
            acting = delayed(torch.from_numpy(sent), model.delay.detach() / model.dt, past)
            state = torch.zeros(len(STATE), dtype=torch.float64)
            state[VX] = speed
            states = []
            for action in acting:
                states.append(state)
                state = model(state, action)
        truth = torch.stack(states).numpy()
        recorded = truth.copy()
        for column, std in NOISE.items():
            recorded[:, column] += noise * std * rng.normal(size=count)
        recorded[:, YAW] = (recorded[:, YAW] + np.pi) % (2 * np.pi) - np.pi
        recorded[:, list(hidden)] = np.nan
        time_s = START_S + model.dt * np.arange(count)
        segment = Segment(time_s, recorded, sent[past:], model.action_layout)
        return Drive((segment,), model.dt, model.reference_point, source, f"hash of {source}")

    return make


TRUE_BICYCLE = {
    "wheelbase": 2.7,
    "rear_fraction": 0.45,
    "understeer": 0.002,
    "steering_offset": 0.004,
    "steering_delay": 0.11,
    "acceleration_scale": 0.9,
    "acceleration_offset": 0.05,
}
TRUE_TYRES = {
    "wheelbase": 2.7,
    "rear_fraction": 0.52,
    "yaw_inertia_ratio": 1.1,
    "stiffness_front": 12.0,
    "stiffness_rear": 18.0,
    "friction_front": 0.9,
    "friction_rear": 1.0,
    "cornering_drag": 1.0,
    "blend_start": 1.0,
    "steering_delay": 0.06,
}


@pytest.fixture(scope="session")
def bicycle() -> ParametricModel:
    """A full-size car as a kinematic bicycle."""
    return build("kinematic_bicycle", TRUE_BICYCLE, dt=0.02)


@pytest.fixture(scope="session")
def tyres() -> ParametricModel:
    """A full-size car as a single-track model."""
    return build("single_track", TRUE_TYRES, dt=0.02)


@pytest.fixture(scope="session")
def nominal() -> Callable[..., ParametricModel]:
    """A model of a drive's kind with everything at its default, to begin a fit with."""

    def make(like: ParametricModel, **parameters: float) -> ParametricModel:
        config: dict[str, Any] = {"drive": like.config.drive, "reference_point": like.reference_point}
        return build(like.kind, parameters, dt=like.dt, **config)

    return make
