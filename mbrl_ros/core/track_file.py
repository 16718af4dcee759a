"""Track files: CSV with the header that racing tracks are widely shared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.files import write_whole

COLUMNS = ("x_m", "y_m", "w_tr_right_m", "w_tr_left_m")
"""Centre line, and the distance from it to the right and to the left edge."""


def read_rows(path: str | Path) -> tuple[np.ndarray, list[int]]:
    """[N, 4] in the order of COLUMNS, and the line number of each row.

    Columns are found by their names in the header, which may begin with ``#``; other columns are not read. Other
    lines that begin with ``#`` are comments.

    Raises:
        DataError: the file cannot be read, has no header, or a line does not fit; names file, line, field and fix.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); check the path") from error
    names: list[str] | None = None
    rows: list[list[float]] = []
    numbers: list[int] = []
    for number, line in enumerate(lines, start=1):
        fields = [field.strip() for field in line.lstrip("# \t").split(",")]
        if names is None and set(COLUMNS) <= set(fields):
            names = fields
        elif not line.strip() or line.lstrip().startswith("#"):
            continue
        elif names is None:
            raise DataError(f"{path}: line {number}: data before a header; add the line '# {','.join(COLUMNS)}' on top")
        elif len(fields) != len(names):
            raise DataError(f"{path}: line {number}: {len(fields)} fields, but the header names {len(names)}")
        else:
            rows.append([_number(fields[names.index(name)], name, f"{path}: line {number}") for name in COLUMNS])
            numbers.append(number)
    if names is None:
        raise DataError(f"{path}: no header; add the line '# {','.join(COLUMNS)}' on top")
    return np.array(rows).reshape(-1, len(COLUMNS)), numbers


def write_rows(path: str | Path, rows: np.ndarray, comments: Sequence[str] = ()) -> None:
    """Write [N, 4] rows in the order of COLUMNS below ``comments``.

    To 1 um: between points 0.1 m apart, a grain of 0.1 mm is a noise of 0.01 1/m in the curvature.
    """
    lines = [f"# {comment}" for comment in comments] + ["# " + ",".join(COLUMNS)]
    lines += [",".join(f"{value:.6f}" for value in row) for row in rows]
    write_whole(path, "\n".join(lines) + "\n")


def _number(text: str, name: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{where}: field '{name}' is {text!r}, not a number") from None
