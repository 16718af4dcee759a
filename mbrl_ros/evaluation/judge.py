"""How far a model is trusted by what was driven with it: evidence, judged by the state machine of `core.trust`.

The dynamics server judges so beside its model, `evaluation.closed_loop` on simulated time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.trust import Evidence, Trust, TrustLevel, TrustSettings
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.evidence import evidence
from mbrl_ros.models.passport import LoadedModel

STATES_PER_KEPT = 5
"""Of so many of the estimator's states one is compared with predictions, if nobody wishes otherwise."""

EVIDENCE_RATE_HZ = 3.0
"""How often models are judged, if nobody wishes otherwise."""

KEPT_BESIDES_S = 10.0
"""Driving kept besides the longest window, for horizons, delays and memories to reach into [s]."""


@dataclass(frozen=True)
class Standing:
    """How far the model in force is trusted (msg/ModelTrust).

    Args:
        stamp_s: of the newest state that was judged by [s]; 0 before the first.
        model_id: the model in force.
        level: what the car may do.
        speed_cap_mps: fastest speed allowed; infinite where there is no cap.
        evidence: that was judged by last.
        reason: why it is not trusted, or empty.
        failures: judgements that failed so far.
        unjudged: why the last judgement failed, or empty.
    """

    stamp_s: float
    model_id: str
    level: TrustLevel
    speed_cap_mps: float
    evidence: Evidence
    reason: str
    failures: int = 0
    unjudged: str = ""


class Judge:
    """Judges a model by the last seconds driven; ``standing`` is exchanged as a whole, for readers in any thread.

    Args:
        model_id: the model that is judged first.
        settings: thresholds and times of distrust.
        top_speed_mps: of the vehicle.
    """

    def __init__(self, model_id: str, settings: TrustSettings, top_speed_mps: float) -> None:
        self._trust = Trust(settings, top_speed_mps)
        self._slides = settings.cautious_slip_rad is not None
        self._model_id = model_id
        self._judged_s = 0.0
        self._reset_s = -math.inf
        self._failures, self._unjudged = 0, ""
        self.standing = self._stand()

    def judge(self, loaded: LoadedModel, driven: Driven) -> Evidence:
        """What ``driven`` says about ``loaded``, the model in force; taken into account.

        Raises:
            Exception: it cannot be judged. That is counted, and ends in a stop where it lasts.
        """
        found = self._found(loaded, driven)
        self._trust.judge(found, driven.stamp_s)
        self._judged_s, self._unjudged = driven.stamp_s, ""
        self.standing = self._stand()
        return found

    def renew(self, model_id: str) -> None:
        """``model_id`` came into force; see `core.trust.Trust.renew`."""
        self._model_id = model_id
        self._trust.renew()
        self.standing = self._stand()

    def reset(self, driven: Driven) -> None:
        """Release a latched stop, on behalf of a person who looked at the car; what was driven before is forgiven.

        Raises:
            ModelError: the car drives.
        """
        if not driven.standing:
            raise ModelError("the car drives; trust can be reset when it stands")
        self._reset_s = driven.stamp_s
        self._trust.reset()
        self.standing = self._stand()

    def _found(self, loaded: LoadedModel, driven: Driven) -> Evidence:
        if driven.stamp_s < self._reset_s:  # time was set back
            self._reset_s = -math.inf
        try:
            return evidence(loaded, driven, self._reset_s, self._slides)
        except Exception as error:
            self._failures += 1
            self._unjudged = f"{type(error).__name__}: {error}"
            self._trust.fail_to_judge(self._unjudged, driven.stamp_s)
            self.standing = self._stand()
            raise

    def _stand(self) -> Standing:
        trust = self._trust
        return Standing(
            self._judged_s,
            self._model_id,
            trust.level,
            trust.speed_cap_mps,
            trust.evidence,
            trust.reason,
            self._failures,
            self._unjudged,
        )
