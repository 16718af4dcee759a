"""Lap times of all planners on three tracks, with as much wall time for each solve, beside the optimum.

    tools/run.sh python benchmarks/lap_times.py --seeds 5 --laps 3 --optimum runs/minimum.json --json runs/laps.json
        [--vehicle bmw_320i] [--plant multi_body] [--model FOLDER] [--budget-ms 15] [--track demo] [--planner FILE]

A planner drives with its own file of config/planners for the vehicle's size (PLANNER_full_size or PLANNER_f1tenth),
or with what --planner names; planners that have none are left out, and named. MPPI drives once more as iCEM, and once
more in a tube: DDP's gains correct its commands, and the plan that a cycle begins with. A planner's size (rollouts,
iterations or rounds) is chosen first, by driving: the largest with which the median solve takes no more than the budget
on this machine, so run it on a quiet one. The drives are on simulated time, plant, estimator, planner and gate in one
process as in `mbrl race`; a solve takes none of that time, and the same size and seed give the same drive. Laps count
without the first, which begins at rest. --optimum is what minimum_time.py wrote for the same vehicle, and is of a
flying lap, too.

The tracks are those of the 1:10 car, for a larger one as many times larger as its wheelbase is longer; the multi-body
plant knows no 1:10 car (--vehicle f1tenth needs --plant single_track_drift).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import torch
from minimum_time import CONFIG, TRACKS, TRACKS_ARE_FOR, track_for, vehicle_named
from rich.console import Console
from rich.table import Table

from mbrl_ros.cli.figures import shown, write_figures
from mbrl_ros.cli.race import loaded_model
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import PlannerName, RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

TIMED_S = 1.5
"""Driving from rest over which solves are timed [s]."""

SLOWEST = 0.2
"""Share of the top speed below which a lap is given up."""


SIZES: dict[str, tuple[str, tuple[int, ...]]] = {
    "mppi": ("rollouts", tuple(2**k for k in range(6, 15))),
    "ddp": ("iterations", tuple(range(1, 21))),
    "mcts": ("rounds", tuple(range(1, 41))),
}
"""What makes a planner larger, and the values that are tried."""

ICEM = {"update": "cem", "sampler": "coloured", "iterations": 2}
TUBE, FOLLOWED = {"tube": True}, {"follow_gains": True}


@dataclass(frozen=True)
class Variant:
    """A planner with its settings; ``size`` is that of its own settings that `SIZES` names."""

    name: str
    settings: RacingPlannerSettings

    def of_size(self, size: int) -> RacingPlannerSettings:
        planner = self.settings.planner
        own = getattr(self.settings, planner).model_copy(update={SIZES[planner][0]: size})
        return self.settings.model_copy(update={planner: own})


@dataclass(frozen=True)
class Run:
    """One drive: flying laps [s], exits on all laps, and the median solve [ms]."""

    variant: str
    size: int
    track: str
    seed: int
    laps_s: list[float]
    exits: int
    solve_p50_ms: float


def variants_of(files: Sequence[str]) -> list[Variant]:
    """A planner for each file, and MPPI as iCEM and in a tube, too."""
    found = []
    for file in files:
        settings = read_settings(CONFIG / "planners" / f"{file}.yaml", RacingPlannerSettings)
        found.append(Variant(file, settings))
        if settings.planner == "mppi":
            icem = settings.model_copy(update={"mppi": settings.mppi.model_copy(update=ICEM)})
            found.append(Variant(file.replace("mppi", "icem"), icem))
            mppi, loop = settings.mppi.model_copy(update=TUBE), settings.loop.model_copy(update=FOLLOWED)
            found.append(Variant(f"{file}, tube", settings.model_copy(update={"mppi": mppi, "loop": loop})))
    return found


def files_for(vehicle: str) -> list[str]:
    """The planners' own files for a vehicle of that size."""
    size = vehicle if vehicle == TRACKS_ARE_FOR else "full_size"
    wanted = [f"{planner}_{size}" for planner in get_args(PlannerName)]
    missing = [name for name in wanted if not (CONFIG / "planners" / f"{name}.yaml").is_file()]
    if missing:
        print(f"left out, because config/planners has no {', '.join(missing)}")
    return [name for name in wanted if name not in missing]


