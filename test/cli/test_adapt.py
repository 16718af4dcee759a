"""`mbrl adapt` on a car whose understeer changed."""

import json

import numpy as np
import torch
from typer.testing import CliRunner

from mbrl_ros.cli.main import app
from mbrl_ros.data import messages
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build

DT = 0.05
START_NS = 1_700_000_000 * 10**9


def car(understeer):
    return build("kinematic_bicycle", {"wheelbase": 0.33, "understeer": understeer}, dt=DT)


def record(path, understeer, seed, swing):
    rng, state = np.random.default_rng(seed), torch.zeros(8, dtype=torch.float64)
    phase, state[3] = rng.uniform(0, 6), 3.0
    with BagWriter(path) as bag:
        for k in range(400):
            stamp_ns = START_NS + round(k * DT * 1e9)
            action = np.array([swing * np.sin(0.9 * k * DT + phase), 2 * (3.0 - float(state[3]))])
            noisy = state.numpy() + rng.normal(size=8) * [0.003, 0.003, 0.002, 0.01, 0.005, 0.01, 0.0, 0.0]
            command = messages.ackermann(stamp_ns, action[0], acceleration=action[1])
            bag.write("/drive", "ackermann_msgs/msg/AckermannDriveStamped", command, stamp_ns)
            bag.write("/vehicle_state", "mbrl_ros/msg/VehicleState", messages.vehicle_state(stamp_ns, noisy), stamp_ns)
            with torch.no_grad():
                state = car(understeer)(state, torch.from_numpy(action))
    return str(path)


def test_writes_a_better_model_that_says_where_it_comes_from(tmp_path):
    new = record(tmp_path / "new", 0.02, 1, swing=0.2)
    old = record(tmp_path / "old", 0.012, 2, swing=0.005)
    before = passport.save(car(0.012), tmp_path / "model")
    paths = [str(tmp_path / name) for name in ("model", "adapted", "figures.json")]
    arguments = ["adapt", paths[0], new, "--replay", old, "--out", paths[1], "--json", paths[2]]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["after"]["new_m"] < 0.5 * figures["before"]["new_m"]
    assert figures["after"]["old_m"] < 1.2 * figures["before"]["old_m"]
    assert figures["parameters"]["understeer"]["after"] > 0.014
    adapted = passport.load(tmp_path / "adapted")
    assert adapted.id == figures["model"] != before
    assert f"adapted from {before}" in adapted.passport.notes
    assert [bag.source for bag in adapted.passport.bags] == [new]
    assert "replayed" in result.output
