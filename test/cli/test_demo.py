"""The demo from track to report, its nodes replaced by the same parts in one process on simulated time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from rich.console import Console
from typer.testing import CliRunner

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.bringup.newcomer import Proof, proven
from mbrl_ros.cli import demo
from mbrl_ros.cli.drive import Outcome
from mbrl_ros.cli.main import app
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import generate_track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

pytestmark = pytest.mark.timeout(900)  # the first run on a machine compiles

EPOCH_S = 1000.0
VEHICLE = read_settings(config_file("vehicles", demo.VEHICLE, ".yaml"), Vehicle)


def nominal_model(dt):
    return passport.in_memory(build_for(VEHICLE, "kinematic_bicycle", dt=dt))


def drive_in_one_process(options, laps, timeout_s, record, log_folder, console):
    vehicle = read_settings(config_file("vehicles", options.vehicle, ".yaml"), Vehicle)
    settings = read_settings(config_file("planners", options.planner, ".yaml"), RacingPlannerSettings)
    track = Track.from_csv(options.track)
    model = passport.load(options.model) if options.model else nominal_model(0.02)
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


def test_three_drives_each_with_what_was_learned_from_those_before(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "run_drive", drive_in_one_process)
    monkeypatch.setattr(demo, "RECIPE", quick_recipe(tmp_path))
    # Two laps teach hardly more than one did: here it is driven with whatever the proof, which has tests of its own.
    monkeypatch.setattr(demo, "proven", lambda *given: replace(proven(*given), accepted=True))
    figures = tmp_path / "figures.json"
    arguments = ["demo", "--out", str(tmp_path / "runs"), "--laps", "1", "--json", str(figures)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    nominal, fitted, learned = json.loads(figures.read_text()).values()
    assert fitted["model_error_m"]["drive_1"] < nominal["model_error_m"]["drive_1"] / 3
    for bag in ("drive_1", "drive_2"):
        assert learned["model_error_m"][bag] < nominal["model_error_m"][bag] / 2
    assert fitted["laps"][0]["time_s"] < 0.85 * nominal["laps"][0]["time_s"]
    assert learned["laps"][0]["time_s"] < 1.05 * fitted["laps"][0]["time_s"]
    for drive in (nominal, fitted, learned):
        assert drive["laps"][0]["exits"] == 0
        assert drive["estimator_position_rmse_m"] < 0.03
    table, report = result.output.rstrip().rsplit("\n", 1)
    assert report.startswith("report with pictures: ")
    assert "drive by drive" in table
    verdict = next(line for line in table.splitlines() if "held-out third of drive 2" in line)
    folder = tmp_path / "runs" / "001"
    page = (folder / "report" / "report.html").read_text()
    assert page.count("<img") == 4
    assert f"{learned['laps'][0]['time_s']:.2f} s" in page
    assert verdict in page


def quick_recipe(folder):
    """The demo's own, for few seconds of driving and of training."""
    recipe = yaml.safe_load(Path(config_file("training", demo.RECIPE, ".yaml")).read_text())
    recipe["identification"] |= {"horizon_s": 1.0, "max_windows": 80, "integrator": "rk4"}
    recipe["training"] |= {"horizon_s": 1.0, "epochs": 4, "learning_rate": 0.001, "block_s": 3.0}
    path = folder / "quick.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return str(path)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_learned_model_is_driven_with_only_where_it_is_proven(tmp_path, monkeypatch, accepted):
    setting = demo.Setting(tmp_path, VEHICLE, generate_track(0, demo.TRACK), 0, 1.0)
    present, newcomer = (nominal_model(dt) for dt in (0.02, 0.03))
    monkeypatch.setattr(demo, "trained", lambda *given: newcomer)
    monkeypatch.setattr(demo, "proven", lambda *given: Proof(accepted, np.zeros(1), "as it is"))
    learned, words = demo._learn(Console(quiet=True), setting, [None, None], present)
    assert learned is (newcomer if accepted else None)
    assert words.endswith("held-out third of drive 2: as it is")


