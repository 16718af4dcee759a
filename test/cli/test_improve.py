"""`mbrl improve` round by round, its drives scripted: a kinematic car with understeer that its nominal model lacks."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mbrl_ros.bringup import course, improvement
from mbrl_ros.bringup.course import Course, clearance_m, stalled, trust_for
from mbrl_ros.bringup.graph import config_file
from mbrl_ros.bringup.improvement import AFTER_EXIT, LARGEST_STEP, RULES, asked_mps2, earned_limit, stages
from mbrl_ros.cli.main import app
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACCELERATION, ACTIONS, VX, YAW_RATE
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.core.tasks.racing import RacingTask
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import messages
from mbrl_ros.data.doctor import Finding, examine
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build
from mbrl_ros.planning.settings import RacingPlannerSettings

DT, SECONDS = 0.03, 24.0


def scripted(course, model, limit_mps2, friction, bag, number):
    """What `improvement.drive` leaves, of a car that weaves; its understeer grows as the grip drops."""
    kept = bag.with_suffix(".json")
    if kept.exists():
        return json.loads(kept.read_text())
    car = build("kinematic_bicycle", {"wheelbase": 0.33, "understeer": 0.02 / friction}, dt=DT)
    rng, state = np.random.default_rng(number), torch.zeros(8, dtype=torch.float64)
    phase, state[3] = rng.uniform(0, 6), 3.0
    speeds = []
    with BagWriter(bag) as writer:
        for k in range(round(SECONDS / DT)):
            stamp_ns = 1000 * 10**9 + round(k * DT * 1e9)
            action = np.array([0.2 * np.sin(0.9 * k * DT + phase), 2 * (3.0 - float(state[3])) + np.sin(0.7 * k * DT)])
            noisy = state.numpy() + rng.normal(size=8) * [0.003, 0.003, 0.002, 0.01, 0.005, 0.01, 0.001, 0.01]
            command = messages.ackermann(stamp_ns, action[0], acceleration=action[1])
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp_ns)
            answer = messages.vehicle_state(stamp_ns, noisy)
            writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", answer, stamp_ns)
            with torch.no_grad():
                state = car(state, torch.from_numpy(action))
            speeds.append(float(state[3]))
    DRIVES.append((bag.name, round(limit_mps2, 3), friction))
    figures = {"lap_times_s": [60.0 / limit_mps2], "exits": int(friction < 1 and number == 2), "clearance_m": 0.4}
    figures["distrusted"] = 0.1 * (friction < 1)
    path = {"x_m": speeds, "y_m": speeds, "vx_mps": speeds}
    kept.write_text(json.dumps({**figures, **path}))
    return figures


DRIVES: list[tuple[str, float, float]] = []


SMALL = ["--vehicle", "f1tenth", "--plant", "single_track_drift", "--planner", "mppi_f1tenth_grip", "--track", "demo"]


def improve(folder, *options, rounds=2, recoveries=1):
    arguments = ["improve", "--out", str(folder), "--arm", "kinematic", "--laps", "1", "--rounds", str(rounds)]
    arguments += ["--recoveries", str(recoveries), "--json", str(folder) + ".json"]
    return CliRunner().invoke(app, [*arguments, *SMALL, *options])


@pytest.fixture
def scripted_drives(monkeypatch):
    DRIVES.clear()
    monkeypatch.setattr(improvement, "drive", scripted)


def test_learns_earns_its_limits_recovers_and_goes_on_where_it_was(tmp_path, scripted_drives):
    result = improve(tmp_path / "runs")
    assert result.exit_code == 0, result.output
    rounds = json.loads((tmp_path / "runs.json").read_text())
    assert [done["stage"] for done in rounds] == ["learn", "learn", "adapt", "drive"]
    assert [done["friction"] for done in rounds] == [1.0, 1.0, 0.7, 0.7]
    assert rounds[1]["error_m"] < 0.5 * rounds[0]["error_m"]  # on drives that neither model had seen
    assert rounds[0]["accepted"]
    assert rounds[3]["error_m"] < 0.7 * rounds[2]["error_m"]  # the grip has changed for good, and so has the model
    adapted = passport.load(tmp_path / "runs" / "kinematic" / "model_2").passport
    assert f"adapted from {rounds[2]['model']}" in adapted.notes
    assert [bag.source.rpartition("/")[2] for bag in adapted.bags] == ["drive_0", "drive_1", "drive_2"]
    assert 1.1 < rounds[1]["limit_mps2"] / rounds[0]["limit_mps2"] <= LARGEST_STEP
    assert rounds[3]["limit_mps2"] <= AFTER_EXIT * rounds[2]["limit_mps2"] + 1e-9  # it had left the track
    assert [name for name, *_ in DRIVES] == ["drive_0", "drive_1", "drive_2", "drive_3"]
    assert (tmp_path / "runs" / "improvement.png").stat().st_size > 20_000

    (tmp_path / "runs" / "kinematic" / "round_3.json").unlink()  # as if it had been stopped there
    assert improve(tmp_path / "runs").exit_code == 0
    assert json.loads((tmp_path / "runs.json").read_text()) == rounds
    assert len(DRIVES) == 4  # the drive itself was complete

    refused = improve(tmp_path / "runs", "--seed", "1")
    assert refused.exit_code != 0
    assert "other options" in str(refused.exception)
    course = tmp_path / "runs" / "course.json"
    course.write_text(course.read_text().replace(f'"rules": {RULES}', '"rules": 1'))  # of an earlier release
    assert "rules of another release" in str(improve(tmp_path / "runs").exception)


def test_a_car_that_was_lost_earns_its_trust_anew(tmp_path, monkeypatch):
    def lost_at_once(course, model, limit_mps2, friction, bag, number):
        figures = scripted(course, model, limit_mps2, friction, bag, number)
        return {**figures, "lap_times_s": figures["lap_times_s"] if number != 1 else [], "exits": int(number == 1)}

    def refused_with_the_car(bag):
        found = examine(bag)
        wrong = Finding("twist_contradicts", "error", "/vehicle_state", "made up", "none", "none", 1.0, "m")
        return replace(found, findings=(wrong,)) if bag.name == "drive_1" else found

    DRIVES.clear()
    monkeypatch.setattr(improvement, "drive", lost_at_once)
    monkeypatch.setattr(improvement, "examine", refused_with_the_car)
    result = improve(tmp_path / "runs", rounds=1, recoveries=2)
    assert result.exit_code == 1
    rounds = json.loads((tmp_path / "runs.json").read_text())
    assert rounds[1]["limit_mps2"] > rounds[0]["limit_mps2"]
    assert rounds[1]["swap"].startswith("no newcomer: twist_contradicts: made up; see mbrl doctor")
    assert rounds[2]["limit_mps2"] == pytest.approx(rounds[0]["limit_mps2"])
    bags = passport.load(tmp_path / "runs" / "kinematic" / "model_2").passport.bags
    assert [bag.source.rpartition("/")[2] for bag in bags] == ["drive_0", "drive_2"]  # nobody learns from that drive


def test_a_limit_is_earned_by_what_is_predicted():
    half = 0.125  # of the margin

    def earned(errors_m, exits=0):
        return earned_limit(5.0, np.array(errors_m), 2 * half, 2 * half, exits)

    good, fair, bad = (earned([share * half] * 50) for share in (0.1, 1.0, 4.0))
    assert (good, fair, bad) == pytest.approx((5.0 * LARGEST_STEP, 5.0, 5.0 / LARGEST_STEP))
    assert earned([0.5 * half] * 50) > fair
    assert earned([1.5 * half] * 50) == pytest.approx(5.0 / 1.5**0.25)  # what was too much is not far from enough
    assert earned([0.1 * half] * 50, exits=1) == pytest.approx(5.0 * AFTER_EXIT)
    for unknown in (np.inf, np.nan):
        assert earned([0.1] * 5 + [unknown] * 5) == pytest.approx(5.0 / LARGEST_STEP)


def test_what_was_too_much_goes_back_half_way_to_what_held_at_most():
    bad = np.full(50, 8 * 0.125)
    assert earned_limit(6.0, bad, 0.25, 0.25, 0) == pytest.approx(6.0 / LARGEST_STEP)
    assert earned_limit(6.0, bad, 0.25, 0.25, 0, held_mps2=5.0) == pytest.approx(np.sqrt(6.0 * 5.0))
    assert earned_limit(6.0, bad, 0.25, 0.25, 0, held_mps2=6.0) == pytest.approx(6.0 / LARGEST_STEP)  # it held no more
    assert earned_limit(6.0, bad, 0.25, 0.25, 1, held_mps2=5.0) == pytest.approx(6.0 * AFTER_EXIT)


def test_nothing_is_earned_for_what_was_not_asked():
    count = 1000
    state = np.zeros((count, 8))
    state[:, VX], state[:, YAW_RATE] = 10.0, 0.7
    state[670:, YAW_RATE] = 0.3  # the car was slowed in the held-out third
    state[670:, ACCELERATION] = -4.0
    segment = Segment(0.06 * np.arange(count), state, np.zeros((count, 2)), ACTIONS["acceleration"])
    assert asked_mps2(Drive((segment,), 0.06, "cg", "made")) == pytest.approx(5.0)


def test_who_came_near_an_edge_may_not_drive_harder():
    margin = 0.25
    good, bad = np.full(50, 0.1 * margin), np.full(50, 4.0 * margin)
    half_a_step = 5.0 * (1 + 0.5 * (LARGEST_STEP - 1))
    for clearance, earned in ((1.01, 5.0 * LARGEST_STEP), (0.75, half_a_step), (0.49, 5.0), (0.01, 5.0)):
        assert earned_limit(5.0, good, margin, clearance * margin, 0) == pytest.approx(earned)
    assert earned_limit(5.0, bad, margin, 0.01, 0) == pytest.approx(5.0 / LARGEST_STEP)
    assert earned_limit(5.0, good, margin, -0.01, 1) == pytest.approx(5.0 * AFTER_EXIT)


def test_clearance_is_that_of_the_cars_nearest_side(tmp_path):
    vehicle = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
    planner = read_settings(config_file("planners", "mppi_f1tenth_grip", ".yaml"), RacingPlannerSettings)
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    course = Course(tmp_path, vehicle, track, planner, 1, 0, 1.0, "demo")
    states = np.zeros((2, 8))
    lateral = np.array([0.3, -0.1])
    states[:, :2] = track.to_xy(np.array([1.0, 2.0]), lateral)
    widths = track.at(1.0).width_left - 0.3, track.at(2.0).width_right - 0.1
    assert clearance_m(course, states) == pytest.approx(min(map(float, widths)) - vehicle.width_m / 2, abs=1e-3)


def test_a_car_that_spun_and_stands_is_lost_after_ten_seconds():
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    log = DriveLog(track, 0.3)
    found = []
    for step in range(200):
        stamp_s = 0.1 * step
        state = np.zeros(8)
        state[:2] = track.to_xy(min(stamp_s, 5.0), 0.0)  # at 1 m/s, and stands after 5 s
        log.add_truth(stamp_s, state)
        found.append(stalled(log))
    assert 14.0 <= 0.1 * found.index(True) <= 15.1
    assert all(found[found.index(True) :])


def test_a_car_whose_lap_takes_as_long_as_a_stall_stands_nowhere():
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    log = DriveLog(track, 0.3)
    for step in range(300):
        state = np.zeros(8)
        state[:2] = track.to_xy(step % 100 / 100 * track.length_m, 0.0)
        log.add_truth(0.1 * step, state)
        assert not stalled(log)


def test_a_slide_is_one_where_tyres_are_past_their_linear_force_and_no_car_without_tyres_has_any():
    vehicle = read_settings(config_file("vehicles", "bmw_320i", ".yaml"), Vehicle)
    assert trust_for(vehicle).cautious_slip_rad == pytest.approx(0.0407, abs=1e-3)
    assert trust_for(vehicle.model_copy(update={"parameters": {}})).cautious_slip_rad is None


def test_the_first_lap_from_rest_asks_for_less(tmp_path):
    vehicle = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
    planner = read_settings(config_file("planners", "mppi_f1tenth_grip", ".yaml"), RacingPlannerSettings)
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    where = Course(tmp_path, vehicle, track, planner, 3, 0, 1.0, "demo", out_lap=0.8)
    task = RacingTask(track, vehicle, planner.task, dt=0.05)
    limits, log = [], SimpleNamespace(laps=[], lateral_m=0.0, truth=[(0.0, np.zeros(8))])

    def lap(laps, timeout_s, on_lap):
        limits.append(float(task.acceleration_limit_mps2))
        log.laps.append(15.0)
        on_lap(15.0)
        return log

    loop = SimpleNamespace(planner=SimpleNamespace(task=task), run=lap)
    course._run(loop, SimpleNamespace(fault=""), where, planner.task)
    full = planner.task.acceleration_limit_mps2
    assert limits == pytest.approx([0.8 * full, full, full])


def test_no_round_begins_after_the_time_is_over_and_the_rest_follows_later(tmp_path, scripted_drives):
    stopped = improve(tmp_path / "runs", "--minutes", "0", rounds=1, recoveries=0)
    assert stopped.exit_code == 1
    assert "run the same command again to go on" in stopped.output
    assert [name for name, *_ in DRIVES] == ["drive_0"]
    assert (tmp_path / "runs" / "improvement.png").exists()
    assert improve(tmp_path / "runs", rounds=1, recoveries=0).exit_code == 0
    assert [name for name, *_ in DRIVES] == ["drive_0", "drive_1"]


def test_the_last_drive_is_only_driven():
    assert stages(2, 0) == ("learn", "learn", "drive")
    assert stages(1, 2) == ("learn", "adapt", "adapt", "drive")


def test_recordings_name_their_track_so_that_it_is_found_from_elsewhere(tmp_path, monkeypatch):
    named = []

    def begun(course, *given):
        named.append(course.track_file)
        raise DataError("enough was seen")

    monkeypatch.setattr(improvement, "drive", begun)
    monkeypatch.chdir(tmp_path)
    Path("own.csv").write_bytes(Path(config_file("tracks", "demo", ".csv")).read_bytes())
    for number, track in enumerate(("own.csv", "demo")):
        assert "enough was seen" in str(improve(tmp_path / str(number), "--track", track).exception)
    assert named == [str(tmp_path / "own.csv"), "demo"]
