"""One clean recording for all tests of the doctor, and copies with faults in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_drive import copy_with, drive_car


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drive_car(tmp_path_factory.mktemp("doctor") / "clean")


@pytest.fixture
def planted(clean: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes a copy of the clean recording with a fault in it."""
    return lambda plant, *topics: copy_with(clean, tmp_path / "planted", plant, topics)
