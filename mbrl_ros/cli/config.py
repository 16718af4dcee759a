"""`mbrl config check`: settings files validated offline, as the nodes will when they start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from mbrl_ros.bringup.graph import config_folder
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.core.config import read_settings, read_yaml
from mbrl_ros.core.errors import ConfigError, MbrlError
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.models.parametric import KINDS, build_for
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

app = typer.Typer(help="Settings files.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Settings files."""


@app.command()
def check(
    paths: Annotated[list[Path] | None, typer.Argument(help="files; by default all that come with the package")] = None,
    json_file: JsonFile = None,
) -> None:
    """Check settings files: unknown keys, types, ranges and units, and whether cars and tracks can be made of them.

    --json writes what is wrong by file, an empty text where nothing is. Exit status: 0 when all are good, 1 when one
    is not.

    Example: mbrl config check config/vehicles/f1tenth.yaml
    """
    console = Console()
    findings = {str(path): _finding(path) for path in paths or _shipped()}
    for path, finding in findings.items():
        verdict = f"[red]wrong[/] {escape(finding)}" if finding else f"[green]good[/]  {escape(path)}"
        console.print(verdict, soft_wrap=True, highlight=False)
    write_figures(json_file, findings)
    if any(findings.values()):
        raise typer.Exit(1)


def _shipped() -> list[Path]:
    return sorted(path for path in config_folder().rglob("*") if path.is_file())


def _finding(path: Path) -> str:
    """What is wrong with a file, or an empty string."""
    try:
        _CHECKS[_kind(path)](path)
    except MbrlError as error:
        return str(error)
    return ""


def _kind(path: Path) -> str:
    """Which kind of file it is: by its folder, or by what it holds."""
    if path.parent.name in _CHECKS:
        return path.parent.name
    if path.suffix in (".csv", ".rviz"):
        return {".csv": "tracks", ".rviz": "rviz"}[path.suffix]
    keys = read_yaml(path)
    if isinstance(keys, dict) and "limits" in keys:
        return "vehicles"
    if isinstance(keys, dict) and RacingPlannerSettings.model_fields.keys() & keys.keys():
        return "planners"
    if isinstance(keys, dict) and {"physics", "network"} <= keys.keys():
        return "training"
    raise ConfigError(
        f"{path}: neither a vehicle (has limits) nor a planner (has mppi, task or loop) nor a recipe (has physics and "
        "network)"
    )


def _check_vehicle(path: Path) -> None:
    vehicle = read_settings(path, Vehicle)
    try:
        for kind in KINDS:
            build_for(vehicle, kind, dt=0.02)
        Simulator(vehicle)
    except MbrlError as error:
        raise ConfigError(f"{path}: {error}") from error


def _check_planner(path: Path) -> None:
    read_settings(path, RacingPlannerSettings)


def _check_recipe(path: Path) -> None:
    read_settings(path, Recipe)


def _check_track(path: Path) -> None:
    Track.from_csv(path)


def _check_display(path: Path) -> None:
    if not isinstance(read_yaml(path), dict):
        raise ConfigError(f"{path}: holds no settings of rviz")


_CHECKS: dict[str, Callable[[Path], None]] = {
    "vehicles": _check_vehicle,
    "planners": _check_planner,
    "training": _check_recipe,
    "tracks": _check_track,
    "rviz": _check_display,
}
