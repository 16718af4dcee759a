"""`mbrl fit` as a script meets it: a recording in, a model with its passport out."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from mbrl_ros.cli.main import app, main
from mbrl_ros.core.errors import ConfigError, DataError, ModelError
from mbrl_ros.data import messages, read_drive
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.models.passport import load

DT, DELAY = 0.02, 0.11
ACKERMANN, ODOMETRY = "ackermann_msgs/msg/AckermannDriveStamped", "nav_msgs/msg/Odometry"
FEW = ("--only", "wheelbase", "--only", "steering_delay")


def write_recording(path, seconds=40.0, controls=True, dt=DT):
    """What a small car records whose steering answers 0.11 s late; commands come 7 ms after the poses."""
    rng = np.random.default_rng(0)
    knots = np.arange(0.0, seconds + 3.0, 0.5)
    turns = rng.uniform(-0.3, 0.3, len(knots))

    def steering(t):
        return float(np.interp(t, knots, turns))

    def speed(t):
        return 2.0 + 0.8 * np.sin(0.7 * t)

    state = np.zeros(8)
    fine = 0.001
    with BagWriter(path) as writer:
        for k in range(round(seconds / dt)):
            stamp = 1_700_000_000_000_000_000 + k * round(dt * 1e9)
            state[3] = speed(k * dt)
            writer.write("/odom", ODOMETRY, messages.odometry(stamp, state), stamp)
            if controls:
                sent = stamp + 7_000_000
                command = messages.ackermann(sent, steering(k * dt), speed=speed(k * dt))
                writer.write("/drive", ACKERMANN, command, sent)
            for i in range(round(dt / fine)):
                now = k * dt + i * fine
                newest = np.floor((now - DELAY - 0.007) / dt + 1e-9) * dt  # held since
                turning = state[3] * np.tan(steering(max(newest, 0.0))) / 0.33
                state[:3] += fine * np.array([state[3] * np.cos(state[2]), state[3] * np.sin(state[2]), turning])
                state[5] = turning
    return path


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("bags") / "run")


@pytest.fixture(scope="module")
def fitted(recording, tmp_path_factory):
    """The command's answer, its JSON, and the folder it wrote."""
    out = tmp_path_factory.mktemp("fitted")
    result = run(recording, "--out", out / "car", "--reference-point", "rear_axle", "--json", out / "new" / "f.json")
    assert result.exit_code == 0, result.output
    return result, json.loads((out / "new" / "f.json").read_text()), out / "car"


def run(*arguments):
    return CliRunner().invoke(app, ["fit", *map(str, arguments)], env={"COLUMNS": "200"})


def failure(*arguments):
    return run(*arguments).exception


def test_wheelbase_and_delay_of_a_recorded_car(fitted):
    _, figures, _ = fitted
    assert figures["parameters"]["wheelbase"]["value"] == pytest.approx(0.33, rel=0.02)
    assert figures["parameters"]["wheelbase"]["identifiable"] is True
    assert figures["parameters"]["wheelbase"]["std"] < 0.03
    # Finer than the rows, and in spite of commands that come between them.
    assert figures["delay_s"]["steering"] == pytest.approx(DELAY, abs=0.004)


def test_figures_name_every_parameter_of_the_model(fitted):
    _, figures, folder = fitted
    assert figures["parameters"].keys() == load(folder).model.values().keys()
    assert all(set(found) == {"value", "std", "identifiable"} for found in figures["parameters"].values())
    assert figures["parameters"]["steering_scale"] == {"value": 1.0, "std": None, "identifiable": None}
    assert figures["delay_s"].keys() == {"steering", "drive"}
    assert figures["model"] == load(folder).id


def test_the_passport_says_where_the_model_comes_from(fitted, recording):
    _, figures, folder = fitted
    passport, drive = load(folder).passport, read_drive(recording)
    (bag,) = passport.bags
    assert (bag.source, bag.sha256) == (str(recording), drive.source_hash)
    assert bag.end_s == pytest.approx(drive.start_s + 0.8 * (drive.end_s - drive.start_s), abs=2 * DT)
    assert passport.split == "time:0.8"
    assert passport.parameters["wheelbase"].std == figures["parameters"]["wheelbase"]["std"]
    assert passport.parameters["wheelbase"].identifiable is True
    assert [(score.bag, score.horizon_s) for score in passport.scores] == [("run", 1.0), ("run", 2.0)]
    assert all(score.ade_m < 0.1 for score in passport.scores)
    assert any("only as a ratio" in note for note in passport.notes)


