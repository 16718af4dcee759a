"""What a file in ``config/planners`` holds."""

from __future__ import annotations

from pydantic import Field

from mbrl_ros.core.config import Settings
from mbrl_ros.core.tasks.racing import RacingSettings
from mbrl_ros.planning.control_loop import LoopSettings
from mbrl_ros.planning.mppi_settings import MPPISettings


class RacingPlannerSettings(Settings):
    """A racing planner: its loop, its optimiser and its task."""

    loop: LoopSettings = Field(default_factory=LoopSettings, description="which states and plans are fresh enough")
    mppi: MPPISettings = Field(default_factory=MPPISettings, description="the optimiser")
    task: RacingSettings = Field(description="weights and soft limits of racing")
