"""Compiled packages on disk: found again, told apart, and never trusted blindly. Nothing is compiled here."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from planning_toys import DoubleIntegrator, Regulate

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.core.tasks.goal import GoalSettings, GoalTask
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning import packages
from mbrl_ros.planning.rollouts import Rollouts

pytestmark = pytest.mark.timeout(900)  # the first test on a machine compiles


def hash_of(model, task):
    rollouts = Rollouts(model, task)
    inputs = rollouts._way.inputs
    sizes = packages.Sizes(len(model.state_layout), len(model.action_layout), len(task.term_names), inputs.tables())
    return packages.structure_hash(rollouts._eager, inputs.current(), sizes)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path))
    return tmp_path / "rollouts"


@pytest.fixture
def built(compiled, car, race):
    """The package that the ``compiled`` fixture uses."""
    return next(cache_folder(packages.PART).glob(f"{hash_of(car, race)}-*.pt2"))


def test_the_hash_ignores_values_and_tracks(car, race, vehicle):
    expected = hash_of(car, race)
    other = car.with_parameters({"wheelbase": 0.5, "drive_delay": 0.2})
    track = generate_track(3, TrackSettings(length_m=45.0, corners=7))
    settings = RacingSettings(acceleration_limit_mps2=3.0, progress_weight=3.0)
    elsewhere = RacingTask(track, vehicle, settings, dt=car.dt)
    assert hash_of(other, elsewhere) == expected


def test_the_hash_tells_structures_apart(car, race, vehicle):
    goal = GoalTask((1.0, 2.0, 0.3), vehicle, GoalSettings(), dt=car.dt)
    hashes = [
        hash_of(car, race),
        hash_of(car, goal),
        hash_of(build_for(vehicle, "kinematic_bicycle", dt=car.dt, substeps=2), race),
        hash_of(build_for(vehicle, "kinematic_bicycle", dt=car.dt, integrator="euler"), race),
        hash_of(build_for(vehicle, "kinematic_bicycle", dt=car.dt, reference_point="rear_axle"), race),
        hash_of(car.with_parameters({"drag": 0.1}), race),
        hash_of(build_for(vehicle, "single_track", dt=car.dt), race),
        hash_of(DoubleIntegrator(), Regulate()),
        hash_of(DoubleIntegrator(dt=0.2), Regulate(dt=0.2)),
    ]
    assert len(set(hashes)) == len(hashes)


def test_what_is_compiled_is_loaded_without_the_compiler(built, car, race, tmp_path):
    """Importing it takes seconds, in which a planner that starts has to wait."""
    (tmp_path / "pickled").write_bytes(pickle.dumps((car, race)))
    program = (
        "import pickle, sys; from mbrl_ros.planning.rollouts import Rollouts\n"
        "rollouts = Rollouts(*pickle.load(open(sys.argv[1], 'rb'))); rollouts.warm_up()\n"
        "print(rollouts.backend, *sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "pickled")]
    backend, *loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert backend == "compiled"
    assert {"torch._dynamo", "torch._inductor", "sympy"}.isdisjoint(loaded)


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty"])
def test_a_damaged_package_is_replaced_and_told(built, cache, car, race, monkeypatch, damage):
    cache.mkdir()
    broken = cache / built.name
    contents = built.read_bytes()
    middle = len(contents) // 2
    broken.write_bytes(
        {
            "truncated": contents[:middle],
            "overwritten": contents[:middle] + bytes(1000) + contents[middle + 1000 :],
            "empty": b"",
        }[damage]
    )

    def build(folder, *_):
        return Path(shutil.copy(built, folder / built.name))

    monkeypatch.setattr(packages, "_build", build)
    rollouts = Rollouts(car, race)
    rollouts.warm_up()
    assert rollouts.backend == "compiled"
    assert f"{broken} was damaged" in rollouts.note
    assert "compiled in" in rollouts.note


def test_a_package_of_other_equations_is_refused(built, cache, car, race, monkeypatch):
    """Under the right name and intact, but computing something else, as after a collision or a wrong copy."""
    cache.mkdir()
    other = mirrored(car)
    digest = built.stem.rpartition("-")[2]
    shutil.copy(built, cache / f"{hash_of(other, race)}-{digest}.pt2")
    monkeypatch.setattr(packages, "missing_tools", lambda: "nothing to build with")
    rollouts = Rollouts(other, race)
    rollouts.warm_up()
    assert rollouts.backend == "eager"
    assert "computes something else" in rollouts.note


def mirrored(car):
    """A car that does the opposite of what it is told."""

    class Mirrored(type(car)):
        def forward(self, state, action):
            return super().forward(state, -action)

    copy = car.with_parameters({})
    copy.__class__ = Mirrored
    return copy


@pytest.mark.parametrize(
    ("compiler", "says"),
    [
        ("no-such-compiler -O2", "no C++ compiler 'no-such-compiler'; install one"),
        ("g++ '", "no command line"),
        ("", "Python.h is missing"),
    ],
)
def test_without_tools_rollouts_are_eager_and_say_why(cache, monkeypatch, tmp_path, compiler, says):
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    else:
        monkeypatch.setattr(packages.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    rollouts = Rollouts(DoubleIntegrator(), Regulate())
    rollouts.warm_up()
    assert rollouts.backend == "eager"
    assert says in rollouts.note
    assert torch.isfinite(rollouts.evaluate(torch.zeros(2), torch.ones(3, 4, 1))).all()


def test_a_cache_that_cannot_be_is_told_and_rollouts_are_eager(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path / "file" / "cache"))
    rollouts = Rollouts(DoubleIntegrator(), Regulate())
    rollouts.warm_up()
    assert rollouts.backend == "eager"
    assert "no folder to keep them in" in rollouts.note


def test_a_compiler_that_fails_is_told(cache, monkeypatch):
    def build(*_):
        raise RuntimeError("g++: out of memory\nand a long story")

    monkeypatch.setattr(packages, "_build", build)
    rollouts = Rollouts(DoubleIntegrator(), Regulate())
    rollouts.warm_up()
    assert rollouts.note == "Rollouts are not compiled: RuntimeError: g++: out of memory"


def test_the_cache_is_where_the_user_wants_it(monkeypatch, tmp_path):
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path / "mine"))
    assert cache_folder(packages.PART) == tmp_path / "mine" / "rollouts"
    monkeypatch.delenv("MBRL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(packages.PART) == tmp_path / "xdg" / "mbrl_ros" / "rollouts"
    assert cache_folder(packages.PART).is_dir()
