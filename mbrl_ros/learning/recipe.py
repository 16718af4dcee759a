"""Recipes: what to train and how, from a YAML file in config/training or elsewhere."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from mbrl_ros.core.config import Settings
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.learned.config import NetworkKind, Seen
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.parametric.integrators import Integrator

PhysicsKind = Literal["kinematic_bicycle", "single_track"]


class IdentificationSettings(Settings):
    """Fit of the physics, before anything is learned. See `mbrl fit`."""

    horizon_s: float = Field(default=2.0, gt=0, le=10, description="length of the predictions fitted to [s]")
    max_windows: int = Field(default=400, ge=10, le=100_000, description="predictions fitted to, at most")
    integrator: Integrator = Field(default="euler", description="of the physics; heun costs twice, rk4 four times")
    parameters: dict[str, float] = Field(
        default_factory=dict, description="of the car, to begin with, by name; others begin with the kind's defaults"
    )


class NetworkSettings(Settings):
    """What is learned."""

    kind: NetworkKind = Field(default="gru", description="mlp sees the present alone; gru and lstm remember")
    members: int = Field(default=3, ge=1, le=32, description="networks, each with its own held-out driving")
    hidden: int = Field(default=32, ge=1, le=1024, description="width of hidden layers or of the memory")
    layers: int = Field(default=2, ge=1, le=8, description="hidden layers of an mlp")
    history_s: float = Field(default=1.0, gt=0, le=30, description="driving before a start that is remembered [s]")
    sees: Seen = Field(default="predicted", description="what the physics predicted, or the state before the step")
    probabilistic: bool = Field(default=False, description="members say how uncertain they are; needs horizon_s: 0")
    elites: int | None = Field(default=None, ge=1, description="how many of them act, the best; empty: all")
    headroom: float = Field(
        default=1.5, ge=1.0, le=10.0, description="limits of the outputs, as multiples of what was driven"
    )
    least_grip_mps2: PositiveFloat = Field(
        default=10.0, description="lateral acceleration that is allowed even where less was driven [m/s^2]"
    )


class TrainingSettings(Settings):
    """How it is learned."""

    horizon_s: float = Field(default=2.0, ge=0.0, le=10, description="length of the predictions [s]; 0: a single step")
    start_every_s: float = Field(default=0.2, gt=0, le=10, description="spacing of their starts [s]")
    min_speed: float | None = Field(default=None, ge=0, description="of starts [m/s]; empty: the usual")
    velocity_weight: NonNegativeFloat = Field(default=0.3, description="of heading and velocities beside the position")
    epochs: PositiveInt = Field(default=14, description="passes over the data, at most")
    patience: PositiveInt = Field(default=5, description="epochs without a better held-out error after which to stop")
    epoch_predictions: PositiveInt | None = Field(
        default=None, description="learned from in an epoch, at most, drawn anew for each; empty: all there are"
    )
    epoch_steps: PositiveInt = Field(
        default=1, description="of the optimiser in an epoch, at least: little driving is passed over several times"
    )
    batch: PositiveInt = Field(default=64, description="predictions per step of the optimiser")
    learning_rate: PositiveFloat = Field(default=2e-3, description="at the beginning; it falls to zero along a cosine")
    in_proportion: bool = Field(
        default=False, description="the last layer learns at a pace between what the base lacks and its limits"
    )
    weight_decay: NonNegativeFloat = Field(default=1e-2, description="decoupled (AdamW)")
    bfloat16: bool = Field(
        default=False, description="matrix products in bfloat16, where the processor has them; weights stay float32"
    )
    gradient_norm: PositiveFloat = Field(default=1.0, description="longer gradients of a member are cut")
    held_out_blocks: int = Field(default=5, ge=2, le=50, description="one block in so many stops a member")
    block_s: float = Field(default=8.0, gt=0, le=600, description="length of these blocks, at most [s]")
    bootstrap: bool = Field(default=False, description="each member learns from its own draw of the driving")
    mirror: bool = Field(default=True, description="learn from the driving's mirror image too")
    seed: NonNegativeInt = Field(default=0, description="of everything random")

    def drawn(self, count: int) -> int:
        """Of ``count`` examples those that are learned from in a pass."""
        return min(count, self.epoch_predictions or count)

    def batches(self, count: int) -> int:
        """Steps of the optimiser in a pass over those drawn of ``count`` examples, at most."""
        return max(1, self.drawn(count) // self.batch)


class Recipe(Settings):
    """Everything about a training but the recordings.

    ``physics`` alone is an identification; with a ``network`` the network learns what the physics lacks; a
    ``network`` without physics learns all but the car's inertia.
    """

    physics: PhysicsKind | None = Field(description="model to identify first; empty: none")
    network: NetworkSettings | None = Field(description="residual to learn; empty: none")
    identification: IdentificationSettings = IdentificationSettings()
    training: TrainingSettings = TrainingSettings()
    alternations: int = Field(
        default=0, ge=0, le=10, description="turns of physics fitted with the network in place, and network trained on"
    )

    def beginning_with(self, vehicle: Vehicle, **config: Any) -> Recipe:
        """The same, its physics beginning with a vehicle's nominal parameters where the recipe itself names none.

        Args:
            vehicle: the car.
            config: what the driving says of the model's `Config`: ``drive``, ``reference_point``.

        Raises:
            ModelError: the vehicle's parameters do not fit.
        """
        if self.physics is None:
            return self
        nominal = build_for(vehicle, self.physics, dt=1.0, **config).values()
        parameters = {**nominal, **self.identification.parameters}
        begun = self.identification.model_copy(update={"parameters": parameters})
        return self.model_copy(update={"identification": begun})

    @model_validator(mode="after")
    def _makes_sense(self) -> Recipe:
        if self.physics is None and self.network is None:
            raise ValueError("neither physics nor network: nothing to train; name one of them")
        network = self.network
        if network and network.probabilistic and (network.kind != "mlp" or self.training.horizon_s > 0):
            raise ValueError("a probabilistic network is an mlp that learns single steps: kind mlp, horizon_s 0")
        if network and network.probabilistic and self.training.in_proportion:
            raise ValueError("a probabilistic network does not learn in_proportion; leave that out")
        if self.alternations and (self.physics is None or network is None or self.training.horizon_s == 0):
            raise ValueError("alternations are of physics and a network that learns over a horizon; set them to 0")
        if network and network.elites and network.elites > network.members:
            raise ValueError(f"{network.elites} elites of {network.members} members; lower elites")
        return self
