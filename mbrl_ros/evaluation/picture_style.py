"""How the pictures of all reports look."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbrl_ros.core.files import write_whole

INK, GRID, ROAD = "#2e3440", "#d8dce3", "#c3c8d1"

TITLE: dict[str, Any] = {"loc": "left", "color": INK, "fontsize": 12, "fontweight": "bold"}


def plain(axes: Axes) -> None:
    """A light grid, no frame, labels in ink."""
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def save_png(figure: Figure, path: Path) -> str:
    """Write a picture to ``path``, and answer with it in base64 for a page that holds its pictures itself."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_whole(path, buffer.getvalue())
    return base64.b64encode(buffer.getvalue()).decode()
