"""A planner on a model for a drive on simulated time, and the watch that says how far the model may be trusted."""

from __future__ import annotations

from mbrl_ros.core.track import Track
from mbrl_ros.core.trust import TrustSettings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.judge import EVIDENCE_RATE_HZ
from mbrl_ros.evaluation.watch import Watch
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.planning.planner import Planner
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings


def watched_planner(
    settings: RacingPlannerSettings,
    loaded: LoadedModel,
    vehicle: Vehicle,
    track: Track,
    seed: int,
    trust: TrustSettings | None = None,
    rate_hz: float = EVIDENCE_RATE_HZ,
) -> tuple[Planner, Watch]:
    """The planner that ``settings`` name on ``loaded``, warm, and a watch that judges the model
    ``rate_hz`` times a second and falls back on nominal physics.

    Raises:
        ModelError: see `planning.racing.racing_planner`.
    """

    def warm(model: LoadedModel) -> Planner:
        planner = racing_planner(settings, model, vehicle, track, seed)
        planner.warm_up()
        return planner

    return warm(loaded), Watch(
        loaded, vehicle.limits.speed_mps, lambda: warm(passport.nominal(vehicle)), trust, rate_hz
    )
