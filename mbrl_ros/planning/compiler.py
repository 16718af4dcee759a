"""What is made here, traced and compiled for this processor, with the compiler that the machine has."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from mbrl_ros.core.errors import MbrlError

TRACING = threading.RLock()
"""Held by whoever traces, and for each step of eager rollouts: torch's tracers change modules for every thread, and
bear no other beside them that calls modules by functions (`torch.func.functional_call`)."""


def compiler() -> list[str]:
    """``$CXX``, which may carry options, or g++."""
    return shlex.split(os.environ.get("CXX", "")) or ["g++"]


def missing_compiler() -> str:
    """Why there is no C++ compiler, with the fix, or an empty string."""
    try:
        name = compiler()[0]
    except ValueError as error:
        return f"CXX is {os.environ['CXX']!r}, which is no command line ({error}); mend it"
    if shutil.which(name) is None:
        return f"there is no C++ compiler '{name}'; install one (apt install g++)"
    return ""


def processor() -> str:
    """What code compiled for this machine may rely on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def digest(path: Path) -> str:
    """Twelve hex digits of a file's contents."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def compile_library(source: str, flags: Sequence[str], libraries: Sequence[str], path: Path) -> None:
    """Make the shared library ``path`` of ``source``; it gets its name only when it is complete.

    Raises:
        MbrlError: there is no compiler, or it refuses the source.
    """
    if missing := missing_compiler():
        raise MbrlError(f"{path.name} cannot be compiled: {missing}")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".building-") as folder:
        built = Path(folder) / path.name
        command = [*compiler(), *flags, "-shared", "-fPIC", "-x", "c++", "-", "-o", str(built), *libraries]
        done = subprocess.run(command, input=source, capture_output=True, text=True)
        if done.returncode:
            raise MbrlError(f"{compiler()[0]} refuses {path.name}: {done.stderr.strip()[:2000]}")
        built.replace(path)
