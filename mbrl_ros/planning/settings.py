"""What a file in ``config/planners`` holds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mbrl_ros.core.config import Settings
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
