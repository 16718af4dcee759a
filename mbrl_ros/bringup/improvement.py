"""The loop, round by round: drive, look at the recording, train on it, prove the new model, drive faster with it.

Everything runs in one process on simulated time and leaves its artefacts in a folder; what is there is not done again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mbrl_ros.bringup.course import Course, drive
from mbrl_ros.bringup.newcomer import HELD_OUT, HORIZON_S, errors_of, proven, read_for, recipe_for, trained
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.files import write_whole
from mbrl_ros.core.layout import ACCELERATION, VX, YAW_RATE
from mbrl_ros.core.recording import Drive
from mbrl_ros.data.doctor import examine
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.evaluation.fitting import training_bag, training_parts
from mbrl_ros.evaluation.splits import folds
from mbrl_ros.learning.adaptation import AdaptationSettings, adapt
from mbrl_ros.learning.training import Progress
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel

RULES = 3
"""Version of how drives follow each other and what is kept of them: a folder that was begun by another is refused."""

LARGEST_STEP = 1.4
"""By which the limit changes at most from one round to the next, upwards or downwards."""

NO_CLEARER = 0.5
"""Share of the planner's margin: a car that came nearer to an edge may not drive harder than it did; one that kept all
of the margin may by `LARGEST_STEP`, and in between by so much of it."""

AFTER_EXIT = 0.85
"""Share of the limit that is left after a drive that left the track."""

FORGETTING = 10.0
"""Share by which the error at full grip may grow in an adaptation: the road has changed and stays so, and a model
without memory cannot be right on both. That of before is kept in its folder."""

Stage = Literal["learn", "adapt", "drive"]
"""What follows a drive: ``learn`` trains on every recording so far, ``adapt`` adapts to lost grip, ``drive`` ends."""


@dataclass(frozen=True)
class Arm:
    """One way of modelling the car.

    Args:
        name: in tables.
        recipe: in config/training.
        physics: in the place of the recipe's; None leaves it.
    """

    name: str
    recipe: str
    physics: Literal["kinematic_bicycle", "single_track"] | None = None


ARMS = (
    Arm("kinematic", "sysid", "kinematic_bicycle"),
    Arm("single-track", "sysid"),
    Arm("neural-only", "recurrent"),
    Arm("semi-parametric", "semiparametric_mlp"),
)


@dataclass(frozen=True)
class Round:
    """One drive, and what the arm's next one will be driven with.

    Args:
        arm: its name.
        number: 0 for the first drive, with nominal physics.
        stage: see `Stage`.
        model: id of the model that the drive was planned with.
        limit_mps2: what the planner might ask of the tyres.
        friction: factor on the grip.
        lap_times_s: of completed laps.
        exits: times that the track was left.
        clearance_m: least distance of the car's side from an edge, negative beyond it.
        distrusted: share of the drive in which the model was not trusted, and the car slower than it might be.
        error_m: the model's mean position error after `HORIZON_S` on this drive, which it did not learn from.
        next_limit_mps2: earned by the model of the next round.
        accepted: whether that is a new model.
        swap: why, in a sentence.
    """

    arm: str
    number: int
    stage: Stage
    model: str
    limit_mps2: float
    friction: float
    lap_times_s: tuple[float, ...]
    exits: int
    clearance_m: float
    distrusted: float
    error_m: float
    next_limit_mps2: float
    accepted: bool = False
    swap: str = ""

    @property
    def best_s(self) -> float:
        """Time of the fastest lap [s]; nan where none was completed."""
        return min(self.lap_times_s, default=math.nan)


def earned_limit(
    limit_mps2: float, errors_m: np.ndarray, margin_m: float, clearance_m: float, exits: int, held_mps2: float = 0.0
) -> float:
    """The acceleration limit [m/s^2] that a model may be driven with next; one rule for every kind of model.

    Nine of ten predictions of a second shall end within half the margin that the planner keeps from the edges. Far from
    the limit of grip a model misses a share of the acceleration that is asked for, and the position's error grows in
    proportion to it; the limit follows by the square root of what is left, and by `LARGEST_STEP` at most. Where too
    much is missed, the limit of grip is near, and errors grow with the fourth to tenth power of what is asked for; the
    limit goes back by the fourth root, and no further than half way to the hardest drive that held, so that it settles
    instead of falling far below.
    Near the limit of grip predictions say too little: errors grow much faster than what is asked for, and a plan that
    asks for all of it has nothing left to correct with. There the driving speaks: the more of the margin a car used,
    the smaller its next step, down to none at `NO_CLEARER`, and who left the track goes back to `AFTER_EXIT` of the
    limit, whatever the predictions.

    Args:
        limit_mps2: of the drive before.
        errors_m: [N] position errors after a second, held out [m].
        margin_m: the distance that the planner keeps from the edges [m].
        clearance_m: least distance from an edge on the drive before [m].
        exits: of the drive before.
        held_mps2: largest limit on as much grip after which more was earned; 0 where there is none.
    """
    errors_m = np.nan_to_num(errors_m, nan=np.inf, posinf=np.inf)
    worst_m = max(float(np.quantile(errors_m, 0.9, method="higher")), 1e-6)
    spare = 0.5 * margin_m / worst_m
    predicted = float(np.clip(spare ** (0.5 if spare > 1 else 0.25), 1 / LARGEST_STEP, LARGEST_STEP))
    kept = float(np.clip((clearance_m / margin_m - NO_CLEARER) / (1 - NO_CLEARER), 0.0, 1.0))
    driven = AFTER_EXIT if exits else 1 + kept * (LARGEST_STEP - 1)
    if predicted < 1 and held_mps2 < limit_mps2:
        predicted = max(predicted, math.sqrt(held_mps2 / limit_mps2))
    return limit_mps2 * min(predicted, driven)


def asked_mps2(newest: Drive) -> float:
    """Largest acceleration [m/s^2] in the held-out part of a drive, but for one row in a hundred: a car that was slowed
    by distrust there earns no more than the largest step from that."""
    (begin_s, end_s), *_ = folds([newest], HELD_OUT)[0].held_out
    state = np.concatenate([segment.state for segment in newest.between(begin_s, end_s).segments])
    return float(np.nanquantile(np.hypot(state[:, VX] * state[:, YAW_RATE], state[:, ACCELERATION]), 0.99))


def stages(rounds: int, recoveries: int) -> tuple[Stage, ...]:
    """What follows each drive: ``rounds`` drives to learn from and, on less grip, ``recoveries`` to adapt to; the last
    drive shows what came of it."""
    learn: Stage = "learn"
    adapt_to: Stage = "adapt"
    return (learn,) * rounds + (adapt_to,) * recoveries + ("drive",)


class Improvement:
    """One arm's way through the rounds.

    Args:
        course: see there.
        arm: see there.
        progress: of trainings and adaptations.
    """

    def __init__(self, course: Course, arm: Arm, progress: Progress | None = None) -> None:
        self.course, self.arm, self._progress = course, arm, progress or Progress()
        self.folder = course.folder / arm.name
        self._nominal = passport.nominal(course.vehicle, dt=course.planner.dt_s)
        self._faults: dict[int, str] = {}

    def run(self, plan: Sequence[Stage], tell: Callable[[str], None] = lambda what: None) -> Iterator[Round]:
        """Every round as it ends; those whose figures are in the folder are read.

        Raises:
            MbrlError: a model cannot be trained or driven with.
        """
        model, limit = self._nominal, self.course.first_limit_mps2
        friction, held = 1.0, 0.0
        for number, stage in enumerate(plan):
            if stage == "adapt" and friction != self.course.drop:
                friction, held = self.course.drop, 0.0
            done = self._read(number)
            if done is None:
                done = self._round(number, stage, model, limit, friction, held, tell)
            yield done
            held = max(held, done.limit_mps2) if self._held(done) else held
            model, limit = self._model_after(done, model), done.next_limit_mps2

    def _held(self, done: Round) -> bool:
        """Whether the car bore what it was asked for: all laps on the track, and more was earned."""
        whole = len(done.lap_times_s) >= self.course.laps and not done.exits
        return whole and done.next_limit_mps2 > done.limit_mps2

    def bag(self, number: int) -> Path:
        """The recording of a round; all arms share that of the first, which is driven with the same model."""
        return (self.folder if number else self.course.folder / "first") / f"drive_{number}"

    def _round(
        self,
        number: int,
        stage: Stage,
        model: LoadedModel,
        limit: float,
        friction: float,
        held: float,
        tell: Callable[[str], None],
    ) -> Round:
        tell(f"driving at {limit:.1f} m/s² with {model.passport.kind}")
        figures = drive(self.course, model, limit, friction, self.bag(number), number)
        newest = self._driven(number)
        whole = compare({"model": model}, [newest], split="all", horizons_s=(HORIZON_S,))[0]
        error_m = float(np.mean(errors_of(whole, "model")))
        done = Round(
            arm=self.arm.name,
            number=number,
            stage=stage,
            model=model.id,
            limit_mps2=limit,
            friction=friction,
            lap_times_s=tuple(figures["lap_times_s"]),
            exits=figures["exits"],
            clearance_m=figures["clearance_m"],
            distrusted=figures["distrusted"],
            error_m=error_m,
            next_limit_mps2=limit,
        )
        if stage != "drive":
            tell("doctor")
            try:
                self._require_healthy(number)
                tell("training" if stage == "learn" else "adapting")
                newcomer = self._trained(number) if stage == "learn" else self._adapted(number, model)
                done = self._proven(done, model, newcomer, newest, held)
            except DataError as error:  # a car that is lost has driven too little to learn from, or lost its estimate
                done = replace(done, swap=f"no newcomer: {error}")
        if len(done.lap_times_s) < self.course.laps:  # lost: trust is earned anew
            done = replace(done, next_limit_mps2=min(done.next_limit_mps2, self.course.first_limit_mps2))
        write_whole(self.folder / f"round_{number}.json", json.dumps(asdict(done), indent=2) + "\n")
        return done

    def _proven(self, done: Round, model: LoadedModel, newcomer: LoadedModel, newest: Drive, held_mps2: float) -> Round:
        """With the newcomer, or with the model in force where that predicts the newest held-out driving better."""
        proof = proven(model, newcomer, newest)
        driven = done.limit_mps2, proof.errors_m, self.course.margin_m, done.clearance_m, done.exits
        limit = min(earned_limit(*driven, held_mps2), max(held_mps2, LARGEST_STEP * asked_mps2(newest)))
        return replace(done, next_limit_mps2=limit, accepted=proof.accepted, swap=proof.words)

    def _trained(self, number: int) -> LoadedModel:
        """From every healthy recording so far, but for the held-out part of each."""
        recipe = recipe_for(self.arm.recipe, self.course.vehicle, self.course.seed, self.arm.physics)
        drives = [self._driven(k) for k in self._healthy(number + 1)]
        return trained(drives, recipe, self.folder / f"model_{number}", self._progress)

    def _adapted(self, number: int, model: LoadedModel) -> LoadedModel:
        """From the newest recording but for its held-out part, with all other healthy ones replayed."""
        folder = self.folder / f"model_{number}"
        new = training_parts([self._driven(number)], HELD_OUT)
        old = training_parts([self._driven(k) for k in self._healthy(number)], HELD_OUT)
        adapted = adapt(model, new, old, AdaptationSettings(forgetting=FORGETTING, seed=self.course.seed))
        bags = (*adapted.provenance.bags, *(training_bag(part) for part in new))
        passport.save(adapted.model, folder, replace(adapted.provenance, bags=bags, split=HELD_OUT))
        return passport.load(folder)

    def _driven(self, number: int) -> Drive:
        return read_for(self.bag(number), self.course.planner.dt_s)

    def _require_healthy(self, number: int) -> None:
        if fault := self._fault(number):
            raise DataError(f"{fault}; see mbrl doctor {self.bag(number)}")

    def _healthy(self, before: int) -> list[int]:
        return [number for number in range(before) if not self._fault(number)]

    def _fault(self, number: int) -> str:
        """The first error that the doctor finds in a recording, or an empty string."""
        if number not in self._faults:
            errors = [found for found in examine(self.bag(number)).findings if found.severity == "error"]
            self._faults[number] = f"{errors[0].check}: {errors[0].evidence}" if errors else ""
        return self._faults[number]

    def _model_after(self, done: Round, model: LoadedModel) -> LoadedModel:
        return passport.load(self.folder / f"model_{done.number}") if done.accepted else model

    def _read(self, number: int) -> Round | None:
        path = self.folder / f"round_{number}.json"
        if not path.exists():
            return None
        stated: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Round(**{**stated, "lap_times_s": tuple(stated["lap_times_s"])})
