"""The house's walls: which room may import which, and what no room may import."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "mbrl_ros"
SOURCES = Path(__file__).resolve().parents[1] / PACKAGE

# From the roof to the ground. A room may import from the floors below its own, not from its own floor.
FLOORS = (
    ("nodes", "cli"),
    ("bringup",),
    ("evaluation", "learning"),
    ("planning", "world_models", "estimation", "simulation", "data"),
    ("models",),
    ("core",),
)
LEVEL = {room: len(FLOORS) - floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ROS_ROOMS = FLOORS[0]
# Conversions and qualities of service that the nodes share serve the command line's own node, too.
OPEN_DOORS = {("cli", "nodes.shared")}
ROS_MODULES = {"rclpy", "launch", "launch_ros", "builtin_interfaces", "rcl_interfaces", "tf2_ros"}
GENERATED = {"msg", "srv", "action"}
# They run whatever code a file asks them to.
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@dataclass(frozen=True)
class Import:
    """One imported name: the dotted path of its module, and the name itself where one is taken from it."""

    module: str
    name: str | None
    line: int


def imports(tree: ast.AST, package: list[str]) -> list[Import]:
    """Every import of a module that lies in ``package``, relative ones resolved."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, None, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [Import(module, alias.name, node.lineno) for alias in node.names]
    return found


def is_ros(path: list[str]) -> bool:
    """Whether a dotted path leads into ROS: the client library, launch, or any message package."""
    if path[0] == PACKAGE:
        return len(path) > 1 and path[1] in GENERATED
    return path[0] in ROS_MODULES or path[0].endswith("_msgs")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def broken_by_import(room: str, found: Import) -> str | None:
    """The rule that an import of a module in ``room`` breaks, if any."""
    path = [*found.module.split("."), *([found.name] if found.name else [])]
    if path[0] in UNSAFE_MODULES:
        return f"imports {path[0]}, which runs code from files"
    if is_ros(path):
        return None if room in ROS_ROOMS else f"imports {found.module}; ROS stays in {' and '.join(ROS_ROOMS)}"
    if path[0] != PACKAGE or len(path) < 2 or path[1] == room:
        return None
    target = path[1]
    if any(is_private(part) for part in path[1:]):
        return f"takes the private {'.'.join(path)} of another room"
    if target not in LEVEL:
        return None if not (SOURCES / target).is_dir() else f"imports the room {target}, which has no floor"
    if LEVEL[target] >= LEVEL[room] and (room, ".".join(path[1:3])) not in OPEN_DOORS:
        return f"imports {target}, which is not below {room}"
    return None


def unsafe_calls(tree: ast.AST) -> list[tuple[str, int]]:
    """Calls of torch.load, and of numpy's load with pickles allowed."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            called = ast.unparse(node.func)
            if called == "torch.load" or any(keyword.arg == "allow_pickle" for keyword in node.keywords):
                found.append((f"calls {called}, which unpickles", node.lineno))
    return found


def violations(source: str, path: Path) -> list[str]:
    """Rules that a source file breaks; ``path`` is its place below the package, such as core/track.py."""
    tree = ast.parse(source)
    room = path.parts[0]
    package = [PACKAGE, *path.parent.parts]
    found = [(broken_by_import(room, item), item.line) for item in imports(tree, package)]
    return [f"{PACKAGE}/{path}:{line} {rule}" for rule, line in found + unsafe_calls(tree) if rule]


def test_walls_hold():
    files = sorted(path for path in SOURCES.rglob("*.py") if path.parent != SOURCES)
    broken = [rule for path in files for rule in violations(path.read_text("utf-8"), path.relative_to(SOURCES))]
    assert not broken, "\n".join(broken)


def test_every_room_has_a_floor():
    rooms = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    assert rooms <= set(LEVEL)


@pytest.mark.parametrize(
    ("path", "source", "rule"),
    [
        ("core/a.py", "from mbrl_ros.models import model", "not below core"),
        ("core/a.py", "import mbrl_ros.planning.mppi", "not below core"),
        ("core/a.py", "def f():\n    from mbrl_ros import models", "not below core"),
        ("core/a.py", "from ..models.model import Model", "not below core"),
        ("planning/a.py", "from mbrl_ros.estimation import ekf", "not below planning"),
        ("nodes/a.py", "from mbrl_ros.cli import main", "not below nodes"),
        ("cli/a.py", "from mbrl_ros.nodes import simulator", "not below cli"),
        ("bringup/a.py", "import rclpy", "ROS stays"),
        ("data/a.py", "from nav_msgs.msg import Odometry", "ROS stays"),
        ("data/a.py", "from mbrl_ros.msg import VehicleState", "ROS stays"),
        ("data/a.py", "from mbrl_ros import msg", "ROS stays"),
        ("planning/a.py", "from mbrl_ros.models.model import _secret", "private"),
        ("planning/a.py", "from mbrl_ros.models._hidden import thing", "private"),
        ("models/a.py", "import pickle", "runs code"),
        ("models/a.py", "import torch\ntorch.load('x', weights_only=True)", "unpickles"),
        ("models/a.py", "import numpy as np\nnp.load('x', allow_pickle=True)", "unpickles"),
    ],
)
def test_a_hole_in_a_wall_is_found(path, source, rule):
    (found,) = violations(source, Path(path))
    assert rule in found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("planning/a.py", "from mbrl_ros.models.model import Model\nfrom mbrl_ros.core import track"),
        ("planning/a.py", "from mbrl_ros.planning._rollout import run\nfrom ._noise import draw"),
        ("evaluation/a.py", "from mbrl_ros.planning import mppi\nfrom mbrl_ros import __version__"),
        ("nodes/a.py", "import rclpy\nfrom mbrl_ros.msg import VehicleState"),
        ("cli/a.py", "from mbrl_ros.nodes.shared import quality\nfrom mbrl_ros.nodes.shared.messages import state_of"),
        ("nodes/shared/a.py", "from mbrl_ros.nodes.shared.messages import stamp"),
    ],
)
def test_lawful_imports_pass(path, source):
    assert violations(source, Path(path)) == []
