"""Model predictive path integral control (Williams et al. 2017, "Information theoretic MPC", algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from mbrl_ros.core.config import Settings
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import STATE, Layout
from mbrl_ros.core.tasks.task import SpeedCapped, Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.starting import start_now
from mbrl_ros.models.stepping import Held
from mbrl_ros.planning.members import EachMember, risk
from mbrl_ros.planning.noise import spline_noise
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.rollouts import Backend, Rollouts

_STD_FIELDS = {
    "steering_command": "steering_std_rad",
    "acceleration_command": "acceleration_std_mps2",
    "speed_command": "speed_std_mps",
    "duty_command": "duty_std",
}


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
    knot_spacing_s: NonNegativeFloat = Field(
        default=0.25, description="noise is drawn this far apart and interpolated by a spline; 0: white noise"
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
    backend: Backend = Field(default="compiled", description="how rollouts are evaluated")
    threads: int = Field(default=1, ge=1, le=64, description="threads of a solve; other nodes want a core too")


class MPPI:
    """Plans by weighting sampled action sequences with what they cost; a `planning.planner.Planner`.

    With a nominal plan u and noise of covariance Sigma, one iteration is

        v_k = clamp(u + noise_k)            eps_k = v_k - u
        S_k = cost(v_k) + lambda sum_t u_t^T Sigma^-1 eps_k,t
        w_k = exp(-(S_k - min S) / lambda) / sum
        u  <- u + sum_k w_k eps_k

    The nominal plan begins as the previous one shifted by the elapsed time. Among the samples are always the nominal
    plan itself (no noise) and the shifted previous one. A rollout whose cost is not finite gets no weight and is
    counted. Commands reach the model after its delay; those in flight are taken from the history of what was sent.
    The same seed, settings and inputs give the same plans to the bit on a CPU.

    Args:
        model: torch module, one step of ``settings.dt_s``.
        task: torch module: rewards and bounds.
        settings: see `MPPISettings`.
        seed: of the noise.
        model_id: stands in every plan.
        noise_std: [A] standard deviations; None takes those that the settings have for the model's actions.

    Raises:
        ConfigError: the model steps another time, or the settings know no standard deviation for an action.
        LayoutError: model and task disagree.
    """

    kind = "mppi"

    def __init__(
        self,
        model: DynamicsModel,
        task: Task,
        settings: MPPISettings,
        seed: int = 0,
        model_id: str = "",
        noise_std: Sequence[float] | None = None,
    ) -> None:
        if abs(model.dt - settings.dt_s) > 1e-9:
            raise ConfigError(f"field 'dt_s' is {settings.dt_s:g} s, but the model steps {model.dt:g} s")
        self.model, self.task, self.settings, self.model_id = model, task, settings, model_id
        own = _own(model)
        self._members = own if isinstance(own, EachMember) else None
        self.rollouts = Rollouts(model, task, settings.backend, members=self._members.members if self._members else 1)
        std = standard_deviations(settings, model.action_layout) if noise_std is None else noise_std
        shape = spline_noise(settings.horizon, settings.dt_s, settings.knot_spacing_s)
        self._basis = torch.tensor(shape.basis, dtype=torch.float32)
        self._std = torch.tensor(std, dtype=torch.float32)
        self._precision = torch.tensor(shape.precision, dtype=torch.float32)
        self._seed = seed
        self._generator = torch.Generator()
        self._white = torch.empty(self._basis.shape[1], len(self._std) * settings.rollouts)
        self._commands = torch.empty(0)
        self._samples: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None
        self.reset()

    @property
    def backend(self) -> Backend:
        """How rollouts are evaluated at present."""
        return self.rollouts.backend

    def reset(self, plan: ControlSequence | None = None) -> None:
        """Forget the previous plan, or go on from another planner's, and begin the random numbers anew."""
        self._generator.manual_seed(self._seed)
        self._previous = plan
        self._temperature = self.settings.temperature

    def warm_up(self, background: bool = False) -> None:
        """Load or build the compiled rollouts; in the background, eager ones serve meanwhile, slowly."""
        with _threads(self.settings.threads):
            self.rollouts.warm_up(background)

    def plan(self, problem: Problem) -> ControlSequence:
        """The sequence to follow from the problem's stamp on.

        Raises:
            PlanningError: no rollout has a finite cost, or there is a speed cap that the task knows nothing of.
        """
        self._cap_speed(problem.speed_cap_mps)
        with torch.inference_mode(), _threads(self.settings.threads):
            return self._plan(problem)

    def candidates(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States [N, H + 1, 8] and costs [N] of up to ``count`` of the last plan's samples, evenly spread in rank."""
        if self._samples is None:
            raise PlanningError("there are no candidates before the first plan")
        with torch.inference_mode(), _threads(self.settings.threads):
            state, applied, costs = self._samples
            ranked = torch.argsort(costs)[: int(torch.isfinite(costs).sum())]
            places = torch.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().long()
            chosen = ranked[places]
            states = self.rollouts.trace(state, applied[chosen]).states
            return states[..., : len(STATE)].double().numpy(), costs[chosen].double().numpy()

    def _plan(self, problem: Problem) -> ControlSequence:
        stamp_s = problem.stamp_s
        low, high = (bound.to(torch.float32) for bound in self.task.bounds())
        previous = self._warm_start(stamp_s, low, high)
        start, history_share = self._start(problem)
        past = self._past(stamp_s, problem.commands)
        nominal, saturated, finite = previous, 0.0, 0.0
        for _ in range(self.settings.iterations):
            commands, saturation = self._sample(nominal, previous, past, low, high)
            applied = self._applied(commands, len(past))
            costs = self._cost(start, applied)
            sampled = commands[len(past) :]
            pull = self.settings.control_cost_share * self._pull(nominal, sampled)
            weights, self._temperature = weigh(
                costs, pull, self._temperature, self.settings.effective_share, f"at {stamp_s:.3f} s"
            )
            # The weights sum to one: u + sum w (v - u) = sum w v, which stays inside of the bounds.
            nominal = sampled @ weights
            saturated += saturation / self.settings.iterations
            finite += float(torch.isfinite(costs).float().mean()) / self.settings.iterations
            self._samples = (start, applied, costs)
        commands = torch.cat([past, nominal])[..., None]
        trace = self.rollouts.trace(start, self._applied(commands, len(past)))
        car = len(STATE)  # what a model remembers stands behind it
        terms = dict(zip(self.rollouts.term_names, trace.costs[0].tolist(), strict=True))
        self._previous = ControlSequence(
            stamp_s,
            self.settings.dt_s,
            nominal.double().numpy(),
            self.model.action_layout,
            trace.states[0, :, :car].double().numpy(),
            self.model_id,
            {
                **{f"cost.{name}": cost for name, cost in terms.items()},
                "total_cost": sum(terms.values()),
                "effective_sample_size": effective_sample_size(weights),
                "temperature": self._temperature,
                "saturation_share": saturated,
                "non_finite_share": 1.0 - finite,
                "iterations": float(self.settings.iterations),
                "history_share": history_share,
            },
        )
        return self._previous

    def _start(self, problem: Problem) -> tuple[torch.Tensor, float]:
        """[S] state that rollouts begin with, and the share of the driving that the model wanted to see before it."""
        model = self._members.model if self._members else _own(self.model)
        begin, share = start_now(model, problem.state, problem.stamp_s, problem.commands, problem.driven)
        return (self._members.separate(begin) if self._members else begin).to(torch.float32), share

    def _cost(self, start: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
        """[K] cost of each sample, by all members that act."""
        if self._members is None:
            return self.rollouts.evaluate(start, applied)
        costs = self.rollouts.by_member(start, applied)[self._members.model.elites]
        return risk(costs, self.settings.tail_share, self.settings.disagreement_weight)

    def _warm_start(self, stamp_s: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """[H, A] previous plan from ``stamp_s`` on, or zeros; inside of the bounds."""
        if self._previous is None:
            nominal = torch.zeros(self.settings.horizon, len(low))
        else:
            nominal = torch.tensor(self._shifted(self._previous, stamp_s), dtype=torch.float32)
        return torch.clamp(nominal, low, high)

    def _shifted(self, plan: ControlSequence, stamp_s: float) -> np.ndarray:
        """[H, A] ``plan`` from ``stamp_s`` on; another planner's may have other steps."""
        middles = stamp_s + self.settings.dt_s * (np.arange(self.settings.horizon) + 0.5)
        return plan.at(middles)

    def _cap_speed(self, cap_mps: float) -> None:
        if isinstance(self.task, SpeedCapped):
            self.task.cap_speed(cap_mps)
        elif cap_mps < math.inf:
            raise PlanningError(f"{type(self.task).__name__} knows no speed cap, {cap_mps:g} m/s cannot be kept")

    def _past(self, stamp_s: float, commands: CommandHistory) -> torch.Tensor:
        """[P, A] commands sent before ``stamp_s`` that may still act, in steps of the plan."""
        dt = self.settings.dt_s
        count = math.ceil(float(self.model.delay.max()) / dt - 1e-9)
        return torch.tensor(commands.mean(stamp_s - count * dt, dt, count), dtype=torch.float32)

    def _sample(
        self, nominal: torch.Tensor, previous: torch.Tensor, past: torch.Tensor, low: torch.Tensor, high: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """Commands [P + H, A, K] with the past in front, and the share of those sampled that met a bound."""
        (horizon, actions), count = nominal.shape, self.settings.rollouts
        if self._commands.shape[0] != len(past) + horizon:  # the delay changed
            self._commands = torch.empty(len(past) + horizon, actions, count)
        self._commands[: len(past)] = past[..., None]
        sampled = self._commands[len(past) :]
        torch.randn(self._white.shape, generator=self._generator, out=self._white)
        torch.mm(self._basis, self._white, out=sampled.view(horizon, actions * count))
        sampled.mul_(self._std[:, None]).add_(nominal[..., None])
        for action in range(actions):  # with numbers for bounds this is ten times faster than with tensors
            sampled[:, action].clamp_(float(low[action]), float(high[action]))
        few = sampled[..., : min(count, 128)]  # samples are alike, and counting all of them takes longer than drawing
        met = ((few <= low[:, None]) | (few >= high[:, None])).float().mean()
        sampled[..., 0] = nominal
        sampled[..., 1] = previous
        return self._commands, float(met)

    def _applied(self, commands: torch.Tensor, past: int) -> torch.Tensor:
        """[K, H, A] what acts, of commands [P + H, A, K]; lies in memory as [H, A, K]."""
        steps = (self.model.delay.detach() / self.settings.dt_s).to(torch.float32)
        return delayed(commands, steps, past, dim=-3).permute(2, 0, 1)

    def _pull(self, nominal: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
        """[K] ``sum_t u_t^T Sigma^-1 eps_t`` up to a constant, which no weight depends on."""
        pull = self._precision @ nominal / self._std**2
        return pull.flatten() @ sampled.flatten(0, 1)


def _own(model: DynamicsModel) -> DynamicsModel:
    """What is stepped several times per step of a plan, or ``model`` itself."""
    return model.model if isinstance(model, Held) else model


def standard_deviations(settings: MPPISettings, layout: Layout) -> list[float]:
    """[A] standard deviations of the noise on the actions of ``layout``.

    Raises:
        ConfigError: the settings have none for an action.
    """
    if unknown := [name for name in layout.names if name not in _STD_FIELDS]:
        raise ConfigError(f"MPPI settings have no standard deviation for action '{unknown[0]}'; give noise_std")
    return [getattr(settings, _STD_FIELDS[name]) for name in layout.names]


def weigh(
    costs: torch.Tensor, pull: torch.Tensor, temperature: float, effective_share: float | None, where: str = ""
) -> tuple[torch.Tensor, float]:
    """Weights [K] of rollouts, ``exp(-cost / lambda - pull)`` normalised, and the temperature lambda used.

    Args:
        costs: [K]; those not finite get no weight.
        pull: [K] control cost over lambda.
        temperature: lambda.
        effective_share: effective sample size per finite rollout that lambda is chosen to give; None keeps lambda.
        where: names the cycle in errors.

    Raises:
        PlanningError: no cost is finite.
    """
    finite = torch.isfinite(costs) & torch.isfinite(pull)
    if not bool(finite.any()):
        raise PlanningError(f"no plan {where}: of {len(costs)} rollouts none has a finite cost; is the state finite?")
    cost = costs.double().numpy()[finite.numpy()]
    pulled = pull.double().numpy()[finite.numpy()]
    cost = cost - cost.min()  # the baseline: only differences count
    if effective_share is not None:
        temperature = _temperature_for(cost, pulled, effective_share * len(cost), temperature)
    weights = torch.zeros(len(costs))
    weights[finite] = torch.from_numpy(_softmin(cost, pulled, temperature)).float()
    return weights, temperature


def effective_sample_size(weights: torch.Tensor) -> float:
    """``1 / sum w^2``: K for equal weights, 1 where one takes all."""
    return float(weights.sum().square() / weights.square().sum())


def _softmin(cost: np.ndarray, pull: np.ndarray, temperature: float) -> np.ndarray:
    exponent = -cost / temperature - pull
    weights = np.exp(exponent - exponent.max())
    return weights / weights.sum()


def _temperature_for(cost: np.ndarray, pull: np.ndarray, target: float, guess: float) -> float:
    """The temperature whose weights have the effective sample size ``target``, to a few per cent.

    The size grows with the temperature: the guess is doubled or halved until it is bracketed, then bisected. Where
    all costs are equal, or the pull alone decides, no temperature helps and the guess stays.
    """

    def size(temperature: float) -> float:
        return float(1.0 / np.square(_softmin(cost, pull, temperature)).sum())

    low = high = guess
    for _ in range(60):
        if size(low) <= target:
            break
        low /= 2.0
    else:
        return guess
    for _ in range(60):
        if size(high) >= target:
            break
        high *= 2.0
    else:
        return guess
    for _ in range(6):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if size(middle) < target else (low, middle)
    return math.sqrt(low * high)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
