"""C++ made here and compiled for this processor, with the compiler that the machine has."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mbrl_ros.core.errors import MbrlError
from mbrl_ros.planning.packages import missing_tools


def compiler() -> list[str]:
    """``$CXX``, which may carry options, or g++."""
    return shlex.split(os.environ.get("CXX", "")) or ["g++"]


def compile_library(source: str, flags: Sequence[str], libraries: Sequence[str], path: Path) -> None:
    """Make the shared library ``path`` of ``source``; it gets its name only when it is complete.

    Raises:
        MbrlError: there is no compiler, or it refuses the source.
    """
    if missing := missing_tools():
        raise MbrlError(f"{path.name} cannot be compiled: {missing}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built = Path(folder) / path.name
        command = [*compiler(), *flags, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(built), *libraries]
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode:
            raise MbrlError(f"{compiler()[0]} refuses {path.name}: {done.stderr.strip()[:2000]}")
        built.replace(path)
