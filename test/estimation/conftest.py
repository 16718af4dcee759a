from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import Measurement
from mbrl_ros.simulation import Reading

VEHICLES = Path(__file__).resolve().parents[2] / "config" / "vehicles"


@pytest.fixture(scope="session")
def vehicle() -> Callable[[str], Vehicle]:
    """A vehicle of config/vehicles."""
    return lambda name: read_settings(VEHICLES / f"{name}.yaml", Vehicle)


@pytest.fixture(scope="session")
def measured() -> Callable[[Reading], Measurement]:
    """A simulated reading as the filter takes it; of an IMU, the gyroscope."""

    def convert(reading: Reading) -> Measurement:
        source, values, noise = reading.sensor, reading.values, np.diag(reading.variances)
        if source == "imu":
            return Measurement("gyro", reading.stamp_s, reading.arrival_s, values[:1], noise[:1, :1])
        return Measurement(source, reading.stamp_s, reading.arrival_s, values, noise)

    return convert
