"""`mbrl evaluate` as a script meets it: files, exit statuses, one clear line for a mistake."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from mbrl_ros.cli.main import app, main
from mbrl_ros.core.errors import DataError
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import save

DT = 0.02


@pytest.fixture
def recording(tmp_path):
    """15 s of what ``mbrl drive --record`` writes, made by a kinematic car."""
    path = tmp_path / "run"
    state = np.zeros(8)
    state[3] = 2.0
    with BagWriter(path) as writer:
        for k in range(750):
            stamp = 1_700_000_000_000_000_000 + k * 20_000_000
            steering, acceleration = 0.2 * np.sin(0.03 * k), 0.1 * np.cos(0.02 * k)
            command = messages.ackermann(stamp, steering, speed=2.0, acceleration=acceleration)
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
            answer = messages.vehicle_state(stamp, state, "rear_axle")
            writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", answer, stamp)
            state[5:] = state[3] * np.tan(steering) / 0.33, steering, acceleration
            state[:3] += DT * np.array([state[3] * np.cos(state[2]), state[3] * np.sin(state[2]), state[5]])
            state[3] += DT * acceleration
    return path


def bicycle(folder):
    save(build("kinematic_bicycle", {"wheelbase": 0.33}, dt=DT, reference_point="rear_axle"), folder)
    return folder


def run(*arguments, columns=200):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": str(columns)})


def test_figures_for_scripts(recording, tmp_path):
    result = run(
        bicycle(tmp_path / "bicycle"), "--bag", recording, "--split", "time:0.5", "--horizon", 1, "--horizon", 0.5,
        "--json", tmp_path / "figures.json", "--report", tmp_path / "report",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert {(r["model"], r["horizon_s"]) for r in rows} == {
        (m, h) for m in ("bicycle", "persistence", "ctrv", "linear", "floor") for h in (0.5, 1.0)
    }
    for row in rows:
        assert row["bag"] == "run"
        assert row["starts"] > 20
        assert 0 <= row["ade_m"] <= row["fde_m"]
    found = {r["model"]: r["ade_m"] for r in rows if r["horizon_s"] == 1.0}
    assert found["bicycle"] < 0.3 * found["ctrv"]
    assert (tmp_path / "report" / "report.html").is_file()
    assert "bicycle" in result.output
    assert "note: actions: steering angle and acceleration commanded on /drive" in result.output


def test_the_table_says_what_the_json_says(recording, tmp_path):
    result = run(
        bicycle(tmp_path / "bicycle"), "--bag", recording, "--split", "time:0.5", "--horizon", 1, "--horizon", 0.5,
        "--json", tmp_path / "figures.json", columns=100,
    )  # fmt: skip
    assert max(map(len, result.output.split("note:")[0].splitlines())) <= 100
    rows = json.loads((tmp_path / "figures.json").read_text())
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.output.splitlines() if "│" in line]
    at = {(row["model"], row["horizon_s"]): row for row in rows}
    for model in ("bicycle", "persistence", "ctrv", "linear", "floor"):
        short, long = at[model, 0.5], at[model, 1.0]
        place = next(k for k, line in enumerate(lines) if line[0] == model)
        assert lines[place][1:3] == [f"{row['ade_m']:.3f} / {row['fde_m']:.3f}" for row in (short, long)]
        assert lines[place + 1][2] == "{:.3f}–{:.3f}".format(*long["ade_interval_m"])
        by_state = next(line for line in lines[place + 1 :] if line[0] == model)
        assert by_state[1:3] == [f"{long['rmse'][name]:.3g}" for name in ("yaw", "vx")]
        assert sum(regime["starts"] for regime in long["regimes"].values()) == long["starts"]
        assert (long["rollouts_s"] is not None) == (model == "bicycle")
    time_ms = 1e3 * at["bicycle", 1.0]["rollouts_s"]
    assert next(line[-1] for line in lines if line[0] == "bicycle") == f"{time_ms:.0f} ms"
    floors = [f"{regime['ade_m']:.3f}" for regime in at["floor", 1.0]["regimes"].values()]
    assert [line[-1] for line in lines if len(line) == 7 and line[2].isdigit()] == floors


def test_several_recordings_have_a_table_side_by_side(recording, tmp_path):
    other = recording.rename(tmp_path / "other")
    shutil.copytree(other, recording)
    result = run("--bag", recording, "--bag", other, "--horizon", 0.5, "--report", tmp_path / "report", columns=100)
    assert result.exit_code == 0, result.output
    assert "run, 0.5 s" in result.output
    assert "other, 0.5 s" in result.output
    assert "<th>run</th><th>other</th>" in (tmp_path / "report" / "report.html").read_text()


def test_baselines_alone(recording, tmp_path):
    assert run("--bag", recording, "--json", tmp_path / "f.json").exit_code == 0
    models = {row["model"] for row in json.loads((tmp_path / "f.json").read_text())}
    assert models == {"persistence", "ctrv", "linear", "floor"}


def test_model_with_a_baselines_name_keeps_its_own(recording, tmp_path):
    run(bicycle(tmp_path / "floor"), "--bag", recording, "--json", tmp_path / "f.json")
    models = {row["model"] for row in json.loads((tmp_path / "f.json").read_text())}
    assert len(models) == 4  # without a split the linear baseline has nothing to be fitted to
    assert any(name.startswith("floor-") for name in models)


def test_topics_can_be_told(recording):
    result = run("--bag", recording, "--topic", "odom=/nowhere")
    assert isinstance(result.exception, DataError)
    assert "no readable topic '/nowhere'" in str(result.exception)


def test_mistakes_of_usage(recording):
    assert run().exit_code == 2
    assert run("--bag", recording, "--on-bad", "ignore").exit_code == 2


def test_a_missing_recording_is_one_clear_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["mbrl", "evaluate", "--bag", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit) as exit_status:
        main()
    assert exit_status.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error:")
    assert "no such recording" in error
    assert "Traceback" not in error


def test_help_has_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "Example: mbrl evaluate" in result.output
