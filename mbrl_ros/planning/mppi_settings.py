"""Settings of sampling-based planning: how many sequences, what noise, and what becomes of their costs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from mbrl_ros.core.config import Settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import STEERING_COMMAND, Layout
from mbrl_ros.planning.noise import NoiseShape, coloured_noise, derivative_noise, spline_noise, white_noise

_STD_FIELDS = {
    "steering_command": "steering_std_rad",
    "acceleration_command": "acceleration_std_mps2",
    "speed_command": "speed_std_mps",
    "duty_command": "duty_std",
}

_MOST_KEPT = 0.25  # share of the samples that may be old ones; proposals may be half, and two are plans


class CEMSettings(Settings):
    """The cross-entropy method (Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning").

    Their number of samples falls from iteration to iteration; here it stays, since rollouts come in whole batches.
    """

    elite_share: float = Field(default=0.05, gt=0.0, le=1.0, description="share of the rollouts that are elites")
    momentum: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="share of the old mean and standard deviation in the new ones"
    )
    std_floor_share: float = Field(
        default=0.2, ge=0.0, le=1.0, description="standard deviations fall no lower than this share of the first ones"
    )
    kept_share: float = Field(
        default=0.3,
        ge=0.0,
        le=1.0,
        description="share of the elites, the best of them, that are also samples of the next iteration and cycle",
    )

    @model_validator(mode="after")
    def _leaves_room_for_new_samples(self) -> CEMSettings:
        if self.elite_share * self.kept_share > _MOST_KEPT:
            kept = self.elite_share * self.kept_share
            raise ValueError(
                f"elite_share times kept_share is {kept:g}, of the samples no more than {_MOST_KEPT:g} may stay; "
                "lower one of them"
            )
        return self


class MPPISettings(Settings):
    """Size, noise and weighting of MPPI. Standard deviations are of the noise on a command, at every step."""

    rollouts: int = Field(default=1024, ge=8, le=65536, description="sampled action sequences per iteration, K")
    horizon: int = Field(default=50, ge=2, le=500, description="steps of the plan, H")
    dt_s: float = Field(default=0.05, gt=0.0, le=1.0, description="duration of a step of the plan")
    substeps: int = Field(default=1, ge=1, le=20, description="integration steps of the model per step of the plan")
    iterations: int = Field(default=1, ge=1, le=20, description="rounds of sampling and weighting per cycle")
    steering_std_rad: PositiveFloat = Field(default=0.15, le=1.0, description="noise on the commanded road wheel angle")
    acceleration_std_mps2: PositiveFloat = Field(default=2.0, le=50.0, description="noise on a commanded acceleration")
    speed_std_mps: PositiveFloat = Field(default=1.0, description="noise on a commanded speed")
    duty_std: PositiveFloat = Field(default=0.3, description="noise on a commanded duty cycle")
    sampler: Literal["white", "spline", "coloured", "derivative"] = Field(
        default="spline",
        description="noise along the horizon: independent at every step; a spline through knots; of a spectrum "
        "1/f^exponent; or on the commands' rates, begun at zero and integrated (SMPPI)",
    )
    knot_spacing_s: NonNegativeFloat = Field(
        default=0.25,
        description="`spline` and `derivative` draw this far apart and interpolate by a spline; 0: at every step",
    )
    steering_exponent: float = Field(
        default=2.0, ge=0.0, le=10.0, description="exponent of `coloured` noise on the steering; 0: white"
    )
    drive_exponent: float = Field(
        default=2.0, ge=0.0, le=10.0, description="exponent of `coloured` noise on the other command"
    )
    antithetic: bool = Field(default=False, description="draw noise in pairs of opposite signs")
    prior_share: float = Field(
        default=0.1,
        ge=0.0,
        le=0.9,
        description="share of the samples that lie about what a prior proposes, for planners that were given one",
    )
    update: Literal["mppi", "cem"] = Field(
        default="mppi",
        description="how costs make a plan: all samples, weighted by the exponential of their cost; or elites alone "
        "(cross-entropy method)",
    )
    temperature: PositiveFloat = Field(
        default=1.0, description="lambda, in units of cost; with a target below, only where the search for it begins"
    )
    effective_share: float | None = Field(
        default=0.1,
        gt=0.0,
        le=1.0,
        description="effective sample size that the temperature is adapted to, as share of the rollouts; "
        "empty: the temperature stays",
    )
    control_cost_share: float = Field(
        default=1.0,
        ge=0.0,
        le=1.0,
        description="share of lambda u^T Sigma^-1 eps in a rollout's cost: 1 draws plans towards zero commands "
        "(Williams et al. 2017), 0 leaves effort to the task",
    )
    cem: CEMSettings = Field(default_factory=CEMSettings, description="of the update `cem`")
    tail_share: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="share of an ensemble's members, the worst for a plan, whose mean cost the plan has (CVaR); "
        "below 1 each member is rolled out by itself, at as many times the cost",
    )
    disagreement_weight: NonNegativeFloat = Field(
        default=0.0, description="of the standard deviation of a plan's cost over an ensemble's members; likewise"
    )
    tube: bool = Field(
        default=False,
        description="plans carry feedback gains, of a Gauss-Newton pass along them, for `loop.follow_gains`, and a "
        "cycle begins with the last plan as they correct it for where the car is",
    )
    backend: Literal["auto", "eager", "compiled", "fused"] = Field(
        default="auto",
        description="how rollouts are evaluated: plain torch, compiled, or in one kernel with sampling and weighting "
        "(`fused`), which few models have; `auto`: fused where it can be, else compiled",
    )
    device: Literal["auto", "processor"] = Field(
        default="auto", description="where that is done: on a GPU where there is one, or always on the processor"
    )
    eager_rollouts: int = Field(
        default=256,
        ge=8,
        le=65536,
        description="rollouts per iteration, if `rollouts` are not fewer, in plain torch, that serve a planner node at "
        "its start until all are compiled",
    )
    threads: int = Field(default=1, ge=1, le=64, description="threads of a solve; other nodes want a core too")

    def noise_shapes(self, actions: int) -> list[NoiseShape]:
        """[A] shape of the noise on each of ``actions`` commands; the steering's is the first.

        Raises:
            ConfigError: the horizon is too short for the distance of the knots.
        """
        if self.sampler == "coloured":
            exponents = [
                self.steering_exponent if k == STEERING_COMMAND else self.drive_exponent for k in range(actions)
            ]
            return [coloured_noise(self.horizon, exponent) for exponent in exponents]
        if self.sampler == "white":
            return [white_noise(self.horizon)] * actions
        spline = spline_noise(self.horizon, self.dt_s, self.knot_spacing_s)
        return [spline if self.sampler == "spline" else derivative_noise(spline)] * actions


def standard_deviations(settings: MPPISettings, layout: Layout) -> list[float]:
    """[A] standard deviations of the noise on the actions of ``layout``.

    Raises:
        ConfigError: the settings have none for an action.
    """
    if unknown := [name for name in layout.names if name not in _STD_FIELDS]:
        raise ConfigError(f"MPPI settings have no standard deviation for action '{unknown[0]}'; give noise_std")
    return [getattr(settings, _STD_FIELDS[name]) for name in layout.names]
