"""`mbrl drive` as a user runs it: a lap over DDS, the figures, the recording, and nothing left behind."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from mbrl_ros.bringup.graph import SimulationOptions, config_file
from mbrl_ros.bringup.processes import Ended
from mbrl_ros.cli.drive import run_drive, summary_table, why_ended
from mbrl_ros.cli.drive_progress import MeasuredPace, Stall
from mbrl_ros.core.errors import ConfigError, ModelError
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import save

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]

SMALL = TrackSettings(length_m=30.0, corners=3, min_radius_m=2.5, min_half_width_m=1.5, max_half_width_m=1.6)


def test_drives_a_lap_records_it_and_leaves_nothing_behind(ros_domain, tmp_path):
    from harness import nodes_left

    marker, track = f"MBRL_TEST_DRIVE={tmp_path}", tmp_path / "small.csv"
    generate_track(1, SMALL).to_csv(track)
    command = [
        sys.executable, "-m", "mbrl_ros.cli.main", "drive", "--track", str(track), "--laps", "1", "--timeout-s", "340",
        "--wait-for-plans-s", "0.1",
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

    assert "name: /dynamics_server/trust" in (tmp_path / "bag" / "metadata.yaml").read_text()
    recorded = read_drive(tmp_path / "bag")
    assert recorded.topics["command"] == "/drive"
    assert recorded.end_s > figures["laps"][0]["time_s"]  # the clock begins at zero, with the lap
    assert np.nanmax(np.concatenate([segment.state[:, 3] for segment in recorded.segments])) > 2.0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--track", "nowhere"], "no file 'nowhere'"),
        (["--plant", "rigid"], "--plant: field 'model': Input should be 'single_track_drift' or 'multi_body'"),
        (["--model", "/nowhere"], "/nowhere/model.yaml: cannot be read"),
    ],
)
def test_a_wrong_option_is_one_clear_line(ros_domain, options, words):
    command = [sys.executable, "-m", "mbrl_ros.cli.main", "drive", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stderr.startswith(f"error: {words}")
    assert done.stderr.count("\n") == 1


def test_all_that_is_wrong_with_a_planners_file_is_said_at_once(tmp_path):
    planner = tmp_path / "bad.yaml"
    planner.write_text("mppi:\n  rollouts: 2\n  horison: 50\ntask:\n  acceleration_limit_mps2: -1\n")
    with pytest.raises(ConfigError) as refused:
        run_drive(SimulationOptions(planner=str(planner)), 1, 10.0, None, tmp_path / "logs", Console())
    for words in ("bad.yaml", "mppi.rollouts", "unknown field 'mppi.horison', did you mean 'horizon'", "unit is m/s^2"):
        assert words in str(refused.value)
    assert not (tmp_path / "logs").exists()


def test_a_model_of_another_car_is_refused_before_anything_starts(tmp_path):
    save(build("kinematic_bicycle", {"wheelbase": 2.8}, dt=0.02), tmp_path / "model")
    with pytest.raises(ModelError, match=r"wheelbase of 2\.80 m"):
        run_drive(SimulationOptions(model=str(tmp_path / "model")), 1, 10.0, None, tmp_path / "logs", Console())


def test_a_drive_that_gets_nowhere_ends_with_the_reason(ros_domain, tmp_path):
    options = SimulationOptions(require_engage=True, real_time_factor=0.5, use_sim_time=True)
    outcome = run_drive(options, 1, 300.0, None, tmp_path / "logs", Console(), patience_s=2.0)
    assert "the car has got nowhere for" in outcome.failure
    assert "command_gate: commands" in outcome.failure
    assert outcome.summary.laps == ()


def test_stalling_is_measured_from_the_last_place_or_the_first_plan():
    now_s = 0.0
    log = DriveLog(Track.from_csv(config_file("tracks", "demo", ".csv")), 0.3)
    stall = Stall(lambda: now_s)
    now_s = 50.0
    assert stall.seconds(log) == 50.0
    log.solve_times_s.append(0.01)  # the nodes are up
    assert stall.seconds(log) == 0.0
    for now_s, x, still_s in ((51.0, 0.0, 0.0), (52.0, 0.3, 1.0), (55.0, 0.4, 4.0), (56.0, 0.6, 0.0), (57.0, 0.6, 1.0)):
        log.add_truth(now_s, np.array([x, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
        assert stall.seconds(log) == still_s


def test_pace_is_of_simulated_time_from_the_first_plan_on():
    wall_s = iter([20.0, 24.0, 30.0])
    log = DriveLog(Track.from_csv(config_file("tracks", "demo", ".csv")), 0.3)
    pace = MeasuredPace(lambda: next(wall_s))
    for stamp_s in (1.0, 2.0):  # nodes come up
        log.add_truth(stamp_s, np.zeros(8))
        pace.see(log)
    assert np.isnan(pace.share)
    log.solve_times_s.append(0.01)
    for stamp_s, share in ((2.5, np.nan), (4.5, 0.5), (5.0, 0.25)):
        log.add_truth(stamp_s, np.zeros(8))
        pace.see(log)
        np.testing.assert_equal(pace.share, share)


def test_figures_that_do_not_exist_are_dashes():
    console = Console(record=True, width=100)
    console.print(summary_table(DriveLog(Track.from_csv(config_file("tracks", "demo", ".csv")), 0.3).summary()))
    text = console.export_text()
    assert "nan" not in text
    assert text.count("–") >= 5


def test_a_node_that_refuses_its_settings_is_one_clear_line_and_another_its_last_words(tmp_path):
    log = tmp_path / "planner.log"
    log.write_text("[INFO] [1.0] [planner]: begins\n[FATAL] [1.1] [planner]: no such field\n")
    with pytest.raises(ConfigError, match=r"^planner: no such field$"):
        why_ended(Ended("planner", 2, log), began=False)
    assert why_ended(Ended("planner", 2, log), began=True).startswith("planner ended with status 2: [INFO]")
    assert "status -9" in why_ended(Ended("planner", -9, log), began=False)
