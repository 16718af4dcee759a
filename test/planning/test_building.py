"""Packages that another process builds while plans are found in plain torch; what is built is tiny."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.planning.rollouts import Rollouts

pytestmark = pytest.mark.timeout(300)

START, ACTIONS = torch.tensor([1.0, 0.0]), torch.linspace(-1, 1, 60).reshape(3, 20, 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path))
    return tmp_path / "rollouts"


@pytest.fixture
def refuses(tmp_path, monkeypatch):
    """A compiler that does not work."""
    program = tmp_path / "refuses"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))


def test_rollouts_are_evaluated_while_another_process_compiles_them(cache):
    rollouts, steps = Rollouts(DoubleIntegrator(), Regulate()), []
    expected = rollouts.evaluate(START, ACTIONS)
    warming = threading.Thread(target=rollouts.warming_beside())
    warming.start()
    while warming.is_alive():
        with torch.inference_mode():  # as planners do: what it makes must not get into what is being prepared
            steps.append(rollouts.evaluate(START, ACTIONS))
    assert rollouts.backend == "compiled", rollouts.note
    assert rollouts.note.startswith("Rollouts compiled in")
    assert len(list(cache.glob("*.pt2"))) == 1
    assert steps
    for costs in (*steps, rollouts.evaluate(START, ACTIONS)):
        np.testing.assert_allclose(costs, expected, rtol=1e-5)
    with torch.no_grad():
        rollouts._step.model.mass.fill_(2.0)  # its own parameters, not those of the copies
    assert not torch.allclose(rollouts.evaluate(START, ACTIONS), expected)


def test_a_process_that_fails_is_told_and_rollouts_stay_eager(refuses):
    rollouts = Rollouts(DoubleIntegrator(), Regulate())
    rollouts.warming_beside()()
    assert rollouts.backend == "eager"
    assert rollouts.note.startswith("Rollouts are not compiled: InductorError: InvalidCxxCompiler")
    assert torch.isfinite(rollouts.evaluate(START, ACTIONS)).all()


def test_a_process_that_is_killed_is_told_and_one_whose_other_is_killed_ends(monkeypatch, tmp_path):
    """However long it would have to wait for a compiler."""
    waits, begun = tmp_path / "waits", tmp_path / "begun"
    waits.write_text(f"#!/bin/sh\necho $PPID $$ > {begun}.part && mv {begun}.part {begun}\nexec sleep 100\n")
    waits.chmod(0o755)
    program = (
        "from planning_toys import DoubleIntegrator, Regulate\n"
        "from mbrl_ros.planning.building import Order, build_elsewhere\n"
        "if __name__ == '__main__':\n"
        "    build_elsewhere(Order(DoubleIntegrator(), Regulate(), 1, 'cpu'))\n"
    )
    environment = {**os.environ, "CXX": str(waits), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for killed in ("this", "other"):
        begun.unlink(missing_ok=True)
        with (tmp_path / "said").open("w") as said:
            process = subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=said)
        other, compiler = map(int, when_there(begun).split())
        os.kill(other if killed == "other" else process.pid, signal.SIGKILL)
        process.wait()
        os.kill(compiler, signal.SIGKILL)
        told = "MbrlError: Rollouts are not compiled: the process for that ended with -9\n"
        assert killed == "this" or (tmp_path / "said").read_text().endswith(told)
        with contextlib.suppress(FileNotFoundError):
            while " Z " not in Path(f"/proc/{other}/stat").read_text():
                time.sleep(0.05)


def when_there(path):
    while not path.exists():
        time.sleep(0.05)
    return path.read_text()
