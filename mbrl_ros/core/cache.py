"""The folder for what can be made anew: compiled rollouts, decoded recordings."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(part: str) -> Path:
    """``$MBRL_CACHE``, or mbrl_ros below the user's cache folder (XDG), with a folder for ``part``; created."""
    base = (
        os.environ.get("MBRL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mbrl_ros"
    )
    folder = Path(base) / part
    folder.mkdir(parents=True, exist_ok=True)
    return folder
