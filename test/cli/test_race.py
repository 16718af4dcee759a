"""`mbrl race` as a script meets it: the figures it reads, the same again for the same seed, exit statuses."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.cli.main import app
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base

pytestmark = pytest.mark.timeout(300)


def race(folder, *arguments, planner="mppi_f1tenth"):
    """Result and figures of a race whose planner is small enough to be evaluated without compiling."""
    settings = yaml.safe_load(Path(config_file("planners", planner, ".yaml")).read_text())
    settings["mppi"] |= {"rollouts": 128, "horizon": 25, "dt_s": 0.08, "backend": "eager"}
    settings["loop"]["control_rate_hz"] = 25.0
    few, figures = folder / "few.yaml", folder / "new" / "figures.json"
    few.write_text(yaml.safe_dump(settings))
    result = CliRunner().invoke(app, ["race", "--planner", str(few), "--json", str(figures), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, json.loads(figures.read_text())


def test_a_lap(tmp_path):
    wishes = TrackSettings(length_m=30.0, corners=3, min_radius_m=2.5, min_half_width_m=1.5, max_half_width_m=1.6)
    generate_track(1, wishes).to_csv(tmp_path / "small.csv")
    result, figures = race(tmp_path, "--track", str(tmp_path / "small.csv"), "--laps", "1", "--timeout-s", "30")
    assert result.exit_code == 0, result.output
    (lap,) = figures["laps"]
    assert 30.0 / 8.0 < lap["time_s"] < 20.0
    assert lap["exits"] == 0
    assert 0 <= figures["control_rate_kept"] <= 1
    assert 0 < figures["solve_ms"]["p50"] <= figures["solve_ms"]["p99"]
    assert 0 < figures["estimator_position_rmse_m"] < 0.1
    assert (figures["model"], figures["seed"]) == ("kinematic_bicycle", 0)


def test_several_runs_are_a_list_and_the_same_seed_is_the_same_drive(tmp_path):
    seeds = ["--seed", "1", "--seed", "2", "--seed", "1"]
    result, figures = race(tmp_path, "--timeout-s", "1", *seeds)
    assert result.exit_code == 1  # no lap in so short a time
    assert [run["seed"] for run in figures] == [1, 2, 1]
    assert all(run["laps"] == [] for run in figures)
    for run in figures:
        del run["solve_ms"], run["control_rate_kept"], run["seed"]
    first, other, again = figures
    assert first == again != other


def test_a_learned_model_drives(tmp_path):
    torch.manual_seed(0)
    config = Config(
        0.04,
        "cg",
        Base("kinematic_bicycle", "acceleration", integrator="euler"),
        Network("gru", members=2, hidden=4),
        Guard(residual=(0.5, 0.1, 0.5), longitudinal=12.0, lateral=12.0, sideslip=1.0),
    )
    values = {"wheelbase": 0.33, "steering_delay": 0.03, "drive_delay": 0.03}
    model = LearnedModel(build_base(config, values), config, torch.zeros(13), torch.ones(13)).double()
    torch.nn.init.normal_(model.head.layers[-1].weight)
    passport.save(model, tmp_path / "learned")
    _, figures = race(tmp_path, "--model", str(tmp_path / "learned"), "--timeout-s", "1.5")
    assert figures["top_speed_mps"] > 1.0


def test_car_and_plant_can_be_told(tmp_path):
    car = ["--vehicle", "bmw_320i", "--track", "full_size", "--timeout-s", "1"]
    speeds = [
        race(tmp_path, *car, "--plant", plant, planner="mppi_full_size")[1]["top_speed_mps"]
        for plant in ("single_track_drift", "multi_body")
    ]
    assert speeds[0] != speeds[1]
    assert min(speeds) > 0.1
