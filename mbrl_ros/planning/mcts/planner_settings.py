"""Settings of tree search as a planner of commands."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings
from mbrl_ros.planning.rollouts import Backend


class GuideSettings(Settings):
    """The feedback law that search begins with and improves on (see `planning.mcts.guide`)."""

    preview_s: PositiveFloat = Field(default=0.4, le=5.0, description="driving time to the point that is aimed at")
    shortest_preview_m: PositiveFloat = Field(default=0.8, description="the point is no nearer than this")
    lateral_acceleration_mps2: PositiveFloat = Field(
        default=4.5, le=100.0, description="of the speed profile on the centre line that is followed"
    )


class MCTSSettings(Settings):
    """Size and steps of a tree of knots, the offsets between commands and those of a feedback law."""

    knots: int = Field(default=8, ge=2, le=50, description="depth of the tree: knots of a plan, one at each edge's end")
    knot_steps: int = Field(default=5, ge=1, le=50, description="steps of the plan from knot to knot")
    dt_s: float = Field(default=0.05, gt=0.0, le=1.0, description="duration of a step of the plan")
    substeps: int = Field(default=1, ge=1, le=20, description="integration steps of the model per step of the plan")
    rounds: int = Field(default=6, ge=1, le=1000, description="batches of rollouts per cycle")
    leaves: int = Field(
        default=16,
        ge=1,
        le=1024,
        description="leaves per round, each expanded by all its candidates; so many nodes are reused, too",
    )
    reuse: bool = Field(
        default=False, description="search on in the last cycle's tree where it found nothing better than its plan"
    )
    exploration: NonNegativeFloat = Field(
        default=2.0, description="weight of what was tried little, in units of the task's cost"
    )
    steering_moves_rad: tuple[float, ...] = Field(
        default=(-0.06, -0.02, 0.0, 0.02, 0.06),
        min_length=1,
        description="moves of a knot's steering angle from that of the last plan",
    )
    acceleration_moves_mps2: tuple[float, ...] = Field(
        default=(-2.0, 0.0, 1.0), min_length=1, description="moves of a knot's acceleration, with each of the former"
    )
    guide: GuideSettings = Field(default_factory=GuideSettings, description="the feedback law")
    backend: Backend = Field(default="compiled", description="how rollouts are evaluated")
    threads: int = Field(default=1, ge=1, le=64, description="threads of a solve; other nodes want a core too")

    @property
    def horizon(self) -> int:
        """Steps of a plan."""
        return self.knots * self.knot_steps

    @model_validator(mode="after")
    def _staying_is_a_move(self) -> MCTSSettings:
        if 0.0 not in self.steering_moves_rad or 0.0 not in self.acceleration_moves_mps2:
            raise ValueError("moves must contain 0, so that the last plan can be kept")
        return self
