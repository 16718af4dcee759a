"""Tables of the nodes' parameters, in Markdown, made of their settings classes; with --write they go into README.md."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from mbrl_ros.core.config import unit_of
from mbrl_ros.nodes.shared import parameters

README = Path(__file__).resolve().parents[1] / "README.md"
NODES = ("state_estimator", "dynamics_server", "planner", "command_gate", "simulator", "bag_player", "trainer")
ELSEWHERE = {"planner": "shared.planner_node"}
"""Modules of nodes whose executable loads them only when it runs."""
BEGIN, END = "<!-- tools/parameter_tables.py --write -->", "<!-- end of the tables -->"


def tables() -> str:
    """A table for each node, between the marks that enclose them in the README."""
    return "\n".join([BEGIN, *(line for name in NODES for line in _table(name)), "", END])


def written(readme: str) -> str:
    """``readme`` with the tables of today."""
    return re.sub(f"{BEGIN}.*{END}", lambda _: tables(), readme, flags=re.DOTALL)


def _table(node: str) -> list[str]:
    settings = "".join(word.capitalize() for word in node.split("_")) + "Settings"
    kind = getattr(importlib.import_module(f"mbrl_ros.nodes.{ELSEWHERE.get(node, node)}"), settings)
    rows = [
        f"| `{name}` | {_type(name, info)} | {_default(info)} | {info.description} |"
        for name, info in parameters.leaves(kind)
    ]
    return ["", f"#### {node}", "", "| parameter | type | default | meaning |", "|---|---|---|---|", *rows]


def _type(name: str, info: FieldInfo) -> str:
    if choices := parameters.choices(info):
        return " or ".join(f"`{choice}`" for choice in choices)
    kind = parameters.plain_type(info)
    return ", ".join(part for part in (kind.__name__, unit_of(name), _range(info)) if part)


def _range(info: FieldInfo) -> str:
    low, high = parameters.bounds(info)
    if low is None:
        return ""
    above = parameters.plain_type(info) is float and any(getattr(item, "gt", None) == low for item in info.metadata)
    return f"{'above ' if above else 'from '}{low:g}" + (f" to {high:g}" if high is not None else "")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "must be given"
    default = info.get_default(call_default_factory=True)
    if default is None or default == "":
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(written(README.read_text()))
    else:
        print(tables())
