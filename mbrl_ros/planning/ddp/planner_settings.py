"""Settings of DDP as a planner."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings
from mbrl_ros.core.tasks.horizon_end import HorizonEndSettings
from mbrl_ros.planning.rollouts import Backend


class DDPPlannerSettings(Settings):
    """Size of DDP's plans, and how far they are optimised in a cycle."""

    horizon: int = Field(default=60, ge=2, le=500, description="steps of the plan, N")
    dt_s: float = Field(default=0.04, gt=0.0, le=1.0, description="duration of a step of the plan")
    substeps: int = Field(default=1, ge=1, le=20, description="integration steps of the model per step of the plan")
    iterations: int = Field(default=2, ge=1, le=50, description="iterations per cycle, on the previous plan")
    first_iterations: int = Field(
        default=30, ge=1, le=500, description="iterations of a plan that has no previous one to begin with"
    )
    first_drive: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="share of the largest drive command that the first plan begins with: at rest, commands that do not "
        "move the car have no slope to follow",
    )
    second_order: bool = Field(
        default=False, description="with the curvature of the dynamics (DDP), or without (iLQR, Gauss-Newton)"
    )
    step_sizes: int = Field(default=8, ge=1, le=32, description="step sizes tried at once: 1, 1/2, 1/4, ...")
    first_regularisation: NonNegativeFloat = Field(default=1e-4, description="mu of the first iteration of a cycle")
    tolerance: PositiveFloat = Field(
        default=1e-6, description="expected gain that ends a cycle's iterations, as share of one plus the cost"
    )
    end: HorizonEndSettings = Field(
        default_factory=HorizonEndSettings, description="what the end of a plan costs, for what lies beyond it"
    )
    backend: Backend = Field(default="compiled", description="how derivatives and passes are computed")
    threads: int = Field(default=1, ge=1, le=64, description="threads of a solve; other nodes want a core too")
