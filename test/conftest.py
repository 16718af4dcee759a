"""What every test can use: marks for what a test needs, real recordings, an isolated ROS domain."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"

MARKS = {
    "ros": "needs rclpy and the built messages",
    "data": "needs the real recordings and tracks beside the repository",
    "distro(module, ...)": "needs modules that only a ROS 2 distribution has",
}

# Ports of higher domains overlap the range that Linux hands out to outgoing connections.
DOMAINS = range(1, 102)


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _reason_to_skip(item: pytest.Item) -> str | None:
    """Why this machine cannot run the test, if it cannot."""
    # Inside the project's environment a missing message is a failure, not a reason to skip.
    if item.get_closest_marker("ros") and "MBRL_ROOT" not in os.environ:
        missing = [name for name in ("rclpy", "mbrl_ros.msg") if not _has(name)]
        if missing:
            return f"no {' and no '.join(missing)} here: run `make test`, or `. tools/env.sh` first"
    if distro := item.get_closest_marker("distro"):
        missing = [name for name in distro.args if not _has(name)]
        if missing:
            return f"no {' and no '.join(missing)} here: it comes with a ROS 2 distribution, not as a wheel"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)
        if {"ros_domain", "ros_domain_of_module"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.ros)
        if reason := _reason_to_skip(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real recordings and tracks; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no recordings at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def weaving_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a small car that weaves, at 20 Hz."""
    from mbrl_ros.data import messages
    from mbrl_ros.data.writing import BagWriter

    path = tmp_path_factory.mktemp("bags") / "weaving"
    state = np.array([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    with BagWriter(path) as writer:
        for k in range(1200):
            stamp = 1_700_000_000_000_000_000 + k * 50_000_000
            steering, acceleration = 0.2 * np.sin(0.05 * k), 0.5 * np.cos(0.02 * k)
            command = messages.ackermann(stamp, steering, speed=3.0, acceleration=acceleration)
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
            answer = messages.vehicle_state(stamp, state, "rear_axle")
            writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", answer, stamp)
            state[5:] = state[3] * np.tan(steering) / 0.33, steering, acceleration
            state[:3] += 0.05 * np.array([state[3] * np.cos(state[2]), state[3] * np.sin(state[2]), state[5]])
            state[3] += 0.05 * acceleration
    return path


@pytest.fixture
def write_recipe(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recipe of seconds for `weaving_bag`, some of its parts changed, and returns its path."""
    quick: dict[str, Any] = {
        "physics": "kinematic_bicycle",
        "identification": {"horizon_s": 0.5, "max_windows": 20},
        "network": {"kind": "gru", "members": 1, "hidden": 4, "history_s": 0.2},
        "training": {"horizon_s": 0.5, "start_every_s": 0.5, "epochs": 3, "batch": 32, "block_s": 4},
    }

    def write(**changes: Any) -> Path:
        parts = {name: {**quick[name], **part} if isinstance(part, dict) else part for name, part in changes.items()}
        path = tmp_path / "quick.yaml"
        path.write_text(yaml.safe_dump({**quick, **parts}))
        return path

    return write


@contextmanager
def _domain_of_its_own() -> Iterator[int]:
    for domain in DOMAINS:
        path = Path(tempfile.gettempdir()) / f"mbrl_ros_domain_{domain}.lock"
        with path.open("w", encoding="utf-8") as lock, pytest.MonkeyPatch.context() as environment:
            try:
                # Let go by the system when the file is closed, even by a crash.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            environment.setenv("ROS_DOMAIN_ID", str(domain))
            environment.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            if os.environ.get("ROS_DISTRO") == "humble":
                environment.setenv("ROS_LOCALHOST_ONLY", "1")
            yield domain
            return
    pytest.fail("all ROS domains are taken by other tests")


@pytest.fixture
def ros_domain() -> Iterator[int]:
    """A ROS domain on the loopback interface that no other test uses at this time, in any process.

    It stands in the environment, which nodes in this process and its children read when they start.
    """
    with _domain_of_its_own() as domain:
        yield domain


@pytest.fixture(scope="module")
def ros_domain_of_module() -> Iterator[int]:
    """The same for all tests of a module that look at one run of the nodes."""
    with _domain_of_its_own() as domain:
        yield domain
