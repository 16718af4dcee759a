"""Pendulum-v1 by MPPI and CEM with the true model: every sampler and update, 20 episodes each.

    python benchmarks/pendulum_mppi.py [--seeds 20] [--rollouts 256] [--only white] [--json FILE]

There is no peer: the bar is a mean return of -175. The episode of seed n begins as Gymnasium begins it with seed n.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.files import write_whole
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import CEMSettings, MPPISettings
from mbrl_ros.planning.planner import Problem
from mbrl_ros.simulation.pendulum_planning import DT_S, PendulumModel, PendulumTask

STEPS = 200
STD_NM = 1.0
COMMON: dict[str, Any] = {"horizon": 30, "dt_s": DT_S, "control_cost_share": 0.0, "effective_share": 0.05}
CEM: dict[str, Any] = {"update": "cem", "iterations": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "white": {"sampler": "white"},
    "spline": {"sampler": "spline", "knot_spacing_s": 0.2},
    "spline, antithetic": {"sampler": "spline", "knot_spacing_s": 0.2, "antithetic": True},
    "coloured, exponent 2": {"sampler": "coloured"},
    "derivative": {"sampler": "derivative", "knot_spacing_s": 0.2},
    "spline, 3 iterations": {"sampler": "spline", "knot_spacing_s": 0.2, "iterations": 3},
    "CEM, white, 3 iterations": {
        "update": "cem",
        "sampler": "white",
        "iterations": 3,
        "cem": CEMSettings(kept_share=0.0),
    },
    "iCEM, 3 iterations": {**CEM, "sampler": "coloured"},
}


def planner(rollouts: int, **variant: Any) -> MPPI:
    settings = MPPISettings(rollouts=rollouts, **{**COMMON, **variant})
    subject = MPPI(PendulumModel(), PendulumTask(), settings, noise_std=[STD_NM])
    subject.warm_up()
    return subject


def episode(subject: MPPI, seed: int) -> float:
    """Return of one episode."""
    environment = gymnasium.make("Pendulum-v1").unwrapped
    environment.reset(seed=seed)
    subject.reset()
    history, returned = CommandHistory(np.zeros(1)), 0.0
    for step in range(STEPS):
        stamp_s = step * DT_S
        torque = subject.plan(Problem(environment.state, stamp_s, history)).actions[0]
        history.append(stamp_s, torque)
        returned += float(environment.step(torque)[1])
    return returned


def main() -> None:
    """Score every variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rollouts", type=int, default=256)
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="this variant; may be repeated")
    parser.add_argument("--json", type=Path, help="write returns by variant and seed here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, rows = Console(), []
    table = Table("", "return, mean", "standard deviation", "worst", title=f"Pendulum-v1, {arguments.seeds} episodes")
    for name in arguments.only or VARIANTS:
        subject = planner(arguments.rollouts, **VARIANTS[name])
        with console.status(name):
            returns = np.array([episode(subject, seed) for seed in range(arguments.seeds)])
        table.add_row(name, *(f"{value:.1f}" for value in (returns.mean(), returns.std(), returns.min())))
        rows.append({"variant": name, "mean": float(returns.mean()), "returns": returns.tolist()})
    console.print(table)
    if arguments.json:
        write_whole(arguments.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
