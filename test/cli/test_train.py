"""`mbrl train` as a script meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from typer.testing import CliRunner

from mbrl_ros.cli.main import app
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError, DataError, ModelError
from mbrl_ros.learning.recipe import Recipe

RECIPES = Path(__file__).resolve().parents[2] / "config" / "training"


def run(*arguments, command="train"):
    return CliRunner().invoke(app, [command, *map(str, arguments)], env={"COLUMNS": "200"})


def test_a_model_that_the_other_commands_take(weaving_bag, write_recipe, tmp_path):
    recipe = write_recipe()
    out = tmp_path / "models" / "car"
    result = run(recipe, weaving_bag, "--out", out, "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.output
    assert sorted(item.name for item in out.iterdir()) == ["model.yaml", "weights.safetensors"]
    assert list((tmp_path / "models" / "car-training" / "curves").glob("events.out.tfevents.*"))
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["kind"] == "semiparametric"
    assert [(s["bag"], s["horizon_s"]) for s in figures["scores"]] == [("weaving", 1.0), ("weaving", 2.0)]
    assert "held out: position error" in result.output
    assert "nearer to the held-out driving" not in result.output

    stated = yaml.safe_load((out / "model.yaml").read_text())
    assert stated["split"] == "time:0.8"
    assert len(stated["bags"][0]["sha256"]) == 64
    assert stated["parameters"]["wheelbase"]["std"] > 0

    scored = run(out, "--bag", weaving_bag, "--horizon", 1, "--json", tmp_path / "scores.json", command="evaluate")
    assert scored.exit_code == 0, scored.output
    found = {row["model"]: row for row in json.loads((tmp_path / "scores.json").read_text())}
    assert found["car"]["ade_m"] == pytest.approx(figures["scores"][0]["ade_m"], rel=0.1)
    assert found["car"]["ade_m"] < found["ctrv"]["ade_m"]


def test_physics_begins_with_the_cars_parameters_where_the_recipe_names_none(weaving_bag, write_recipe, tmp_path):
    identification = {"horizon_s": 0.5, "max_windows": 20, "parameters": {"drive_lag": 0.02}}
    recipe = write_recipe(network=None, identification=identification)
    assert run(recipe, weaving_bag, "--vehicle", "f1tenth", "--out", tmp_path / "car").exit_code == 0
    parameters = yaml.safe_load((tmp_path / "car" / "model.yaml").read_text())["parameters"]
    assert {name: parameters[name]["value"] for name in ("steering_lag", "drive_lag")} == {
        "steering_lag": 0.04,
        "drive_lag": 0.02,
    }
    assert parameters["wheelbase"]["std"] > 0
    wrong = run(recipe, weaving_bag, "--vehicle", "f2tenth", "--out", tmp_path / "other").exception
    assert isinstance(wrong, ConfigError)
    assert "config/vehicles has no 'f2tenth.yaml'; it has" in str(wrong)


def test_killed_it_goes_on_where_it_was(weaving_bag, write_recipe, tmp_path):
    """SIGKILL after the first epoch; the same command then ends with the model of an undisturbed training."""
    recipe = write_recipe(training={"epochs": 6})
    command = [sys.executable, "-m", "mbrl_ros.cli.main", "train", recipe, weaving_bag, "--out", tmp_path / "killed"]
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
    resumed = run(recipe, weaving_bag, "--out", tmp_path / "killed", "--json", tmp_path / "a.json")
    assert resumed.exit_code == 0, resumed.output
    assert run(recipe, weaving_bag, "--out", tmp_path / "whole", "--json", tmp_path / "b.json").exit_code == 0
    names = [json.loads((tmp_path / name).read_text())["model"] for name in ("a.json", "b.json")]
    assert names[0] == names[1]


def test_ctrl_c_keeps_the_best_so_far_and_the_same_command_goes_on(weaving_bag, write_recipe, tmp_path):
    recipe = write_recipe(training={"epochs": 400, "patience": 400})
    out = tmp_path / "car"
    command = [sys.executable, "-m", "mbrl_ros.cli.start", "train", recipe, weaving_bag, "--out", out]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 90
        while not (tmp_path / "car-training" / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "kept the best so far" in output
    assert "Traceback" not in errors
    stated = yaml.safe_load((out / "model.yaml").read_text())
    assert [s["horizon_s"] for s in stated["scores"]] == [1.0, 2.0]
    (note,) = [note for note in stated["notes"] if note.startswith("stopped after")]
    assert 1 <= int(note.split()[2]) < 400
    assert (tmp_path / "car-training" / "kept").is_file()  # so that the same command may go on and replace it


def test_ctrl_c_while_it_is_being_loaded_leaves_no_traceback(tmp_path):
    for patience_s in (0.1, 0.6):
        command = [sys.executable, "-m", "mbrl_ros.cli.start", "train", "semiparametric", tmp_path, "--out", tmp_path]
        with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True) as process:
            time.sleep(patience_s)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "Traceback" not in errors


def test_two_processes_give_the_model_of_one(weaving_bag, write_recipe, tmp_path):
    """Up to the order in which floats are summed; and only one of the two speaks."""
    recipe = write_recipe()
    arguments = ("train", recipe, weaving_bag, "--out", tmp_path / "two", "--json", tmp_path / "two.json")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, "-m", "mbrl_ros.cli.start"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        list(map(str, [*command, *arguments])), env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("written to") == 1
    assert run(recipe, weaving_bag, "--out", tmp_path / "one", "--json", tmp_path / "one.json").exit_code == 0
    one, two = (safetensors.torch.load_file(tmp_path / name / "weights.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weights in one.items():
        torch.testing.assert_close(two[name], weights, rtol=0, atol=1e-5)
    scores = [json.loads((tmp_path / f"{name}.json").read_text())["scores"] for name in ("one", "two")]
    assert scores[0][1]["ade_m"] == pytest.approx(scores[1][1]["ade_m"], rel=1e-3)


def test_a_model_is_replaced_only_with_force(weaving_bag, write_recipe, tmp_path):
    recipe = write_recipe(network=None)
    arguments = (recipe, weaving_bag, "--out", tmp_path / "car", "--split", "none")
    assert run(*arguments).exit_code == 0
    refused = run(*arguments).exception
    assert isinstance(refused, ModelError)
    assert "--force" in str(refused)
    assert run(*arguments, "--force").exit_code == 0


def test_too_little_memory_says_what_to_do(weaving_bag, write_recipe, tmp_path):
    """A process that may have 600 MB more than it starts with is asked for weights of several GB."""
    recipe = write_recipe(network={"members": 32, "hidden": 1024})
    program = """