def test_too_few_laps_to_learn_from_are_no_failure(tmp_path, monkeypatch):
    def too_few(*given):
        raise DataError("4 s of driving")

    setting = demo.Setting(tmp_path, VEHICLE, generate_track(0, demo.TRACK), 0, 1.0)
    monkeypatch.setattr(demo, "trained", too_few)
    learned, words = demo._learn(Console(quiet=True), setting, [None, None], nominal_model(0.02))
    assert learned is None
    assert "4 s of driving" in words


class Drives:
    """Drives that end as they are told to, in the place of `run_drive`."""

    def __init__(self, *ends):
        self.ends, self.options = list(ends), []

    def __call__(self, options, laps, timeout_s, record, log_folder, console):
        exits, failure, lost = self.ends.pop(0)
        self.options.append(options)
        record.mkdir()
        log = DriveLog(Track.from_csv(options.track), 0.3)
        side_m = 5.0
        for stamp_s in range(2 * exits + 1):
            side_m = 5.0 - side_m
            log.add_truth(float(stamp_s), state_at(log.track, side_m))
        return Outcome(log.summary(), log, failure, lost, pace=0.5)


def state_at(track, side_m):
    """[8] of a car that rolls beside where the track begins."""
    here = track.at(0.0)
    left = np.array([-np.sin(here.heading), np.cos(here.heading)])
    return np.array([*(here.position + side_m * left), float(here.heading), 1.0, 0.0, 0.0, 0.0, 0.0])


WELL, ASTRAY, STUCK = (0, "", False), (2, "", False), (0, "the car has got nowhere", True)


@pytest.fixture
def setting(tmp_path):
    track = generate_track(0, demo.TRACK)
    track.to_csv(demo._track_file(tmp_path))
    return demo.Setting(tmp_path, VEHICLE, track, 0, 1.0)


@pytest.mark.parametrize(("failed", "words"), [(ASTRAY, "left the track (exits: 2)"), (STUCK, "has got nowhere")])
def test_a_drive_that_failed_is_not_learned_from_but_driven_once_more(setting, monkeypatch, failed, words):
    console, drives = Console(record=True, width=200), Drives(failed, WELL)
    monkeypatch.setattr(demo, "run_drive", drives)
    outcome = demo._drive(console, setting, 2, 3, demo.FITTED_PLANNER)
    assert outcome.log.exits == 0
    assert [options.real_time_factor for options in drives.options] == [1.0, demo.SECOND_TRY]
    assert all(options.wait_for_plans_s and options.use_sim_time for options in drives.options)
    assert (setting.folder / "drive_2").is_dir()
    assert (setting.folder / "drive_2_failed").is_dir()
    said = console.export_text()
    assert f"drive 2 failed: the car {words}" in said
    assert "once more, at 0.5 of the pace" in said
    assert "0.50 simulated seconds per second" in said


def test_a_drive_that_failed_twice_ends_the_demo_and_says_why(setting, monkeypatch):
    console = Console(record=True, width=200)
    monkeypatch.setattr(demo, "run_drive", Drives(ASTRAY, STUCK, WELL))
    with pytest.raises(typer.Exit) as ended:
        demo._drive(console, setting, 1, 3, demo.NOMINAL_PLANNER)
    assert ended.value.exit_code == 1
    assert "drive 1 failed again: the car has got nowhere; more time to plan is no help" in console.export_text()


def test_a_drive_whose_node_ended_ends_the_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "run_drive", Drives((0, "state_estimator ended [1]", False)))
    monkeypatch.setattr(demo, "_warm", lambda *given: None)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "ended early: state_estimator ended [1]" in result.output


@pytest.mark.parametrize("seed", [0, 7, 23])
def test_every_seed_gives_a_track_of_the_wanted_length(seed):
    track = generate_track(seed, demo.TRACK)
    assert track.length_m == pytest.approx(demo.TRACK.length_m, rel=0.01)
    assert np.isfinite(track.points).all()
