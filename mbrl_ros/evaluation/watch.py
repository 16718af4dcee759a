"""A model that is watched while it drives on simulated time: judged as beside the dynamics server."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

import numpy as np

from mbrl_ros.core.command_gate import Command
from mbrl_ros.core.trust import TrustLevel, TrustSettings
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.evidence import RECENT_S
from mbrl_ros.evaluation.judge import EVIDENCE_RATE_HZ, KEPT_BESIDES_S, STATES_PER_KEPT, Judge, Standing
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner


class Watch:
    """Keeps what was driven, judges the model by it, and says what the car may still do.

    Args:
        loaded: the model that is planned with while it is trusted.
        top_speed_mps: of the vehicle.
        nominal: makes the planner for where the model is not trusted; simulated time waits for it.
        settings: thresholds and times of distrust.
        rate_hz: how often the model is judged.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        top_speed_mps: float,
        nominal: Callable[[], Planner],
        settings: TrustSettings | None = None,
        rate_hz: float = EVIDENCE_RATE_HZ,
    ) -> None:
        self._loaded, self._make_nominal = loaded, nominal
        self._judge = Judge(loaded.id, settings or TrustSettings(), top_speed_mps)
        self._rate_hz = rate_hz
        self._driven = Driven(RECENT_S + KEPT_BESIDES_S)
        self._states_seen, self._judged_at = 0, -1
        self.levels: list[TrustLevel] = []
        """What the car might do after every time that the model was judged."""

    @property
    def standing(self) -> Standing:
        """How far the model is trusted now."""
        return self._judge.standing

    @property
    def distrusted(self) -> float:
        """Share of all judgements so far that left the model less than trusted; 0 before the first."""
        return float(np.mean(np.array(self.levels) > TrustLevel.TRUSTED)) if self.levels else 0.0

    @property
    def fault(self) -> str:
        """Why the car must not be driven now, or an empty string."""
        standing = self.standing
        return f"the model is not trusted: {standing.reason}" if standing.level is TrustLevel.STOP else ""

    @cached_property
    def nominal(self) -> Planner:
        """The planner for where the model is not trusted, made when it is first asked for."""
        return self._make_nominal()

    def choose(self, planner: Planner) -> Planner:
        """``planner``, which plans with the model, or the nominal one."""
        return planner if self.standing.level < TrustLevel.NOMINAL else self.nominal

    def sent(self, stamp_s: float, command: Command) -> None:
        """A command that went to the car at ``stamp_s`` [s]."""
        sent = [command.steering_angle_rad, command.acceleration_mps2, command.speed_mps]
        self._driven.command(stamp_s, np.array(sent))

    def observe(self, stamp_s: float, state: np.ndarray) -> None:
        """The estimator's state [8] at ``stamp_s`` [s]; judges the model where it is time to."""
        self._states_seen += 1
        if self._states_seen % STATES_PER_KEPT:
            return
        self._driven.observe(stamp_s, state)
        if (period := int(stamp_s * self._rate_hz)) != self._judged_at:
            self._judged_at = period
            with suppress(Exception):  # counted, and a stop where it lasts, as beside the dynamics server
                self._judge.judge(self._loaded, self._driven)
            self.levels.append(self.standing.level)
