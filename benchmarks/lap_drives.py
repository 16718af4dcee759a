"""Drives of lap_times.py: planners with their sizes, and drives, of which a folder keeps those that ended."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from lap_pictures import DrivenLap
from sampler_laps import energy

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.files import write_whole
from mbrl_ros.core.lap import Lap
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner, Problem
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

SIZES: dict[str, tuple[str, tuple[int, ...]]] = {
    "mppi": ("rollouts", tuple(2**k for k in range(6, 15))),
    "ddp": ("iterations", (1, 2, 3, 4, 6, 8, 12, 16)),
    "mcts": ("rounds", (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)),
}
"""What makes a planner larger, and the values that are tried."""

TIMED_S = 8.0
"""Driving from rest over which solves are timed [s]: into the first bends, where DDP has more to mend than at rest."""

SLOWEST = 0.2
"""Share of the top speed below which a lap is given up."""


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
class Scene:
    """What all planners drive: the car with its plant, and the model that they plan with."""

    car: Vehicle
    model: LoadedModel

    def loop(self, settings: RacingPlannerSettings, track: Track, seed: int) -> tuple[ClosedLoop, Timed]:
        planner = racing_planner(settings, self.model, self.car, track, seed)
        planner.warm_up()
        plant, estimator, timed = Simulator(self.car, seed=seed), StateEstimator.for_vehicle(self.car), Timed(planner)
        return ClosedLoop(self.car, track, plant, estimator, cast(Planner, timed), settings.loop), timed


@dataclass
class Timed:
    """A planner whose solves are timed by the processor's clock: what else the machine does counts little."""

    planner: Planner
    solves_ms: list[float] = field(default_factory=list)

    def plan(self, problem: Problem) -> ControlSequence:
        begun = time.process_time()
        plan = self.planner.plan(problem)
        self.solves_ms.append(1e3 * (time.process_time() - begun))
        return plan

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.solves_ms)


@dataclass(frozen=True)
class Run:
    """One drive.

    Args:
        variant, size, track, seed: what drove where.
        laps: its flying laps.
        exits: on all laps.
        solve_p50_ms: the median solve's processor time [ms].
        energy: integral of the squared rate of the steering command [rad^2/s], per lap; nan where one is missing.
        fastest: the fastest of the laps in full.
    """

    variant: str
    size: int
    track: str
    seed: int
    laps: tuple[Lap, ...]
    exits: int
    solve_p50_ms: float
    energy: float
    fastest: DrivenLap | None

    def to_json(self) -> dict[str, Any]:
        shape = None if self.fastest is None else {k: v.tolist() for k, v in vars(self.fastest).items()}
        return {**vars(self), "laps": [asdict(lap) for lap in self.laps], "fastest": shape}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Run:
        laps = tuple(Lap(**lap) for lap in kept["laps"])
        shape = kept["fastest"]
        fastest = None if shape is None else DrivenLap(**{k: np.array(v) for k, v in shape.items()})
        return cls(**{**kept, "laps": laps, "fastest": fastest})


def sized(variant: Variant, scene: Scene, track: Track, budget_ms: float) -> int:
    """The largest size whose median solve takes no more than the budget; the smallest where none is."""
    sizes = SIZES[variant.settings.planner][1]
    chosen = sizes[0]
    for size in sizes:
        loop, timed = scene.loop(variant.of_size(size), track, seed=0)
        loop.run(laps=1, timeout_s=TIMED_S)
        if timed.p50_ms > budget_ms:
            break
        chosen = size
    return chosen


@dataclass(frozen=True)
class Drive:
    """One drive that is wanted: so many laps of a track by a planner of a size, the first from rest."""

    variant: Variant
    size: int
    scene: Scene
    track: Track
    seed: int
    laps: int

    @property
    def file(self) -> str:
        """Name for what became of it, with a hash of all that it hangs on but the program itself."""
        settings = self.variant.of_size(self.size).model_dump(mode="json")
        car, model = self.scene.car.model_dump(mode="json"), self.scene.model.id
        everything = json.dumps([settings, car, model, self.track.length_m, self.laps], sort_keys=True)
        digest = hashlib.sha256(everything.encode()).hexdigest()[:12]
        return f"{self.variant.name.replace(', ', '_')}-{self.track.name}-{self.seed}-{digest}.json"

    def run(self) -> Run:
        loop, timed = self.scene.loop(self.variant.of_size(self.size), self.track, self.seed)
        timeout_s = self.laps * self.track.length_m / (SLOWEST * self.scene.car.limits.speed_mps)
        summary = loop.run(self.laps, timeout_s).summary()
        flying = summary.laps[1:]
        fastest = min(flying, key=lambda lap: lap.time_s, default=None)
        return Run(
            self.variant.name,
            self.size,
            self.track.name,
            self.seed,
            flying,
            loop.log.exits,
            timed.p50_ms,
            energy(loop.commands) / self.laps if len(summary.laps) == self.laps else math.nan,
            None if fastest is None else DrivenLap.of(loop.log, fastest),
        )


def runs_of(drives: Sequence[Drive], kept: Path | None, minutes: float) -> list[Run]:
    """What became of each, read from the folder ``kept`` or driven and kept there; after ``minutes`` none is begun."""
    end_s, runs = time.monotonic() + 60 * minutes, []
    for drive in drives:
        file = kept / drive.file if kept is not None else None
        if file is not None and file.is_file():
            runs.append(Run.from_json(json.loads(file.read_text(encoding="utf-8"))))
        elif time.monotonic() < end_s:
            runs.append(drive.run())
            if file is not None:
                write_whole(file, json.dumps(runs[-1].to_json()) + "\n")
    return runs