def loop_of(settings: RacingPlannerSettings, car: Vehicle, track: Track, model: LoadedModel, seed: int) -> ClosedLoop:
    planner = racing_planner(settings, model, car, track, seed)
    planner.warm_up()
    return ClosedLoop(car, track, Simulator(car, seed=seed), StateEstimator.for_vehicle(car), planner, settings.loop)


def sized(variant: Variant, car: Vehicle, track: Track, model: LoadedModel, budget_ms: float) -> int:
    """The largest size whose median solve is within the budget; the smallest where none is."""
    sizes = SIZES[variant.settings.planner][1]
    chosen = sizes[0]
    for size in sizes:
        loop = loop_of(variant.of_size(size), car, track, model, seed=0)
        if loop.run(laps=1, timeout_s=TIMED_S).summary().solve_p50_ms > budget_ms:
            break
        chosen = size
    return chosen


def table_of(runs: Sequence[Run], optimum_s: float, title: str) -> Table:
    table = Table(title=f"{title}; optimum {shown(optimum_s, 2)} s")
    for column in ("planner", "size", "mean s", "spread", "laps", "exits", "ms", "ratio"):
        table.add_column(column, no_wrap=True)
    for variant in dict.fromkeys(run.variant for run in runs):
        own = [run for run in runs if run.variant == variant]
        laps = [lap for run in own for lap in run.laps_s]
        mean = statistics.mean(laps) if laps else math.nan
        table.add_row(
            variant,
            str(own[0].size),
            shown(mean, 2),
            shown(statistics.stdev(laps), 2) if len(laps) > 1 else "–",
            str(len(laps)),
            str(sum(run.exits for run in own)),
            f"{statistics.median(run.solve_p50_ms for run in own):.1f}",
            shown(mean / optimum_s, 3),
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vehicle", default="bmw_320i", help="name in config/vehicles")
    parser.add_argument("--plant", default="multi_body", help="single_track_drift or multi_body")
    parser.add_argument("--planner", action="append", help="name in config/planners; may be repeated")
    parser.add_argument("--model", default="kinematic_bicycle", help="folder of a model, or a kind with nominal values")
    parser.add_argument("--budget-ms", type=float, default=15.0, help="median wall time of a solve")
    parser.add_argument("--track", action="append", choices=TRACKS, help="by default all three")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--laps", type=int, default=2, help="per drive, the first from rest")
    parser.add_argument("--optimum", type=Path, help="what minimum_time.py wrote")
    parser.add_argument("--json", type=Path, help="write every drive here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    car = vehicle_named(options.vehicle).with_plant(options.plant, "--plant")
    model = loaded_model(options.model, car)
    written = json.loads(options.optimum.read_text()) if options.optimum else []
    optima = {lap["track"]: lap["lap_s"] for lap in written if lap["vehicle"] == options.vehicle}
    tracks = {name: track_for(car, name) for name in options.track or TRACKS}
    if options.optimum and not tracks.keys() <= optima.keys():
        wanted = f"minimum_time.py --vehicle {options.vehicle} writes that"
        raise SystemExit(f"{options.optimum}: not of {options.vehicle} on all of {', '.join(tracks)}; {wanted}")
    console, runs = Console(), []
    for variant in variants_of(options.planner or files_for(options.vehicle)):
        with console.status(f"sizing {variant.name}"):
            size = sized(variant, car, next(iter(tracks.values())), model, options.budget_ms)
        for where, track in tracks.items():
            for seed in range(options.seeds):
                with console.status(f"{variant.name} of size {size} on {where}, seed {seed}"):
                    loop = loop_of(variant.of_size(size), car, track, model, seed)
                    timeout_s = options.laps * track.length_m / (SLOWEST * car.limits.speed_mps)
                    summary = loop.run(options.laps, timeout_s).summary()
                laps = [lap.time_s for lap in summary.laps[1:]]
                runs.append(Run(variant.name, size, where, seed, laps, loop.log.exits, summary.solve_p50_ms))
    console.print(f"model {model.id}, solves of {options.budget_ms:g} ms in the median at most")
    for where in tracks:
        own = [run for run in runs if run.track == where]
        title = f"{options.vehicle}, {options.plant}, {where}"
        console.print(table_of(own, optima.get(where, math.nan), title))
    write_figures(options.json, [{**asdict(run), "optimum_s": optima.get(run.track)} for run in runs])


if __name__ == "__main__":
    main()
