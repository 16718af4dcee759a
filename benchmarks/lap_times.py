"""Lap times of all planners on three tracks, with as much wall time for each solve, beside the optimum.

    tools/run.sh python benchmarks/lap_times.py --seeds 5 --laps 3 --optimum runs/minimum.json --json runs/laps.json
        [--vehicle bmw_320i] [--plant multi_body] [--model FOLDER] [--budget-ms 15] [--track demo] [--planner FILE]
        [--pictures runs/laps] [--sizes runs/sizes.json] [--kept runs/drives] [--minutes 30]

A planner drives with its own file of config/planners for the vehicle's size (PLANNER_full_size or PLANNER_f1tenth, and
*_grip where there is one and the model has tyres), or with what --planner names; planners that have none are left out,
and named. MPPI drives once more as iCEM, and once more in a tube: DDP's gains correct its commands, and the plan that a
cycle begins with. A planner's size (rollouts, iterations or rounds) is chosen first, by driving: the largest with which
the median solve takes no more than the budget. Planners solve on one thread, and what is timed is the processor: on a
machine that does nothing else that is wall time. --sizes keeps what was found, and --kept is a folder in which every
drive that ends is kept, so that the command goes on where it was stopped, or where --minutes were over, the seeds one
after the other; drives of other settings are driven anew.

The drives are on simulated time, plant, estimator, planner and gate in one process as in `mbrl race`, but trusting the
model; a solve takes none of that time, and the same size and seed give the same drive. Laps count without the first,
which begins at rest. steer is the integral of the squared rate of the steering command per lap, in rad^2/s. --optimum
is what minimum_time.py wrote for the same vehicle and plant, and is of a flying lap, too: the peer that --json names,
with times of laps, not of solves, in ms; ratio is ours / peer, 1 at best, and spread the standard deviation of the laps
as share of their mean. --pictures shows where each planner's fastest lap loses time against the optimum.

The tracks are those of the 1:10 car, for a larger one as many times larger as its wheelbase is longer; the multi-body
plant knows no 1:10 car (--vehicle f1tenth needs --plant single_track_drift).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from lap_drives import Drive, Run, Scene, Variant, runs_of, sized
from lap_pictures import compared
from minimum_time import CONFIG, TRACKS, TRACKS_ARE_FOR, track_for, vehicle_named
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mbrl_ros.cli.figures import shown, write_figures
from mbrl_ros.cli.race import loaded_model
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.track import Track
from mbrl_ros.evaluation.picture_style import save_png
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.settings import PlannerName, RacingPlannerSettings

TABLE_WIDTH = 100
"""Columns of a table, whatever it is written to."""

ICEM = {"update": "cem", "sampler": "coloured", "iterations": 2}
TUBE, FOLLOWED = {"tube": True}, {"follow_gains": True}


@dataclass(frozen=True)
class Row:
    """All drives of a planner on a track; lap times [s], without any lap nan."""

    variant: str
    track: str
    runs: tuple[Run, ...]
    optimum_s: float

    @property
    def laps_s(self) -> list[float]:
        return [lap.time_s for run in self.runs for lap in run.laps]

    @property
    def mean_s(self) -> float:
        return statistics.mean(self.laps_s) if self.laps_s else math.nan

    @property
    def spread_s(self) -> float:
        return statistics.stdev(self.laps_s) if len(self.laps_s) > 1 else math.nan

    @property
    def exits(self) -> int:
        return sum(run.exits for run in self.runs)

    @property
    def energy(self) -> float:
        """Integral of the squared rate of the steering command [rad^2/s], per lap."""
        return statistics.mean(run.energy for run in self.runs)

    @property
    def clearance_m(self) -> float:
        """Least distance of the car's side from an edge on any flying lap."""
        return min((lap.min_clearance_m for run in self.runs for lap in run.laps), default=math.nan)

    def to_json(self, where: str) -> dict[str, object]:
        return {
            "benchmark": f"lap time, {self.variant}, {where}, {self.track}",
            "peer": "minimum time by collocation",
            "ratio": self.mean_s / self.optimum_s,
            "ours_ms": 1e3 * self.mean_s,
            "peer_ms": 1e3 * self.optimum_s,
            "spread": self.spread_s / self.mean_s,
            "exits": self.exits,
            "steering_energy": self.energy,
            "size": self.runs[0].size,
            "solve_p50_ms": statistics.median(run.solve_p50_ms for run in self.runs),
            "laps_s": {str(run.seed): [lap.time_s for lap in run.laps] for run in self.runs},
        }


