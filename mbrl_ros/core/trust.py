"""How far the model in force is trusted: a state machine from evidence to what the car may still do.

Pure: evidence and stamps are handed in. The dynamics server runs it; planners and the command gate obey it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from pydantic import Field, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings

INTERRUPTED_S = 5.0
"""Evidence that is further apart than this does not prove what was in between [s]."""


class TrustLevel(IntEnum):
    """What the car may do, by rising distrust (msg/ModelTrust)."""

    TRUSTED = 0
    CAUTIOUS = 1
    NOMINAL = 2
    STOP = 3


@dataclass(frozen=True)
class Evidence:
    """What is known against the model in force, without unit but for the slip.

    Args:
        novelty: of states and actions of late, as a share of what held-out driving had; 0 where a model cannot say.
        disagreement: of the members' predictions, as a share of the held-out error; 0 where there is one member.
        residual: live error, as a multiple of the held-out error; NaN where one of the two is not known.
        slip_rad: how much the body slips beside what was predicted, of late, as an angle.
    """

    novelty: float = 0.0
    disagreement: float = 0.0
    residual: float = math.nan
    slip_rad: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether nothing is unknown."""
        return not math.isnan(self.residual)


class TrustSettings(Settings):
    """When doubt begins, what it leads to, and how it ends."""

    cautious_novelty: PositiveFloat = Field(default=1.0, description="novelty beyond which to be cautious")
    nominal_novelty: PositiveFloat = Field(default=2.0, description="novelty beyond which the nominal model plans")
    cautious_disagreement: PositiveFloat = Field(default=1.0, description="disagreement beyond which to be cautious")
    nominal_disagreement: PositiveFloat = Field(
        default=2.0, description="disagreement beyond which the nominal model plans"
    )
    cautious_residual: PositiveFloat = Field(default=4.0, description="residual beyond which to be cautious")
    nominal_residual: PositiveFloat = Field(default=6.0, description="residual beyond which the nominal model plans")
    stop_residual: PositiveFloat = Field(default=10.0, description="residual beyond which the car stops")
    cautious_slip_rad: PositiveFloat | None = Field(
        default=None,
        le=1.5,
        description="slip angle of the body beside the predicted one beyond which to be cautious; empty: none. A slide "
        "on lost grip is seen so before the path is wrong; mbrl improve takes 0.85 friction / stiffness, of rear tyres",
    )
    cautious_dwell_s: PositiveFloat = Field(default=0.5, le=60.0, description="how long doubt lasts to be cautious")
    slip_dwell_s: PositiveFloat = Field(
        default=0.1, le=60.0, description="how long that slip lasts to be cautious: slides grow within a second"
    )
    nominal_dwell_s: PositiveFloat = Field(
        default=1.0, le=60.0, description="how long doubt lasts for the nominal model"
    )
    stop_dwell_s: PositiveFloat = Field(default=2.0, le=60.0, description="how long doubt lasts to stop the car")
    recovery_share: PositiveFloat = Field(
        default=0.7, le=1.0, description="share of a level's thresholds below which evidence speaks for the model again"
    )
    recovery_dwell_s: PositiveFloat = Field(
        default=5.0, le=600.0, description="how long it does so to come back by one level"
    )
    speed_cap_share: PositiveFloat = Field(
        default=0.5, le=1.0, description="speed cap when not trusted, as a share of the vehicle's top speed"
    )

    @model_validator(mode="after")
    def _rising(self) -> TrustSettings:
        """Thresholds and dwell times rise from level to level."""
        for names in (
            ("cautious_novelty", "nominal_novelty"),
            ("cautious_disagreement", "nominal_disagreement"),
            ("cautious_residual", "nominal_residual", "stop_residual"),
            ("cautious_dwell_s", "nominal_dwell_s", "stop_dwell_s"),
        ):
            values = [getattr(self, name) for name in names]
            if values != sorted(values):
                raise ValueError(f"{', '.join(names)} are {values}, must not fall")
        return self

    def thresholds(self, level: TrustLevel) -> Evidence:
        """Beyond any of these ``level`` is called for. Only predictions that fail call for a stop."""
        if level is TrustLevel.CAUTIOUS:
            slip_rad = math.inf if self.cautious_slip_rad is None else self.cautious_slip_rad
            return Evidence(self.cautious_novelty, self.cautious_disagreement, self.cautious_residual, slip_rad)
        if level is TrustLevel.NOMINAL:
            return Evidence(self.nominal_novelty, self.nominal_disagreement, self.nominal_residual, math.inf)
        return Evidence(math.inf, math.inf, self.stop_residual, math.inf)

    def dwell_s(self, level: TrustLevel) -> float:
        """How long evidence must call for ``level``."""
        return (0.0, self.cautious_dwell_s, self.nominal_dwell_s, self.stop_dwell_s)[level]


