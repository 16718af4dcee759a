"""How long a team waits for a model: `mbrl doctor`, `mbrl train` and `mbrl evaluate` on one recording.

    python benchmarks/chain.py BAG [--megabytes 60] [--recipe semiparametric] [--threads 2] [--json FILE]

BAG is driven again and again until its messages measure so many megabytes. Each command is a process of its own, with
the time that it took and the most memory that it held; nothing is in the cache before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from long_bag import write_repeated


def measured(name: str, words: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Run ``mbrl`` with ``words`` and say what it took; warnings of the doctor are no failure."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "mbrl_ros.cli.start", *words], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    status = os.waitstatus_to_exitcode(status)
    if status not in ((0, 1) if name == "doctor" else (0,)):
        raise SystemExit(f"mbrl {' '.join(words)}: ended with status {status}")
    return {"command": name, "seconds": time.monotonic() - begun, "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mb": usage.ru_maxrss / 1024}  # fmt: skip


def main() -> None:
    """Measure, print, and write --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--megabytes", type=float, default=60.0)
    parser.add_argument("--recipe", default="semiparametric")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bag, model = Path(scratch, "bag"), Path(scratch, "model")
        times = write_repeated(options.bag, bag, options.megabytes)
        environment = {**os.environ, "MBRL_CACHE": str(Path(scratch, "cache")), "OMP_NUM_THREADS": str(options.threads)}
        print(f"{options.bag.name}, begun {times} times: {options.megabytes:g} MB of messages, {os.cpu_count()} cores")
        fitted = ["--out", str(model), "--threads", str(options.threads)]
        rows = [
            measured("doctor", ["doctor", str(bag)], environment),
            measured("train", ["train", options.recipe, str(bag), *fitted], environment),
            measured("evaluate", ["evaluate", str(model), "--bag", str(bag)], environment),
        ]
    rows.append({
        "command": "all", "seconds": sum(row["seconds"] for row in rows),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows), "peak_mb": max(row["peak_mb"] for row in rows),
    })  # fmt: skip
    for row in rows:
        print(f"{row['command']:9s}{row['seconds']:8.1f} s{row['cpu_seconds']:8.1f} s CPU{row['peak_mb']:8.0f} MB")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
