"""The demo from track to report, its nodes replaced by the same parts in one process on simulated time."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.cli import demo
from mbrl_ros.cli.drive import Outcome
from mbrl_ros.cli.main import app
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

pytestmark = pytest.mark.timeout(900)  # the first run on a machine compiles

EPOCH_S = 1000.0


def drive_in_one_process(options, laps, timeout_s, record, log_folder, console):
    vehicle = read_settings(config_file("vehicles", options.vehicle, ".yaml"), Vehicle)
    settings = read_settings(config_file("planners", options.planner, ".yaml"), RacingPlannerSettings)
    track = Track.from_csv(options.track)
    kinematic = passport.from_bytes(*passport.to_bytes(build_for(vehicle, "kinematic_bicycle", dt=0.02)))
    model = passport.load(options.model) if options.model else kinematic
    planner = racing_planner(settings, model, vehicle, track, options.seed)
    planner.warm_up()
    simulator = Simulator(vehicle, seed=options.seed)
    loop = ClosedLoop(vehicle, track, simulator, StateEstimator.for_vehicle(vehicle), planner, settings.loop)
    log = loop.run(laps, timeout_s)
    write_bag(record, log.estimates, loop.commands)
    return Outcome(log.summary(), log, "" if len(log.laps) == laps else "too slow")


def write_bag(path, estimates, commands):
    with BagWriter(path) as writer:
        for stamp_s, state in estimates:
            stamp = round(1e9 * (EPOCH_S + stamp_s))
            writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", messages.vehicle_state(stamp, state), stamp)
        for stamp_s, command in commands:
            stamp = round(1e9 * (EPOCH_S + stamp_s))
            message = messages.ackermann(
                stamp,
                command.steering_angle_rad,
                speed=command.speed_mps,
                acceleration=command.acceleration_mps2,
            )
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", message, stamp)


def test_a_fitted_model_predicts_better_and_drives_faster(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "run_drive", drive_in_one_process)
    figures = tmp_path / "figures.json"
    arguments = ["demo", "--out", str(tmp_path / "runs"), "--laps", "1", "--json", str(figures)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    before, after = json.loads(figures.read_text()).values()
    assert after["model_error_m"] < before["model_error_m"] / 3
    assert after["laps"][0]["time_s"] < 0.85 * before["laps"][0]["time_s"]
    for drive in (before, after):
        assert drive["laps"][0]["exits"] == 0
        assert drive["estimator_position_rmse_m"] < 0.03
    table, report = result.output.rstrip().rsplit("\n", 1)
    assert report.startswith("report with pictures: ")
    assert "before and after the fit" in table
    folder = tmp_path / "runs" / "001"
    page = (folder / "report" / "report.html").read_text()
    assert page.count("<img") == 4
    assert f"{before['laps'][0]['time_s']:.2f} s" in page


def test_a_drive_that_ends_early_ends_the_demo(tmp_path, monkeypatch):
    def fail(options, laps, timeout_s, record, log_folder, console):
        log = demo.DriveLog(Track.from_csv(options.track), 0.3)
        return Outcome(log.summary(), log, "state_estimator ended [1]")

    monkeypatch.setattr(demo, "run_drive", fail)
    monkeypatch.setattr(demo, "_warm", lambda *given: None)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "ended early: state_estimator ended [1]" in result.output


@pytest.mark.parametrize("seed", [0, 7, 23])
def test_every_seed_gives_a_track_of_the_wanted_length(seed):
    track = demo.generate_track(seed, demo.TRACK)
    assert track.length_m == pytest.approx(demo.TRACK.length_m, rel=0.01)
    assert np.isfinite(track.points).all()
