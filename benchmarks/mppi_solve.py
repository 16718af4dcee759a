"""Solve time of MPPI, eager and compiled, for the kinematic and the single-track model on a track.

    python benchmarks/mppi_solve.py [--rollouts 1024] [--horizon 50] [--threads 1] [--json FILE]

A solve is a whole cycle: warm start, noise, rollouts and cost on the track's grid, weights, and the trace of the plan.
The first run on a machine also compiles, and says how long that took; MBRL_CACHE=$(mktemp -d) makes every run a first.
Cycles of the two models alternate, so that a disturbance of the machine meets both.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.tasks.racing import RacingTask
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.planner import Problem
from mbrl_ros.planning.settings import RacingPlannerSettings

CONFIG = Path(__file__).resolve().parents[1] / "config"
KINDS = ("kinematic_bicycle", "single_track")


def make(kind: str, options: argparse.Namespace, backend: str) -> MPPI:
    vehicle = read_settings(CONFIG / "vehicles" / "f1tenth.yaml", Vehicle)
    settings = read_settings(CONFIG / "planners" / "mppi_f1tenth.yaml", RacingPlannerSettings)
    changes = {"rollouts": options.rollouts, "horizon": options.horizon, "threads": options.threads, "backend": backend}
    mppi = settings.mppi.model_copy(update=changes)
    model = build_for(vehicle, kind, dt=mppi.dt_s, substeps=mppi.substeps)
    return MPPI(model, RacingTask(track(), vehicle, settings.task, dt=mppi.dt_s), mppi)


def track() -> Track:
    return Track.from_csv(CONFIG / "tracks" / "demo.csv")


def solve_times_s(planners: list[MPPI], cycles: int) -> np.ndarray:
    """[planners, cycles] wall time of each solve."""
    section, history = track().at(0.0), CommandHistory(np.zeros(2))
    state = np.array([*section.position, float(section.heading), 4.0, 0.0, 0.0, 0.0, 0.0])
    times = np.zeros((len(planners), cycles))
    for cycle in range(-5, cycles):
        for row, planner in enumerate(planners):
            begun = time.perf_counter()
            planner.plan(Problem(state, 0.02 * cycle, history))
            if cycle >= 0:
                times[row, cycle] = time.perf_counter() - begun
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1024)
    parser.add_argument("--horizon", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cycles", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{options.rollouts} rollouts x {options.horizon} steps, {options.threads} thread(s), torch {torch.__version__}"
    )
    print(f"{platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}")
    results = []
    for backend, cycles in (("compiled", options.cycles), ("eager", max(3, options.cycles // 100))):
        planners = [make(kind, options, backend) for kind in KINDS]
        warm_ups = []
        for planner in planners:
            begun = time.perf_counter()
            planner.warm_up()
            warm_ups.append(time.perf_counter() - begun)
        for kind, planner, warm_up_s, times in zip(
            KINDS, planners, warm_ups, solve_times_s(planners, cycles) * 1e3, strict=True
        ):
            low, median, p99 = np.min(times), np.median(times), np.quantile(times, 0.99)
            print(f"{planner.backend:9}{kind:18} min {low:7.2f}  p50 {median:7.2f}  p99 {p99:7.2f} ms", end="")
            print(f"  warm-up {warm_up_s:.1f} s  {planner.rollouts.note}")
            results.append(
                {
                    "backend": planner.backend,
                    "model": kind,
                    "min_ms": low,
                    "p50_ms": median,
                    "p99_ms": p99,
                    "warm_up_s": warm_up_s,
                }
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
