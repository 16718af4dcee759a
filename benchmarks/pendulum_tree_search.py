"""Pendulum-v1 by tree search that learns: 45 episodes of 25 simulations a step, then 20 to score.

    python benchmarks/pendulum_tree_search.py [--algorithm muzero] [--reuse] [--seeds 3] [--json FILE]

AlphaZero searches the pendulum's own equations and learns policy and value, MuZero learns the model, too. There is no
peer: the bar is a mean return of -250 within 45 episodes and half an hour on two cores, by AlphaZero.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from mbrl_ros.core.files import write_whole
from mbrl_ros.learning.tree_search import Algorithm, Round, TreeSearchSettings, evaluate, train
from mbrl_ros.simulation.pendulum import Pendulum

# A latent model is learned by three errors of different size; they weigh about the same here.
SETTINGS: dict[Algorithm, dict[str, float]] = {
    "alphazero": {},
    "muzero": {"batch": 128, "value_weight": 0.25, "consistency_weight": 2.0, "gradient_norm": 10.0},
}


def main() -> None:
    """Train and score, seed after seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=get_args(Algorithm), default="alphazero")
    parser.add_argument("--reuse", action="store_true", help="go on in the last search's tree")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write returns and times by seed here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # operations this small only wait for each other on more
    console, rows = Console(), []
    title = f"Pendulum-v1 by {arguments.algorithm}, 45 episodes"
    table = Table("seed", "last 10 episodes, mean", "scored, mean", "std", "worst", "training, s", title=title)
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        settings = TreeSearchSettings.model_validate(
            {**SETTINGS[arguments.algorithm], "algorithm": arguments.algorithm, "reuse": arguments.reuse, "seed": seed}
        )
        seen: list[Round] = []
        begun = time.monotonic()
        with console.status(f"seed {seed}") as status:

            def show(each: Round, seed: int = seed, seen: list[Round] = seen, status=status) -> None:
                seen.append(each)
                status.update(f"seed {seed}: {each.episodes} episodes, return {each.returned:.0f}")

            model = train(Pendulum(), settings, show)
            trained_s = time.monotonic() - begun
            scores = evaluate(Pendulum(), model, settings, episodes=20, seed=1000 + seed)
        last = (seen[-2].returned + seen[-1].returned) / 2  # two rounds of five, which explore
        figures = {"last_10": last, "mean": float(scores.mean()), "std": float(scores.std())}
        figures |= {"worst": float(scores.min()), "training_s": trained_s}
        table.add_row(str(seed), *(f"{figure:.0f}" for figure in figures.values()))
        rows.append({"algorithm": arguments.algorithm, "reuse": arguments.reuse, "seed": seed, **figures})
        if arguments.json:
            write_whole(arguments.json, json.dumps(rows, indent=1) + "\n")
    console.print(table)


if __name__ == "__main__":
    main()
