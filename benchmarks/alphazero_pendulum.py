"""Pendulum-v1 by tree search with learned policy and value: 45 episodes of 25 simulations a step, then 20 to score.

    python benchmarks/alphazero_pendulum.py [--seeds 3] [--json FILE]

There is no peer: the bar is a mean return of -250 within 45 episodes and half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from mbrl_ros.core.files import write_whole
from mbrl_ros.learning.alphazero import AlphaZeroSettings, evaluate, train
from mbrl_ros.simulation.pendulum import Pendulum


def main() -> None:
    """Train and score, seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write returns and times by seed here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # operations this small only wait for each other on more
    console, rows = Console(), []
    table = Table(
        "seed", "return, mean", "standard deviation", "worst", "training, s", title="Pendulum-v1, 45 episodes"
    )
    for seed in range(arguments.seeds):
        settings = AlphaZeroSettings(seed=seed)
        begun = time.monotonic()
        with console.status(f"seed {seed}") as status:
            say = f"seed {seed}: {{0.episodes}} episodes, return {{0.returned:.0f}}".format
            network = train(Pendulum(), settings, lambda each, say=say: status.update(say(each)))  # type: ignore[misc]
            trained_s = time.monotonic() - begun
            scores = evaluate(Pendulum(), network, settings, episodes=20, seed=1000 + seed)
        mean, spread, worst = float(scores.mean()), float(scores.std()), float(scores.min())
        table.add_row(str(seed), f"{mean:.0f}", f"{spread:.0f}", f"{worst:.0f}", f"{trained_s:.0f}")
        rows.append({"seed": seed, "mean": mean, "std": spread, "worst": worst, "training_s": trained_s})
    console.print(table)
    if arguments.json:
        write_whole(arguments.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
