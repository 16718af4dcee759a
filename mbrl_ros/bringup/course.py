"""One drive of an improvement: where, with what, and how hard; recorded, on simulated time."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_ros.bringup.watched import watched_planner
from mbrl_ros.core.files import write_whole
from mbrl_ros.core.layout import VX, X, Y
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track import Track
from mbrl_ros.core.trust import TrustSettings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data.bag import TRACK
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.evaluation.drive_recorder import DriveRecorder
from mbrl_ros.evaluation.watch import Watch
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.settings import RacingPlannerSettings
from mbrl_ros.simulation.simulator import Simulator

FIRST_SHARE = 0.6
"""Of the planner's own acceleration limit: what a drive may ask of the tyres before any trust is earned."""

TRUST = TrustSettings(cautious_novelty=math.inf, nominal_novelty=math.inf)
"""Every round drives harder than the model has seen, on purpose and by a bounded step: that is novel, and no reason to
slow down, which learned models alone would do. What they miss, and what their members disagree on, still is."""

OUT_LAP = 0.85
"""Share of its limit that the first lap of a drive asks for, which begins at rest and is no fast one anyway: grip that
was lost since the last drive shows before all of it is needed."""

LOST_SLIP = 0.85
"""Slip angle of the body beside the predicted one from which on grip was lost, as a multiple of the angle at which
linear tyres would give all their force."""

CALM_S = 120.0
"""How long nothing may speak against a distrusted model [s]: a road that lost its grip stays so for a while."""

_JUDGED_HZ = 10.0  # often enough to see a slide while it can be caught
_CHECK_S = 0.5  # simulated time between looks at whether the car is lost
_LOST = 2.0  # half widths of the track from its centre line
_STALL_S, _NOWHERE_M = 10.0, 1.0  # a car that came no further in so long is lost, too
_START_S = 1000.0  # of the simulated clock: stamps of zero mean "not set"
_TIMEOUT_S_PER_LAP = 120.0


@dataclass(frozen=True)
class Course:
    """Where, with what and how long is driven; the same for every arm.

    Args:
        folder: of all artefacts.
        vehicle: the car, with its plant.
        track: what it drives on.
        planner: settings of the planner; each round replaces its acceleration limit.
        laps: per round.
        seed: of sensors, sampling and training.
        drop: factor on the grip in the rounds after the last that learns.
        track_file: what recordings name as the track: a name in config/tracks, or a path.
        trust: when a model is distrusted.
        out_lap: share of its limit that the first lap of a drive asks for.
    """

    folder: Path
    vehicle: Vehicle
    track: Track
    planner: RacingPlannerSettings
    laps: int
    seed: int
    drop: float
    track_file: str
    trust: TrustSettings = TRUST
    out_lap: float = 1.0

    @property
    def first_limit_mps2(self) -> float:
        """What the first drive may ask of the tyres, and one after a drive whose laps were not completed."""
        return FIRST_SHARE * self.planner.task.acceleration_limit_mps2

    @property
    def margin_m(self) -> float:
        """The distance that the planner keeps from the edges."""
        return self.planner.task.boundary_margin * self.vehicle.width_m


def trust_for(vehicle: Vehicle) -> TrustSettings:
    """`TRUST`, and doubt where the car slides and its model does not: that is seen before the path is wrong."""
    tyre = vehicle.parameters
    slip_rad = LOST_SLIP * tyre["friction_rear"] / tyre["stiffness_rear"] if "stiffness_rear" in tyre else None
    return TRUST.model_copy(update={"cautious_slip_rad": slip_rad, "recovery_dwell_s": CALM_S})


def drive(
    course: Course, model: LoadedModel, limit_mps2: float, friction: float, bag: Path, number: int
) -> dict[str, Any]:
    """Drive and record one round, unless that was done: lap times [s], exits, and for what share of it the
    model was not trusted, kept beside the recording together with the path.
    """
    kept = bag.with_suffix(".json")
    if kept.exists():
        figures: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return figures
    shutil.rmtree(bag, ignore_errors=True)  # of a round that was interrupted
    seed = 1000 * course.seed + number
    task = course.planner.task.model_copy(update={"acceleration_limit_mps2": limit_mps2})
    settings = course.planner.model_copy(update={"task": task})
    planner, watch = watched_planner(settings, model, course.vehicle, course.track, seed, course.trust, _JUDGED_HZ)
    simulator = Simulator(course.vehicle, seed=seed, start_s=_START_S)
    simulator.set_friction_scale(friction * course.vehicle.plant.friction_scale)
    estimator = StateEstimator.for_vehicle(course.vehicle)
    with BagWriter(bag, about={TRACK: course.track_file}) as writer:
        loop = ClosedLoop(
            course.vehicle, course.track, simulator, estimator, planner, settings.loop, DriveRecorder(writer), watch
        )
        log = _run(loop, watch, course, settings.task)
    states = np.stack([state for _, state in log.truth])
    summary = log.summary()
    figures = {
        "lap_times_s": [lap.time_s for lap in summary.laps],
        "exits": log.exits,
        "clearance_m": clearance_m(course, states),
        "distrusted": summary.distrusted,
        "solve_p50_ms": summary.solve_p50_ms,
        "solve_p99_ms": summary.solve_p99_ms,
        "x_m": states[:, X].round(3).tolist(),
        "y_m": states[:, Y].round(3).tolist(),
        "vx_mps": states[:, VX].round(3).tolist(),
    }
    write_whole(kept, json.dumps(figures) + "\n")
    return figures


def clearance_m(course: Course, states: np.ndarray) -> float:
    """Least distance [m] of the car's sides from an edge along ``states`` [N, 8], negative beyond it."""
    place = course.track.project(states[:, [X, Y]])
    nearest = np.minimum(place.section.width_left - place.lateral, place.section.width_right + place.lateral)
    return float(nearest.min()) - course.vehicle.width_m / 2


def stalled(log: DriveLog) -> bool:
    """Whether the car came nowhere in the last `_STALL_S`."""
    now_s, state = log.truth[-1]
    if now_s - log.truth[0][0] < _STALL_S:
        return False
    lately = takewhile(lambda one: one[0] >= now_s - _STALL_S, reversed(log.truth))
    return all(math.dist(earlier[[X, Y]], state[[X, Y]]) < _NOWHERE_M for _, earlier in lately)


def _run(loop: ClosedLoop, watch: Watch, course: Course, asked: RacingSettings) -> DriveLog:
    """Until the laps are done, the time is up, or the car is lost: further from the track than any lap brings it,
    standing across it after a spin, or stopped for distrust."""
    task = loop.planner.task
    if not isinstance(task, RacingTask):
        raise TypeError(f"{type(task).__name__} races on no course")
    task.configure(asked.model_copy(update={"acceleration_limit_mps2": course.out_lap * asked.acceleration_limit_mps2}))
    sections = course.track.at(course.track.samples)
    widest = float(np.maximum(sections.width_left, sections.width_right).max())
    for _ in range(round(course.laps * _TIMEOUT_S_PER_LAP / _CHECK_S)):
        log = loop.run(course.laps, _CHECK_S, on_lap=lambda lap: task.configure(asked))
        if len(log.laps) >= course.laps or abs(log.lateral_m) > _LOST * widest or watch.fault or stalled(log):
            break
    return log