import resource, sys
from mbrl_ros.cli.main import main
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 600 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (size, size))
main()
"""
    command = [sys.executable, "-c", program, "train", recipe, weaving_bag, "--out", tmp_path / "car"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200)
    assert done.returncode == 2, done.stderr
    assert "out of memory" in done.stderr
    assert "lower batch, hidden, members or horizon_s" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_that_come_with_the_package(path):
    read_settings(path, Recipe)
    values = [line for line in path.read_text().splitlines() if ":" in line and not line.lstrip().startswith("#")]
    plain = ("network:", "training:", "identification:", "seed: 0", "weight_decay: 0.01", "kind: mlp")
    assert all("#" in line or line.strip() in plain for line in values)


def test_mistakes_are_explained(weaving_bag, write_recipe, tmp_path):
    recipe = write_recipe()
    out = ("--out", tmp_path / "car")
    assert isinstance(run("nothing", weaving_bag, *out).exception, ConfigError)
    assert "no such recording" in str(run(recipe, tmp_path / "nothing", *out).exception)
    assert isinstance(run(recipe, weaving_bag, *out, "--split", "lap:7").exception, DataError)
    empty = run(recipe, weaving_bag, *out, "--split", "all").exception
    assert isinstance(empty, ConfigError)
    assert "leaves nothing to fit to" in str(empty)
    write_recipe(training={"epoch": 3})
    assert "did you mean 'epochs'" in str(run(recipe, weaving_bag, *out).exception)
    assert run().exit_code == 2
