"""Settings of learning by tree search."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mbrl_ros.core.config import Settings
from mbrl_ros.planning.mcts import SearchSettings, Widening

Algorithm = Literal["alphazero", "muzero"]


class TreeSearchSettings(Settings):
    """Everything about a training but the problem."""

    algorithm: Algorithm = Field(
        default="alphazero", description="search the problem's own equations, or a latent model that is learned too"
    )
    simulations: PositiveInt = Field(default=25, description="per decision")
    candidates: PositiveInt = Field(default=8, description="actions that a node tries, at most")
    widening: PositiveFloat = Field(default=1.0, description="a node with N visits tries so many times root of N")
    exploration: PositiveFloat = Field(default=1.25, description="weight of what was seldom tried")
    reuse: bool = Field(default=False, description="begin with what the last search found below the action taken")
    rounds: PositiveInt = Field(default=9, description="of episodes side by side, then learning goes on")
    episodes: PositiveInt = Field(default=5, description="side by side in a round")
    updates: PositiveInt = Field(default=4, description="gradient steps per step of a round")
    batch: PositiveInt = Field(default=256, description="decisions per gradient step")
    bootstrap_steps: PositiveInt = Field(default=5, description="rewards before the value is counted on")
    value_weight: PositiveFloat = Field(default=1.0, description="of the values' squared error")
    unroll_steps: PositiveInt = Field(default=5, description="of the latent model in the loss (muzero)")
    reward_weight: PositiveFloat = Field(
        default=20.0, description="of the rewards' squared error, which is small beside that of values (muzero)"
    )
    consistency_weight: NonNegativeFloat = Field(
        default=0.0, description="of the distance between latents that were predicted and observed (muzero)"
    )
    learning_rate: PositiveFloat = Field(default=1e-3, description="of Adam")
    entropy_weight: NonNegativeFloat = Field(default=0.01, description="keeps the policy from deciding too early")
    gradient_norm: PositiveFloat = Field(default=1.0, description="longer gradients are cut")
    hidden: PositiveInt = Field(default=128, description="width of the networks")
    latent: int = Field(default=16, ge=2, description="entries of a latent (muzero)")
    seed: int = Field(default=0, ge=0, description="of everything random")

    @property
    def search(self) -> SearchSettings:
        """The search's own settings."""
        return SearchSettings(
            self.simulations,
            exploration=self.exploration,
            widening=Widening(self.widening, 0.5),
            root_first=True,
        )
