"""Planners that race: a loaded model, the racing task on a track, and one step for all three."""

from __future__ import annotations

from collections.abc import Callable

from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.tasks.horizon_end import HorizonEnd
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.passport import LoadedModel
from mbrl_ros.models.plausibility import require_same_car
from mbrl_ros.models.starting import Remembering
from mbrl_ros.models.stepping import at_dt
from mbrl_ros.planning.ddp.planner import DDPPlanner
from mbrl_ros.planning.ddp.planner_settings import DDPPlannerSettings
from mbrl_ros.planning.departures import Departures
from mbrl_ros.planning.mcts.guide import Guide
from mbrl_ros.planning.mcts.planner import MCTSPlanner
from mbrl_ros.planning.mcts.planner_settings import MCTSSettings
from mbrl_ros.planning.members import EachMember
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import HISTORY_S, Planner
from mbrl_ros.planning.settings import PlannerName, RacingPlannerSettings

SERVES_EAGERLY: frozenset[PlannerName] = frozenset({"mppi"})
"""Planners that find plans in time in plain torch, too, while kernels for them are compiled; others take seconds."""


def racing_planner(
    settings: RacingPlannerSettings, loaded: LoadedModel, vehicle: Vehicle, track: Track, seed: int
) -> Planner:
    """The planner that ``settings`` name, on a loaded model, racing on ``track``.

    Raises:
        ModelError: as `require_drivable` and `require_same_car` say, or the model cannot step at the planner's dt.
    """
    own = getattr(settings, settings.planner)
    return _RACING[settings.planner](loaded, vehicle, track, own, settings.task, seed)


def racing_mppi(
    loaded: LoadedModel, vehicle: Vehicle, track: Track, mppi: MPPISettings, task: RacingSettings, seed: int
) -> MPPI:
    """MPPI on a loaded model, racing on ``track``; model and task step as the planner's settings say.

    Raises:
        ModelError: as `require_drivable` and `require_same_car` say, or the model cannot step at the planner's dt.
    """
    require_drivable(loaded)
    require_same_car(loaded, vehicle)
    model: DynamicsModel = loaded.model
    careful = mppi.tail_share < 1.0 or mppi.disagreement_weight > 0.0
    if careful and isinstance(model, LearnedModel) and model.config.network.members > 1:
        model = EachMember(model)
    stepped = at_dt(model, mppi.dt_s, mppi.substeps)
    racing = RacingTask(track, vehicle, task, dt=mppi.dt_s)
    departures = Departures(racing.bounds(), mppi.horizon, mppi.dt_s)
    return MPPI(stepped, racing, mppi, seed=seed, model_id=loaded.id, departures=departures)


def racing_ddp(
    loaded: LoadedModel, vehicle: Vehicle, track: Track, ddp: DDPPlannerSettings, task: RacingSettings, seed: int
) -> DDPPlanner:
    """DDP on a loaded model, racing on ``track``; model and task step as the planner's settings say.

    Args:
        loaded: the model.
        vehicle: the car.
        track: the track.
        ddp: the planner's settings.
        task: weights and soft limits.
        seed: not used: nothing is drawn.

    Raises:
        ModelError: as `require_drivable` and `require_same_car` say, or the model cannot step at the planner's dt.
    """
    require_drivable(loaded)
    require_same_car(loaded, vehicle)
    stepped = at_dt(loaded.model, ddp.dt_s, ddp.substeps)
    end = HorizonEnd(track, vehicle, ddp.end) if ddp.end.wanted else None
    racing = RacingTask(track, vehicle, task, dt=ddp.dt_s)
    departures = Departures(racing.bounds(), ddp.horizon, ddp.dt_s)
    return DDPPlanner(stepped, racing, ddp, model_id=loaded.id, end=end, departures=departures)


def racing_mcts(
    loaded: LoadedModel, vehicle: Vehicle, track: Track, mcts: MCTSSettings, task: RacingSettings, seed: int
) -> MCTSPlanner:
    """Tree search on a loaded model, racing on ``track``; ``seed`` is not used, nothing is drawn.

    Raises:
        ModelError: as `require_drivable` and `require_same_car` say, or the model cannot step at the planner's dt.
    """
    require_drivable(loaded)
    require_same_car(loaded, vehicle)
    stepped = at_dt(loaded.model, mcts.dt_s, mcts.substeps)
    racing = RacingTask(track, vehicle, task, dt=mcts.dt_s)
    return MCTSPlanner(stepped, racing, Guide(track, vehicle, racing, mcts.guide), mcts, model_id=loaded.id)


_RACING: dict[PlannerName, Callable[..., Planner]] = {"mppi": racing_mppi, "ddp": racing_ddp, "mcts": racing_mcts}


def require_drivable(loaded: LoadedModel) -> None:
    """ModelError unless the car can be driven with the model, whatever the planner.

    It must take the commands that planners give, describe the point of the car that states do, and want no more driving
    to begin with than planners are told of.
    """
    model = loaded.model
    if model.action_layout != ACTIONS["acceleration"]:
        raise ModelError(f"model {loaded.id} takes {model.action_layout.names}, planners command acceleration")
    if model.reference_point != "cg":
        raise ModelError(
            f"model {loaded.id} describes the {model.reference_point}; states are of the cg, fit one of it"
        )
    if isinstance(model, Remembering) and model.history_s > HISTORY_S:
        raise ModelError(
            f"model {loaded.id} wants {model.history_s:g} s of driving to begin with, planners know {HISTORY_S:g} s; "
            "train one with a shorter history_s"
        )
