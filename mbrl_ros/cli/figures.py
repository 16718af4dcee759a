"""Figures for scripts, what ``--json FILE`` writes, and for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mbrl_ros.core.files import write_whole

JsonFile = Annotated[Path | None, typer.Option("--json", help="file to write the figures to")]


def write_figures(path: Path | None, figures: Any) -> None:
    """Write ``figures`` (plain data) to ``path``, whose folder is made; nothing where ``path`` is None.

    JSON knows no NaN and no infinity: figures that are not finite become null.
    """
    if path is not None:
        write_whole(path, json.dumps(_finite(figures), indent=2, allow_nan=False) + "\n")


def shown(value: float, decimals: int, unit: str = "") -> str:
    """A figure for a table, or a dash where there is none."""
    return f"{value:.{decimals}f}{unit}" if math.isfinite(value) else "–"


def _finite(figures: Any) -> Any:
    if isinstance(figures, float):
        return figures if math.isfinite(figures) else None
    if isinstance(figures, Mapping):
        return {key: _finite(value) for key, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [_finite(value) for value in figures]
    return figures
