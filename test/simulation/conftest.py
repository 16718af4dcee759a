from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.vehicle import Vehicle

VEHICLES = Path(__file__).resolve().parents[2] / "config" / "vehicles"


@pytest.fixture(scope="session")
def vehicle() -> Callable[..., Vehicle]:
    """A vehicle of config/vehicles, some of its plant's settings replaced."""

    def read(name: str, **plant: object) -> Vehicle:
        shipped = read_settings(VEHICLES / f"{name}.yaml", Vehicle)
        return shipped.model_copy(update={"plant": shipped.plant.model_copy(update=plant)})

    return read