def file_of(planner: str) -> Path:
    return CONFIG / "planners" / f"{planner}.yaml"


def variants_of(files: Sequence[str]) -> list[Variant]:
    """A planner for each file, and MPPI as iCEM and in a tube, too."""
    found = []
    for file in files:
        settings = read_settings(file_of(file), RacingPlannerSettings)
        found.append(Variant(file, settings))
        if settings.planner == "mppi":
            icem = settings.model_copy(update={"mppi": settings.mppi.model_copy(update=ICEM)})
            found.append(Variant(file.replace("mppi", "icem"), icem))
            mppi, loop = settings.mppi.model_copy(update=TUBE), settings.loop.model_copy(update=FOLLOWED)
            found.append(Variant(f"{file}, tube", settings.model_copy(update={"mppi": mppi, "loop": loop})))
    return found


def files_for(vehicle: str, model: LoadedModel) -> list[str]:
    """The planners' own files for a vehicle of that size, those for tyres where the model has some."""
    size = vehicle if vehicle == TRACKS_ARE_FOR else "full_size"
    wanted = [f"{planner}_{size}" for planner in get_args(PlannerName)]
    if "friction_front" in model.passport.parameters:
        wanted = [f"{name}_grip" if file_of(f"{name}_grip").is_file() else name for name in wanted]
    missing = [name for name in wanted if not file_of(name).is_file()]
    if missing:
        print(f"left out, because config/planners has no {', '.join(missing)}")
    return [name for name in wanted if name not in missing]


def sizes_of(
    variants: Sequence[Variant], scene: Scene, track: Track, budget_ms: float, kept: Path | None
) -> dict[str, int]:
    """A size for each variant, from the file ``kept`` where it has one; what it lacks is found and written there."""
    asked = {"vehicle": scene.car.name, "plant": scene.car.plant.model, "model": scene.model.id, "budget_ms": budget_ms}
    known = json.loads(kept.read_text()) if kept is not None and kept.is_file() else {**asked, "sizes": {}}
    for name, value in asked.items():
        if known[name] != value:
            raise SystemExit(f"{kept}: {name} is {known[name]}, here it is {value}; name another file with --sizes")
    sizes: dict[str, int] = known["sizes"]
    for variant in variants:
        if variant.name not in sizes:
            sizes[variant.name] = sized(variant, scene, track, budget_ms)
            print(f"{variant.name}: size {sizes[variant.name]}", flush=True)
            write_figures(kept, known)
    return sizes


def rows_of(runs: Sequence[Run], optima: dict[str, float]) -> list[Row]:
    """One for each planner on each track, in the order in which they drove."""
    rows = []
    for variant, track in dict.fromkeys((run.variant, run.track) for run in runs):
        own = tuple(run for run in runs if (run.variant, run.track) == (variant, track))
        rows.append(Row(variant, track, own, optima.get(track, math.nan)))
    return rows


