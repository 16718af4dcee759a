"""A small car on rolling ground, recorded as a bag: physics alone cannot predict it, the last second's driving can."""

import numpy as np
import pytest
import torch

from mbrl_ros.data import messages, read_drive
from mbrl_ros.data.writing import BagWriter

DT = 0.05
WHEELBASE = 0.33


def written(path, seconds=80.0, seed=0):
    """What ``mbrl drive --record`` writes: a kinematic car whose ground rises and falls slowly."""
    rng = np.random.default_rng(seed)
    slope_phase, steering_phase = rng.uniform(0, 2 * np.pi, 2)
    state = np.zeros(8)
    state[3] = 3.0
    with BagWriter(path) as writer:
        for k in range(round(seconds / DT)):
            t = k * DT
            stamp = 1_700_000_000_000_000_000 + round(t * 1e9)
            steering = 0.15 * np.sin(0.9 * t + steering_phase) + 0.05 * np.sin(2.3 * t)
            acceleration = 1.5 * (3.0 - state[3]) + 0.5 * np.cos(0.5 * t)
            slope = 0.8 * np.sin(0.6 * t + slope_phase)
            command = messages.ackermann(stamp, steering, speed=3.0, acceleration=acceleration)
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
            answer = messages.vehicle_state(stamp, state, "rear_axle")
            writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", answer, stamp)
            state = advanced(state, steering, acceleration, slope)
    return path


def advanced(state, steering, acceleration, slope, substeps=10):
    x, y, yaw, vx, *_ = state
    for _ in range(substeps):
        h = DT / substeps
        yaw_rate = vx * np.tan(steering) / WHEELBASE
        x, y, yaw = x + h * vx * np.cos(yaw), y + h * vx * np.sin(yaw), yaw + h * yaw_rate
        vx += h * (acceleration + slope)
    return np.array([x, y, yaw, vx, 0.0, vx * np.tan(steering) / WHEELBASE, steering, acceleration])


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors are small here: further threads only wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def write_drive():
    """Writes such a recording to a path, of other hills with another ``seed``, and returns the path."""
    return written


@pytest.fixture(scope="session")
def hilly(tmp_path_factory):
    """Path of the recording."""
    return written(tmp_path_factory.mktemp("bags") / "hilly")


@pytest.fixture(scope="session")
def hilly_drive(hilly):
    return read_drive(hilly)
