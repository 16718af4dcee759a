"""`mbrl train` as a script meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from mbrl_ros.cli.main import app
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError, DataError
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.learning.recipe import Recipe

RECIPES = Path(__file__).resolve().parents[2] / "config" / "training"
RECIPE = {
    "physics": "kinematic_bicycle",
    "identification": {"horizon_s": 0.5, "max_windows": 20},
    "network": {"kind": "gru", "members": 1, "hidden": 4, "history_s": 0.2},
    "training": {"horizon_s": 0.5, "start_every_s": 0.5, "epochs": 3, "batch": 32, "block_s": 4},
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A minute of a car weaving at 20 Hz."""
    path = tmp_path_factory.mktemp("bags") / "weaving"
    state = np.array([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    with BagWriter(path) as writer:
        for k in range(1200):
            stamp = 1_700_000_000_000_000_000 + k * 50_000_000
            steering, acceleration = 0.2 * np.sin(0.05 * k), 0.5 * np.cos(0.02 * k)
            command = messages.ackermann(stamp, steering, speed=3.0, acceleration=acceleration)
            writer.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp)
            answer = messages.vehicle_state(stamp, state, "rear_axle")
            writer.write("/vehicle_state", "mbrl_ros/msg/VehicleState", answer, stamp)
            state[5:] = state[3] * np.tan(steering) / 0.33, steering, acceleration
            state[:3] += 0.05 * np.array([state[3] * np.cos(state[2]), state[3] * np.sin(state[2]), state[5]])
            state[3] += 0.05 * acceleration
    return path


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "quick.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def run(*arguments, command="train"):
    return CliRunner().invoke(app, [command, *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_model_that_the_other_commands_take(recording, recipe, tmp_path):
    out = tmp_path / "models" / "car"
    result = run(recipe, recording, "--out", out, "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    assert sorted(item.name for item in out.iterdir()) == ["model.yaml", "weights.safetensors"]
    assert list((tmp_path / "models" / "car-training" / "curves").glob("events.out.tfevents.*"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["kind"] == "semiparametric"
    assert [(s["bag"], s["horizon_s"]) for s in figures["scores"]] == [("weaving", 1.0), ("weaving", 2.0)]
    assert "held out: position error" in result.output

    stated = yaml.safe_load((out / "model.yaml").read_text())
    assert stated["split"] == "time:0.8"
    assert len(stated["bags"][0]["sha256"]) == 64
    assert stated["parameters"]["wheelbase"]["std"] > 0

    scored = run(out, "--bag", recording, "--horizon", 1, "--json", tmp_path / "scores.json", command="evaluate")
    assert scored.exit_code == 0, scored.output
    found = {row["model"]: row for row in json.loads((tmp_path / "scores.json").read_text())}
    assert found["car"]["ade_m"] == pytest.approx(figures["scores"][0]["ade_m"], rel=0.1)
    assert found["car"]["ade_m"] < found["ctrv"]["ade_m"]


def test_killed_it_goes_on_where_it_was(recording, recipe, tmp_path):
    """SIGKILL after the first epoch; the same command then ends with the model of an undisturbed training."""
    recipe.write_text(yaml.safe_dump({**RECIPE, "training": {**RECIPE["training"], "epochs": 6}}))
    command = [sys.executable, "-m", "mbrl_ros.cli.main", "train", recipe, recording, "--out", tmp_path / "killed"]
    checkpoint = tmp_path / "killed-training" / "checkpoint.safetensors"
    process = subprocess.Popen(
        list(map(str, command)), env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 90
        while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert checkpoint.exists()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    resumed = run(recipe, recording, "--out", tmp_path / "killed", "--json", tmp_path / "a.json")
    assert resumed.exit_code == 0, resumed.output
    assert run(recipe, recording, "--out", tmp_path / "whole", "--json", tmp_path / "b.json").exit_code == 0
    names = [json.loads((tmp_path / name).read_text())["model"] for name in ("a.json", "b.json")]
    assert names[0] == names[1]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_that_come_with_the_package(path):
    read_settings(path, Recipe)
    values = [line for line in path.read_text().splitlines() if ":" in line and not line.lstrip().startswith("#")]
    plain = ("network:", "training:", "identification:", "seed: 0", "weight_decay: 0.01", "kind: mlp")
    assert all("#" in line or line.strip() in plain for line in values)


def test_mistakes_are_explained(recording, recipe, tmp_path):
    out = ("--out", tmp_path / "car")
    assert isinstance(run("nothing", recording, *out).exception, ConfigError)
    assert "no such recording" in str(run(recipe, tmp_path / "nothing", *out).exception)
    assert isinstance(run(recipe, recording, *out, "--split", "lap:7").exception, DataError)
    empty = run(recipe, recording, *out, "--split", "all").exception
    assert isinstance(empty, ConfigError)
    assert "leaves nothing to fit to" in str(empty)
    recipe.write_text(yaml.safe_dump({**RECIPE, "training": {"epoch": 3}}))
    assert "did you mean 'epochs'" in str(run(recipe, recording, *out).exception)
    assert run().exit_code == 2
