"""`mbrl drive` as a user runs it: a lap over DDS, the figures, the recording, and nothing left behind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mbrl_ros.data import read_drive

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]


def test_drives_a_lap_records_it_and_leaves_nothing_behind(ros_domain, tmp_path):
    from harness import nodes_left

    marker = f"MBRL_TEST_DRIVE={tmp_path}"
    command = [
        sys.executable, "-m", "mbrl_ros.cli.main", "drive", "--laps", "1", "--timeout-s", "340",
        "--real-time-factor", "0.3",
        "--record", str(tmp_path / "bag"), "--json", str(tmp_path / "figures.json"),
        "--log-folder", str(tmp_path / "logs"),
    ]  # fmt: skip
    name, value = marker.split("=")
    done = subprocess.run(command, env={**os.environ, name: value}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures["laps"]) == 1
    assert figures["laps"][0]["exits"] == 0
    assert figures["estimator_position_rmse_m"] < 0.05 * np.sqrt(2)
    assert nodes_left(marker) == []

    recorded = read_drive(tmp_path / "bag")
    assert recorded.topics["command"] == "/drive"
    assert recorded.end_s > figures["laps"][0]["time_s"]  # the clock begins at zero, with the lap
    assert np.nanmax(np.concatenate([segment.state[:, 3] for segment in recorded.segments])) > 2.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--track", "nowhere"], "no file 'nowhere'"),
        (["--plant", "rigid"], "--plant: field 'model': Input should be 'single_track_drift' or 'multi_body'"),
        (["--model", "/nowhere"], "dynamics_server: /nowhere/model.yaml: cannot be read"),
    ],
)
def test_a_wrong_option_is_one_clear_line(ros_domain, options, words):
    command = [sys.executable, "-m", "mbrl_ros.cli.main", "drive", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stderr.startswith(f"error: {words}")
    assert done.stderr.count("\n") == 1
