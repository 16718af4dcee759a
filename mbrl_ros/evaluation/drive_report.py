"""The report of driving before and after a fit: a table and pictures in one HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

Row = tuple[str, Sequence[str]]
"""A figure's name, and its value for each drive."""


def write_drive_report(
    folder: Path, title: str, columns: Sequence[str], rows: Sequence[Row], pictures: Mapping[str, Figure]
) -> Path:
    """Write ``folder/report.html`` and a PNG per picture; the path of the former.

    Args:
        folder: made if need be; what is there is replaced.
        title: heading.
        columns: names of the drives.
        rows: figures of the drives.
        pictures: by caption; the file is named after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for caption, figure in pictures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
        (folder / f"{caption.lower().replace(' ', '_')}.png").write_bytes(buffer.getvalue())
        images[caption] = base64.b64encode(buffer.getvalue()).decode()
    environment = Environment(
        loader=PackageLoader("mbrl_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("drive_report.html.j2").render(
        title=title, columns=columns, rows=rows, images=images
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path
