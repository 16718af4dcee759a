"""What a file in ``config/planners`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from pydantic import Field

from mbrl_ros.core.config import Settings, read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.tasks.racing import RacingSettings
from mbrl_ros.planning.control_loop import LoopSettings
from mbrl_ros.planning.ddp.planner_settings import DDPPlannerSettings
from mbrl_ros.planning.mcts.planner_settings import MCTSSettings
from mbrl_ros.planning.mppi_settings import MPPISettings

PlannerName = Literal["mppi", "ddp", "mcts"]


class RacingPlannerSettings(Settings):
    """A racing planner: which one, its loop, the settings of each planner there is, and the task."""

    planner: PlannerName = Field("mppi", description="which planner plans")
    loop: LoopSettings = Field(default_factory=LoopSettings, description="which states and plans are fresh enough")
    mppi: MPPISettings = Field(
        default_factory=MPPISettings, description="planner `mppi`: model predictive path integral"
    )
    ddp: DDPPlannerSettings = Field(
        default_factory=DDPPlannerSettings, description="planner `ddp`: differential dynamic programming"
    )
    mcts: MCTSSettings = Field(
        default_factory=MCTSSettings, description="planner `mcts`: tree search, on a feedback law"
    )
    task: RacingSettings = Field(description="weights and soft limits of racing")

    @property
    def dt_s(self) -> float:
        """Duration of a step of the plans [s]."""
        dt_s: float = getattr(self, self.planner).dt_s
        return dt_s


def by_planner(own: RacingPlannerSettings, others: Sequence[str]) -> dict[str, RacingPlannerSettings]:
    """What each planner that there is plans with, by its name: the file that names it, or else ``own``.

    How much a task may ask of the tyres depends on the planner, so that one that takes over brings its own. The loop
    and the number of obstacles are those of ``own`` in all: they outlive a change of planner.

    Args:
        own: settings that the loop is of.
        others: paths of files for other planners.

    Raises:
        ConfigError: a file cannot be read, or two name one planner.
    """
    found = {name: own.model_copy(update={"planner": name}) for name in get_args(PlannerName)}
    named: dict[str, str] = {own.planner: "the node's own file"}
    for path in others:
        settings = read_settings(path, RacingPlannerSettings)
        if settings.planner in named:
            raise ConfigError(
                f"{path}: {named[settings.planner]} is for planner {settings.planner}, too; leave one out"
            )
        task = settings.task.model_copy(update={"obstacles": own.task.obstacles})
        found[settings.planner] = settings.model_copy(update={"loop": own.loop, "task": task})
        named[settings.planner] = path
    return found