def test_the_table_and_the_plain_words(fitted):
    result, _, folder = fitted
    for text in ("kinematic_bicycle", "wheelbase", "identifiable", "held out", "note: driving determines", str(folder)):
        assert text in result.output
    assert list(folder.parent.glob(".car*")) == []  # nothing unfinished is left


def test_evaluate_scores_what_was_held_out(fitted, recording, tmp_path):
    _, figures, folder = fitted
    arguments = [folder, "--bag", recording, "--horizon", 1, "--horizon", 2, "--json", tmp_path / "f.json"]
    result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "no held-out score" not in result.output
    rows = {row["horizon_s"]: row for row in json.loads((tmp_path / "f.json").read_text()) if row["model"] == "car"}
    for score in figures["scores"]:
        assert rows[score["horizon_s"]]["ade_m"] == pytest.approx(score["ade_m"], abs=0.01)


def test_the_same_command_gives_the_same_model(recording, tmp_path):
    ids = set()
    for name in ("one", "two"):
        assert run(recording, "--out", tmp_path / name, *FEW, "--horizon", 0.5).exit_code == 0
        ids.add(load(tmp_path / name).id)
    assert len(ids) == 1


def test_a_prior_fixed_values_and_a_vehicle(recording, tmp_path):
    result = run(
        recording, "--out", tmp_path / "car", "--vehicle", "f1tenth", "--prior", "wheelbase=0.30:0.003",
        "--fix", "steering_lag=0", "--fix", "drive_lag=0", "--only", "wheelbase", "--only", "steering_delay",
        "--bounds", "steering_delay=0.05:0.2", "--split", "none", "--json", tmp_path / "f.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["parameters"]["steering_scale"]["value"] == pytest.approx(0.30 / 0.33, abs=0.02)
    assert "contradicts a recorded road wheel angle" in result.output
    assert figures["scores"] == []
    assert load(tmp_path / "car").passport.split == "none"


def test_two_recordings_make_one_model(recording, tmp_path):
    second = write_recording(tmp_path / "again", seconds=10)
    assert run(recording, second, "--out", tmp_path / "car", *FEW).exit_code == 0
    assert len(load(tmp_path / "car").passport.bags) == 2
    slow = write_recording(tmp_path / "slow", seconds=10, dt=0.05)
    error = failure(recording, slow, "--out", tmp_path / "other", *FEW)
    assert isinstance(error, DataError)
    assert "read both with the same rate" in str(error)


def test_a_recording_without_controls(tmp_path):
    error = failure(write_recording(tmp_path / "bag", seconds=2, controls=False), "--out", tmp_path / "car")
    assert isinstance(error, DataError)
    assert "no controls" in str(error)
    assert not (tmp_path / "car").exists()


def test_a_folder_with_something_else_is_left_alone_at_once(recording, tmp_path):
    (tmp_path / "thesis.txt").write_text("everything")
    error = failure(recording, "--out", tmp_path)
    assert isinstance(error, ModelError)
    assert "choose another folder" in str(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prior", "wheelbase=0.33"), "--prior wheelbase=0.33: expected NAME=VALUE:STD"),
        (("--prior", "wheelbase=0.33:no"), "expected NAME=VALUE:STD"),
        (("--fix", "wheelbase"), "--fix wheelbase: expected NAME=VALUE"),
        (("--bounds", "wheelbase=0.3"), "expected NAME=LOW:HIGH"),
        (("--fix", "wheelbse=0.33"), "wheelbse"),
        (("--split", "bag"), "bag"),
        (("--split", "all"), "leaves nothing to fit to"),
        (("--split", "half"), "split 'half'"),
        (("--model", "rocket"), "no parametric model of kind 'rocket'"),
        (("--topic", "odom=/nowhere"), "no readable topic '/nowhere'"),
        (("--min-speed", "50"), "never reaches 50 m/s"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(recording, tmp_path, arguments, message):
    error = failure(recording, "--out", tmp_path / "car", *arguments)
    assert isinstance(error, (ConfigError, DataError, ModelError))
    assert message in str(error)
    assert not (tmp_path / "car").exists()


def test_mistakes_end_in_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mbrl", "fit", str(tmp_path / "nothing"), "--out", str(tmp_path / "car")])
    with pytest.raises(SystemExit) as exit_status:
        main()
    assert exit_status.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error:")
    assert "no such recording" in error
    assert run().exit_code == 2


def test_help_has_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "Example: mbrl fit" in result.output
    for option in ("--prior", "--fix", "--free", "--split", "--reference-point", "--json"):
        assert option in result.output
