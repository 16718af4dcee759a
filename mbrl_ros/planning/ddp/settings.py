"""Settings of differential dynamic programming."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mbrl_ros.core.config import Settings


class DDPSettings(Settings):
    """How trajectories are optimised."""

    second_order: bool = Field(
        default=True, description="with the curvature of the dynamics (DDP), or without (iLQR, Gauss-Newton)"
    )
    convex_cost: bool = Field(
        default=False,
        description="take negative curvature of the cost for positive, so that no backward pass fails for it",
    )
    max_iterations: PositiveInt = Field(default=200, description="iterations of one optimisation at most")
    tolerance: PositiveFloat = Field(
        default=1e-9, description="expected gain that counts as none, as share of one plus the cost"
    )
    step_sizes: PositiveInt = Field(default=10, le=32, description="step sizes tried at once: 1, 1/2, 1/4, ...")
    acceptance: float = Field(
        default=1e-4, gt=0.0, lt=1.0, description="share of the expected gain that a step must bring"
    )
    first_regularisation: NonNegativeFloat = Field(default=1.0, description="mu of the first iteration")
    penalty_rounds: PositiveInt = Field(
        default=1, description="optimisations with growing penalty, where there are constraints"
    )
    first_penalty: PositiveFloat = Field(default=10.0, description="penalty on violated constraints in the first round")
    penalty_growth: float = Field(default=10.0, ge=1.0, description="factor on it from round to round")