def table_of(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=f"{title}; optimum {shown(rows[0].optimum_s, 2)} s", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("planner", "size", "mean s", "sd s", "laps", "exits", "clear m", "steer", "ms", "ratio"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(
            row.variant,
            str(row.runs[0].size),
            shown(row.mean_s, 2),
            shown(row.spread_s, 2),
            str(len(row.laps_s)),
            str(row.exits),
            shown(row.clearance_m, 2),
            shown(row.energy, 2),
            f"{statistics.median(run.solve_p50_ms for run in row.runs):.1f}",
            shown(row.mean_s / row.optimum_s, 3),
        )
    return table


def draw(rows: Sequence[Row], tracks: dict[str, Track], written: dict[str, dict[str, Any]], folder: Path) -> None:
    """A picture of each row's fastest lap, where it has one and its track an optimum."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        laps = [(min(lap.time_s for lap in run.laps), run.fastest) for run in row.runs if run.fastest is not None]
        if laps and row.track in written:
            time_s, lap = min(laps, key=lambda pair: pair[0])
            title = f"{row.variant} on {row.track}: {time_s:.2f} s, optimum {row.optimum_s:.2f} s"
            name = f"{row.variant.replace(', ', '_')}-{row.track}.png"
            save_png(compared(tracks[row.track], lap, written[row.track], title), folder / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vehicle", default="bmw_320i", help="name in config/vehicles")
    parser.add_argument("--plant", default="multi_body", help="single_track_drift or multi_body")
    parser.add_argument("--planner", action="append", help="name in config/planners; may be repeated")
    parser.add_argument("--model", default="kinematic_bicycle", help="folder of a model, or a kind with nominal values")
    parser.add_argument("--budget-ms", type=float, default=15.0, help="of a median solve")
    parser.add_argument("--sizes", type=Path, help="sizes found are written here, and sizes that are here are taken")
    parser.add_argument("--kept", type=Path, help="folder for drives that ended; what is here is not driven again")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no drive after so long")
    parser.add_argument("--track", action="append", choices=TRACKS, help="by default all three")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--laps", type=int, default=2, help="per drive, the first from rest")
    parser.add_argument("--optimum", type=Path, help="what minimum_time.py wrote")
    parser.add_argument("--json", type=Path, help="write a row for each planner and track here")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each planner's fastest lap")
    options = parser.parse_args()
    torch.set_num_threads(1)
    car = vehicle_named(options.vehicle).with_plant(options.plant, "--plant")
    scene = Scene(car, loaded_model(options.model, car))
    found = json.loads(options.optimum.read_text()) if options.optimum else []
    driven = (options.vehicle, car.plant.model)
    written = {lap["track"]: lap for lap in found if (lap["vehicle"], lap.get("plant")) == driven}
    tracks = {name: track_for(car, name) for name in options.track or TRACKS}
    if options.optimum and not tracks.keys() <= written.keys():
        wanted = f"minimum_time.py --vehicle {options.vehicle} --plant {car.plant.model} writes that"
        raise SystemExit(f"{options.optimum}: not of {' with '.join(driven)} on all of {', '.join(tracks)}; {wanted}")
    variants = variants_of(options.planner or files_for(options.vehicle, scene.model))
    if several := [v.name for v in variants if getattr(v.settings, v.settings.planner).threads != 1]:
        raise SystemExit(f"{', '.join(several)}: the processor's time of a solve is its own on one thread alone")
    console = Console(width=TABLE_WIDTH)
    with console.status("sizing"):
        sizes = sizes_of(variants, scene, next(iter(tracks.values())), options.budget_ms, options.sizes)
    drives = [
        Drive(variant, sizes[variant.name], scene, track, seed, options.laps)
        for seed in range(options.seeds)
        for track in tracks.values()
        for variant in variants
    ]
    with console.status("driving"):
        runs = runs_of(drives, options.kept, options.minutes)
    if len(runs) < len(drives):
        left = f"{len(drives) - len(runs)} of {len(drives)} drives are left for the same command with --kept"
        console.print(f"{left}; until then nothing is written")
    console.print(f"model {scene.model.id}, solves of {options.budget_ms:g} ms in the median at most")
    rows = rows_of(runs, {where: lap["lap_s"] for where, lap in written.items()})
    where = f"{options.vehicle}, {options.plant}"
    for name in dict.fromkeys(row.track for row in rows):
        console.print(table_of([row for row in rows if row.track == name], f"{where}, {name}"))
    if len(runs) < len(drives):
        raise SystemExit(1)
    write_figures(options.json, [row.to_json(where) for row in rows])
    if options.pictures:
        draw(rows, tracks, written, options.pictures)


if __name__ == "__main__":
    main()
