"""Decoded recordings, kept in the user's cache as arrays that are mapped, not read: a second reading takes no time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_ros.core.cache import cache_folder
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.mapped import blocks, let_go
from mbrl_ros.core.recording import Drive, Segment

PART = "drives"
"""Folder of the cache."""

LARGEST_GB = 20.0
"""Of all entries together; the ones that were not used for longest go first."""

_ARRAYS = ("time_s", "state", "action")
_FACTS = "drive.json"


def kept(source: str, source_hash: str, options: Mapping[str, Any], decode: Callable[[], Drive]) -> Drive:
    """The drive that ``decode`` makes of a recording, from the cache where it is there and sound.

    Args:
        source: path of the recording, as the drive is to name it.
        source_hash: of its contents.
        options: everything else that decides the outcome, as plain values.
        decode: makes it.
    """
    text = json.dumps([source_hash, options, _code()], sort_keys=True)
    folder = cache_folder(PART) / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not _sound(folder):
        _write(decode(), folder)
        shrink(LARGEST_GB)
    os.utime(folder)
    return replace(_load(folder), source=source)


def shrink(largest_gb: float) -> int:
    """Drop the entries that were not used for longest until all take at most ``largest_gb``; how many went."""
    entries = sorted(filter(None, map(_measured, cache_folder(PART).iterdir())))
    gone, left = 0, sum(size for _, size, _ in entries)
    for _, size, entry in entries:
        if left <= largest_gb * 1e9:
            break
        shutil.rmtree(entry, ignore_errors=True)
        gone, left = gone + 1, left - size
    return gone


def _measured(entry: Path) -> tuple[float, int, Path] | None:
    """When a folder was last used and its bytes; None where another process moved it or its files away meanwhile."""
    try:
        return (entry.stat().st_mtime, sum(file.stat().st_size for file in entry.iterdir()), entry)
    except (FileNotFoundError, NotADirectoryError):
        return None


@cache
def _code() -> str:
    """Hash of the code that decodes: another one may make something else of the same recording."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _write(drive: Drive, folder: Path) -> None:
    """Under a temporary name, then moved into place; what is there is damaged."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        fresh = Path(scratch, "fresh")
        fresh.mkdir()
        for name in _ARRAYS:
            _save(fresh / f"{name}.npy", [getattr(segment, name) for segment in drive.segments])
        facts = {
            "rows": [len(segment) for segment in drive.segments],
            "actions": next(name for name, layout in ACTIONS.items() if layout == drive.segments[0].action_layout),
            "dt": drive.dt,
            "reference_point": drive.reference_point,
            "source_hash": drive.source_hash,
            "topics": drive.topics,
            "notes": drive.notes,
            "sha256": {name: _digest(fresh / f"{name}.npy") for name in _ARRAYS},
        }
        (fresh / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
        if folder.exists():
            folder.rename(Path(scratch, "damaged"))
        try:
            fresh.rename(folder)
        except OSError:
            if not _sound(folder):  # else another process was faster
                raise


def _save(path: Path, parts: Sequence[np.ndarray]) -> None:
    """What `np.save` writes of the parts one after another, without a copy of all of them in memory."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(float)), "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            for rows in blocks(len(part)):
                file.write(np.ascontiguousarray(part[rows], dtype=float).data)
                let_go(part)


def _sound(folder: Path) -> bool:
    """Whether an entry is there and holds what was written."""
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        return all(_digest(folder / f"{name}.npy") == facts["sha256"][name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError):
        return False


def _load(folder: Path) -> Drive:
    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    time_s, state, action = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in _ARRAYS)
    layout = ACTIONS[facts["actions"]]
    borders = np.cumsum([0, *facts["rows"]])
    segments = tuple(
        Segment(time_s[start:end], state[start:end], action[start:end], layout) for start, end in pairwise(borders)
    )
    return Drive(
        segments,
        facts["dt"],
        facts["reference_point"],
        "",
        facts["source_hash"],
        facts["topics"],
        tuple(facts["notes"]),
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
