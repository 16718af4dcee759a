"""Packages that another process builds while plans are found in plain torch; what is built is tiny."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.planning import building
from mbrl_ros.planning.building import Order, build_elsewhere
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
    assert len(steps) > 20
    for costs in (*steps, rollouts.evaluate(START, ACTIONS)):
        np.testing.assert_allclose(costs, expected, rtol=1e-5)
    with torch.no_grad():
        rollouts._step.model.mass.fill_(2.0)  # its own parameters, not those of the copies
    assert not torch.allclose(rollouts.evaluate(START, ACTIONS), expected)


def test_a_process_that_fails_is_told_and_rollouts_stay_eager(refuses):
    rollouts = Rollouts(DoubleIntegrator(), Regulate())
    rollouts.warming_beside()()
    assert rollouts.backend == "eager"
    assert rollouts.note.startswith("Rollouts are not compiled: MbrlError: the process that builds them ended with 1: ")
    assert torch.isfinite(rollouts.evaluate(START, ACTIONS)).all()


def test_the_other_process_ends_with_the_one_that_orders(monkeypatch, tmp_path):
    """However long it would have to wait for a compiler."""
    waits = tmp_path / "waits"
    waits.write_text(f"#!/bin/sh\ntouch {tmp_path / 'begun'}\nexec sleep 100\n")
    waits.chmod(0o755)
    monkeypatch.setenv("CXX", str(waits))
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen

    def noted(command, **given):
        started.append(popen(command, **given))
        started[0].stdin.close()  # as when this process ends
        return started[0]

    monkeypatch.setattr(building.subprocess, "Popen", noted)
    with pytest.raises(building.MbrlError, match="ended with 1: it said nothing"):
        build_elsewhere(Order(DoubleIntegrator(), Regulate(), 1, "cpu"))
    assert started[0].args[0] == sys.executable