class Sustained:
    """Whether something has held without interruption for ``dwell_s``."""

    def __init__(self, dwell_s: float) -> None:
        self._dwell_s = dwell_s
        self._since_s: float | None = None

    @property
    def begun(self) -> bool:
        """Whether it held the last time."""
        return self._since_s is not None

    def update(self, holds: bool, stamp_s: float) -> bool:
        """Take in whether it holds at ``stamp_s`` [s]; where time is set back, it begins anew."""
        if not holds:
            self._since_s = None
            return False
        if self._since_s is None or stamp_s < self._since_s:
            self._since_s = stamp_s
        return stamp_s - self._since_s >= self._dwell_s

    def clear(self) -> None:
        """Begin anew."""
        self._since_s = None


class Trust:
    """Distrust rises as soon as evidence has called for it long enough, and falls one level at a time.

    STOP is latched: a car that has stopped gives no evidence for its model, so a person must look first (`reset`).
    Where there is no evidence because judging itself fails, nobody vouches for the model any more, and that stops, too.
    Evidence that is not complete neither raises nor lowers what it does not speak of: nothing recovers by standing.

    Args:
        settings: thresholds and times.
        top_speed_mps: of the vehicle, which the speed cap is a share of.
    """

    def __init__(self, settings: TrustSettings, top_speed_mps: float) -> None:
        self.settings = settings
        self.level = TrustLevel.TRUSTED
        self.reason = ""
        self.evidence = Evidence()
        self._cap_mps = settings.speed_cap_share * top_speed_mps
        self._called = {level: Sustained(settings.dwell_s(level)) for level in list(TrustLevel)[1:]}
        self._sliding = Sustained(settings.slip_dwell_s)
        self._calm = Sustained(settings.recovery_dwell_s)
        self._failing = Sustained(settings.stop_dwell_s)
        self._stamp_s = -math.inf

    @property
    def speed_cap_mps(self) -> float:
        """Fastest speed allowed now; infinite where there is no cap."""
        return (math.inf, self._cap_mps, self._cap_mps, 0.0)[self.level]

    def judge(self, evidence: Evidence, stamp_s: float) -> TrustLevel:
        """Take in evidence as of ``stamp_s`` [s], later than the last; returns the level from now on."""
        if not 0.0 < stamp_s - self._stamp_s <= INTERRUPTED_S:
            self._begin_anew()
        self._failing.clear()
        self._stamp_s, self.evidence = stamp_s, evidence
        slide = _exceeded(Evidence(slip_rad=evidence.slip_rad), self.settings.thresholds(TrustLevel.CAUTIOUS))
        if self._sliding.update(bool(slide), stamp_s) and self.level < TrustLevel.CAUTIOUS:
            self._move(TrustLevel.CAUTIOUS, "; ".join(slide))
        for level, called in self._called.items():
            beyond = _exceeded(evidence, self.settings.thresholds(level))
            if called.update(bool(beyond), stamp_s) and level > self.level:
                self._move(level, "; ".join(beyond))
        if self.level in (TrustLevel.CAUTIOUS, TrustLevel.NOMINAL):
            share = self.settings.recovery_share
            calm = evidence.complete and not _exceeded(evidence, self.settings.thresholds(self.level), share)
            if self._calm.update(calm, stamp_s):
                lower = TrustLevel(self.level - 1)
                self._move(lower, f"recovering from {self.level.name}" if lower else "")
        return self.level

    def fail_to_judge(self, why: str, stamp_s: float) -> TrustLevel:
        """Judging failed as of ``stamp_s`` [s]; STOP where it does every time for the dwell time of STOP."""
        if self._failing.update(True, stamp_s) and self.level < TrustLevel.STOP:
            self._move(TrustLevel.STOP, f"it cannot be judged: {why}")
        return self.level

    def renew(self) -> None:
        """Another model came into force: what was held against the last one speaks against it at most a little.

        A latched STOP stays.
        """
        self._begin_anew()
        self.evidence = Evidence()
        if self.level is TrustLevel.NOMINAL:
            self._move(TrustLevel.CAUTIOUS, "another model came into force while the last one was distrusted")

    def reset(self) -> None:
        """Release a latched STOP, on behalf of a person: on probation, under the speed cap."""
        if self.level is TrustLevel.STOP:
            self._begin_anew()
            self._move(TrustLevel.CAUTIOUS, "reset after a stop")

    def _move(self, level: TrustLevel, reason: str) -> None:
        self.level, self.reason = level, reason
        self._calm.clear()

    def _begin_anew(self) -> None:
        for sustained in (*self._called.values(), self._sliding, self._calm, self._failing):
            sustained.clear()


def _exceeded(evidence: Evidence, thresholds: Evidence, share: float = 1.0) -> list[str]:
    """What of ``evidence`` lies beyond ``share`` of ``thresholds``, in words."""
    return [
        f"{name} is {value:.2f}, more than {share * limit:.2f}"
        for name, value in vars(evidence).items()
        if value > share * (limit := getattr(thresholds, name))
    ]
