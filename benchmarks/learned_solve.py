"""Solve time of MPPI, or of DDP, with learned models, beside the physics that they correct.

    python benchmarks/learned_solve.py [--rollouts 1024] [--horizon 50] [--threads 2] [--only NAME] [--json FILE]
        [--planner mppi|ddp|ddp-full]

A solve is a whole cycle, the memory filled from the driving before included. Networks are those of the recipe
``semiparametric`` and smaller ones, untrained: how long they take does not depend on what they learned. "half steps"
makes two steps of the model per step of the plan; "each member" rolls members out one by one (``tail_share: 0.5``),
and is for MPPI alone. ``ddp`` is two iterations of Gauss-Newton per cycle, ``ddp-full`` has the models' curvature, too.
The processor's time is given beside the wall's: on a busy machine it is the one to go by, with one thread. Cycles of
all planners alternate. The first run on a machine compiles each.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.layout import X, Y
from mbrl_ros.core.state_history import StateHistory
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models import passport
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.ddp.planner import DDPPlanner
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.planner import Problem
from mbrl_ros.planning.racing import racing_ddp, racing_mppi
from mbrl_ros.planning.settings import RacingPlannerSettings

CONFIG = Path(__file__).resolve().parents[1] / "config"
RECIPE = Network("gru", members=3, hidden=32)
GUARD = Guard(residual=(3.0, 3.0, 5.0), longitudinal=15.0, lateral=15.0, sideslip=1.0)
VARIANTS: dict[str, tuple[Network | None, float, float]] = {
    "single track": (None, 1.0, 1.0),
    "mlp 2x64": (Network("mlp", hidden=64), 1.0, 1.0),
    "gru 16 x 1": (Network("gru", hidden=16), 1.0, 1.0),
    "gru 32 x 1": (Network("gru", hidden=32), 1.0, 1.0),
    "gru 32 x 3": (RECIPE, 1.0, 1.0),
    "gru 32 x 3, half steps": (RECIPE, 0.5, 1.0),
    "gru 32 x 3, each member": (RECIPE, 1.0, 0.5),
}
"""Network, the model's step as a share of the plan's, and the share of members that count."""


def make(name: str, options: argparse.Namespace) -> MPPI | DDPPlanner:
    tail_share = VARIANTS[name][2]
    vehicle = read_settings(CONFIG / "vehicles" / "f1tenth.yaml", Vehicle)
    file = "mppi_f1tenth" if options.planner == "mppi" else "ddp_f1tenth_grip"
    settings = read_settings(CONFIG / "planners" / f"{file}.yaml", RacingPlannerSettings)
    sizes = {"horizon": options.horizon, "threads": options.threads}
    if options.planner != "mppi":
        ddp = settings.ddp.model_copy(update={**sizes, "second_order": options.planner == "ddp-full"})
        return racing_ddp(model_of(name, vehicle, ddp.dt_s), vehicle, track(), ddp, settings.task, seed=0)
    place = {"device": "auto" if options.device == "gpu" else "processor"}
    share = {"rollouts": options.rollouts, "tail_share": tail_share}
    mppi = settings.mppi.model_copy(update={**sizes, **place, **share})
    return racing_mppi(model_of(name, vehicle, mppi.dt_s), vehicle, track(), mppi, settings.task, seed=0)


def model_of(name: str, vehicle: Vehicle, dt_s: float) -> passport.LoadedModel:
    network, step_share, _ = VARIANTS[name]
    physics = build_for(vehicle, "single_track", dt=step_share * dt_s, integrator="heun")
    model: torch.nn.Module = physics
    if network is not None:
        config = Config(physics.dt, "cg", Base("single_track", "acceleration", integrator="heun"), network, GUARD)
        inputs = 7 if network.kind == "mlp" else 13
        base = build_base(config, physics.values())
        model = LearnedModel(base, config, torch.zeros(inputs), torch.ones(inputs)).double()
    return passport.in_memory(model)


def track() -> Track:
    return Track.from_csv(CONFIG / "tracks" / "demo.csv")


def problem(cycle: int) -> Problem:
    """Straight on at 4 m/s for the last two seconds."""
    section, stamp_s, driven = track().at(0.0), 0.02 * cycle, StateHistory()
    present = np.array([*section.position, float(section.heading), 4.0, 0.0, 0.0, 0.0, 0.0])
    along = np.array([np.cos(section.heading), np.sin(section.heading)])
    for before_s in np.arange(2.0, -0.001, -0.01):
        state = present.copy()
        state[[X, Y]] -= 4.0 * before_s * along
        driven.append(stamp_s - before_s, state)
    return Problem(present, stamp_s, CommandHistory(np.zeros(2)), driven)


def solve_times_ms(planners: list[MPPI | DDPPlanner], cycles: int) -> np.ndarray:
    """[planners, cycles, 2] wall time and time of this thread's processor, of each solve."""
    times = np.zeros((len(planners), cycles, 2))
    for cycle in range(-3, cycles):
        asked = problem(cycle)
        for row, planner in enumerate(planners):
            begun = time.perf_counter(), time.thread_time()
            planner.plan(asked)
            if cycle >= 0:
                times[row, cycle] = time.perf_counter() - begun[0], time.thread_time() - begun[1]
    return 1e3 * times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1024)
    parser.add_argument("--horizon", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("processor", "gpu"), default="processor")
    parser.add_argument("--planner", choices=("mppi", "ddp", "ddp-full"), default="mppi")
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--only", action="append", choices=list(VARIANTS), help="may be repeated")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rollouts = f"{options.rollouts} rollouts x " if options.planner == "mppi" else ""
    print(f"{options.planner}, {rollouts}{options.horizon} steps, {options.threads} thread(s), {torch.__version__}")
    names = options.only or list(VARIANTS)
    planners = [make(name, options) for name in names]
    for planner in planners:
        planner.warm_up()
    results = []
    for name, planner, times in zip(names, planners, solve_times_ms(planners, options.cycles), strict=True):
        wall, processor = times.T
        row = {
            "model": name,
            "backend": planner.backend,
            "min_ms": float(wall.min()),
            "p50_ms": float(np.median(wall)),
            "p99_ms": float(np.quantile(wall, 0.99)),
            "processor_min_ms": float(processor.min()),
            "processor_p50_ms": float(np.median(processor)),
        }
        results.append(row)
        print(
            f"{name:24}{planner.backend:9} wall min {row['min_ms']:7.2f}  p50 {row['p50_ms']:7.2f}  p99 "
            f"{row['p99_ms']:7.2f} ms, processor min {row['processor_min_ms']:7.2f}  p50 {row['processor_p50_ms']:7.2f}"
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
