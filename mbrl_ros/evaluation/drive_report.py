"""The report of drives with one model after the other: a table and pictures in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from mbrl_ros.core.files import write_whole
from mbrl_ros.evaluation.picture_style import save_png

Row = tuple[str, Sequence[str]]
"""A figure's name, and its value for each drive."""


def write_drive_report(
    folder: Path,
    title: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    pictures: Mapping[str, Figure],
    notes: Sequence[str] = (),
) -> Path:
    """Write ``folder/report.html`` and a PNG per picture; the path of the former.

    Args:
        folder: made if need be; what is there is replaced.
        title: heading.
        columns: names of the drives.
        rows: figures of the drives.
        pictures: by caption; the file is named after it.
        notes: sentences below the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images = {}
    for caption, figure in pictures.items():
        images[caption] = save_png(figure, folder / f"{caption.lower().replace(' ', '_')}.png")
    environment = Environment(
        loader=PackageLoader("mbrl_ros.evaluation", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("drive_report.html.j2").render(
        title=title, columns=columns, rows=rows, images=images, notes=notes
    )
    path = folder / "report.html"
    write_whole(path, page)
    return path
