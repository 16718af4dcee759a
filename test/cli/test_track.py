import json

import pytest
from typer.testing import CliRunner

from mbrl_ros.cli.main import app
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track


def run(*arguments):
    return CliRunner().invoke(app, ["track", *map(str, arguments)], catch_exceptions=True)


def test_a_generated_track_is_written_drawn_and_measured(tmp_path):
    csv, picture, figures = tmp_path / "new.csv", tmp_path / "new.png", tmp_path / "new.json"
    result = run("generate", csv, "--seed", 3, "--length-m", 60, "--picture", picture, "--json", figures)
    assert result.exit_code == 0, result.output
    assert Track.from_csv(csv).length_m == pytest.approx(60, rel=1e-3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    measured = json.loads(figures.read_text())
    assert measured["length_m"] == pytest.approx(60, rel=1e-3)
    assert measured["min_radius_m"] >= 1.2
    assert measured["notes"] == []
    assert measured["grid_error"]["lateral_p99"] < 1e-3


def test_showing_with_a_vehicle_adds_how_fast_it_could_drive(tmp_path):
    figures, picture = tmp_path / "demo.json", tmp_path / "demo.png"
    result = run("show", "demo", "--vehicle", "f1tenth", "--json", figures, "--picture", picture)
    assert result.exit_code == 0, result.output
    assert 5 < json.loads(figures.read_text())["profile_lap_s"] < 40
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_ambiguous_coordinates_are_a_bad_answer(shared_data):
    result = run("show", shared_data / "tracks" / "forzaeth_hangar.csv")
    assert result.exit_code == 1
    assert "two parts of the track" in result.output


def test_wishes_that_contradict_each_other_are_refused(tmp_path):
    result = run("generate", tmp_path / "new.csv", "--min-radius-m", 0.5)
    assert isinstance(result.exception, ConfigError)
    assert "the inner edge would fold" in str(result.exception)


def test_help_shows_an_example():
    for command in ("generate", "show"):
        assert f"Example: mbrl track {command}" in run(command, "--help").output
