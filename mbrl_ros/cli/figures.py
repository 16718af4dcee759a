"""Figures for scripts: what ``--json FILE`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

JsonFile = Annotated[Path | None, typer.Option("--json", help="file to write the figures to")]


def write_figures(path: Path | None, figures: Any) -> None:
    """Write ``figures`` (plain data) to ``path``, whose folder is made; nothing where ``path`` is None."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2) + "\n")
