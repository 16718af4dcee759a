"""Memory that a training holds, by the length of the recording.

    python benchmarks/memory.py BAG [--megabytes 60] [--times 10] [--recipe FILE] [--json FILE]

BAG is driven again and again until its messages measure so many megabytes, and ten times as many. Each is trained on in
a process of its own with one epoch, and what is said is the most that the process held (peak resident set, which counts
pages of mapped files too), and by how much that is more than before it opened the recording.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))

from long_bag import write_repeated

RECIPE = Path(__file__).resolve().parents[1] / "config" / "training" / "recurrent.yaml"
PROGRAM = """
import json, resource, sys
from pathlib import Path
import torch
from mbrl_ros.bringup.training import Training, run_training
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
torch.set_num_threads(1)
before = peak()
recipe, bag, out = sys.argv[1:]
run_training(Training(recipe, [Path(bag)], Path(out), split="none", reading={"mean_commands": True}))
print(json.dumps([before, peak()]))
"""


def measured(recipe: Path, bag: Path, scratch: Path) -> dict[str, Any]:
    """Train on ``bag`` with nothing in the cache."""
    environment = {**os.environ, "MBRL_CACHE": str(scratch / f"cache-{bag.name}"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", PROGRAM, str(recipe), str(bag), str(scratch / f"model-{bag.name}")]
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    before, after = json.loads(done.stdout.splitlines()[-1])
    return {"bag_mb": sum(file.stat().st_size for file in bag.iterdir()) / 1e6, "before_mb": before, "peak_mb": after}


def main() -> None:
    """Measure, print, and write --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--megabytes", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        recipe = yaml.safe_load(options.recipe.read_text())
        recipe["training"]["epochs"] = 1
        (scratch / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        rows = []
        for times in (1, options.times):
            bag = scratch / f"times_{times}"
            write_repeated(options.bag, bag, times * options.megabytes)
            rows.append(measured(scratch / "recipe.yaml", bag, scratch))
            print(
                f"{rows[-1]['bag_mb']:7.0f} MB recorded: peak {rows[-1]['peak_mb']:.0f} MB, "
                f"{rows[-1]['peak_mb'] - rows[-1]['before_mb']:.0f} MB more than before"
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
