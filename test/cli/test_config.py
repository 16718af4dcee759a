"""`mbrl config check`: what it finds in settings files, and that those of the package are good."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mbrl_ros.bringup.graph import config_file, config_folder
from mbrl_ros.cli.main import app

VEHICLE = Path(config_file("vehicles", "f1tenth", ".yaml")).read_text()
PLANNER = Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text()


def check(*arguments):
    return CliRunner().invoke(app, ["config", "check", *map(str, arguments)], env={"COLUMNS": "400"})


def test_every_file_of_the_package_is_checked_and_good(tmp_path):
    figures = tmp_path / "new" / "figures.json"
    result = check("--json", figures)
    assert result.exit_code == 0, result.output
    files = {str(path) for path in config_folder().rglob("*") if path.is_file()}
    assert json.loads(figures.read_text()) == dict.fromkeys(files, "")
    assert result.output.count("good") == len(files)


@pytest.mark.parametrize(
    ("text", "right", "wrong", "finding"),
    [
        (VEHICLE, "speed_mps: 8.0", "speed_kmh: 28.8", "unknown field 'limits.speed_kmh', did you mean 'speed_mps'?"),
        (VEHICLE, "  speed_mps: 8.0\n", "", "field 'limits.speed_mps': Field required (the unit is m/s)"),
        (VEHICLE, "angle_rad: 0.4189", "angle_rad: 24", "less than or equal to 1.5 (got 24; the unit is rad)"),
        (VEHICLE, "latency_s: 0.04", "latency_s: 40", "field 'sensors.pose.latency_s': Input should be less than"),
        (VEHICLE, "width_m: 0.31", "width_m: 310", "less than or equal to 4 (got 310; the unit is m)"),
        (VEHICLE, "braking_mps2: 7.0", "braking_mps2: -7.0", "greater than 0 (got -7.0; the unit is m/s^2)"),
        (VEHICLE, "speed_mps: 8.0", "speed_mps: fast", "should be a valid number"),
        (VEHICLE, "speed_mps: 8.0", "speed_mps: .nan", "(got nan; the unit is m/s)"),
        (VEHICLE, "wheelbase: 0.3302", "wheelbase: 330.2", "wheelbase = 330.2 m is outside of"),
        (VEHICLE, "wheelbase: 0.3302", "wheelbaze: 0.3302", "'wheelbaze'; did you mean 'wheelbase'?"),
        (VEHICLE, "parameters: f1tenth", "parameters: f2tenth", "no parameter set 'f2tenth'; there are f1tenth"),
        (VEHICLE, "model: single_track_drift", "model: rigid", "field 'plant.model': Input should be"),
        (VEHICLE, "width_m: 0.31", "width_m: 0.31\nwidth_m: 0.32", "key 'width_m' is given more than once"),
        (VEHICLE, "width_m: 0.31", "width_m: [", "not valid YAML"),
        (PLANNER, "  rollouts: 1024", "  rollout: 1024", "unknown field 'mppi.rollout', did you mean 'rollouts'?"),
        (PLANNER, "  rollouts: 1024", "  rollouts: 2", "field 'mppi.rollouts': Input should be greater than or equal"),
        (PLANNER, "  dt_s: 0.04", "  dt_s: 40", "less than or equal to 1 (got 40; the unit is s)"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_field(tmp_path, text, right, wrong, finding):
    assert text.count(right) >= 1
    path, figures = tmp_path / "settings.yaml", tmp_path / "figures.json"
    path.write_text(text.replace(right, wrong))
    result = check(path, "--json", figures)
    assert result.exit_code == 1
    assert f"wrong {path}: " in result.output
    assert finding in json.loads(figures.read_text())[str(path)]


def test_good_and_wrong_files_side_by_side(tmp_path):
    good, none, other = tmp_path / "car.yaml", tmp_path / "none.yaml", tmp_path / "other.yaml"
    good.write_text(VEHICLE)
    other.write_text("colour: red\n")
    result = check(good, none, other)
    assert result.exit_code == 1
    assert f"good  {good}\n" in result.output
    assert f"wrong {none}: cannot be read" in result.output
    assert f"wrong {other}: neither a vehicle (has limits) nor a planner" in result.output
