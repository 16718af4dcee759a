"""Model predictive path integral control (Williams et al. 2017, "Information theoretic MPC", algorithm 2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import delayed
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import STATE
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.starting import start_now
from mbrl_ros.models.stepping import stepped
from mbrl_ros.planning.cem import CrossEntropy
from mbrl_ros.planning.ddp.tube import Tube, TubeMaker
from mbrl_ros.planning.departures import Departures, leaves
from mbrl_ros.planning.fused import Asked, fused
from mbrl_ros.planning.interpolation import read_at
from mbrl_ros.planning.members import EachMember, risk
from mbrl_ros.planning.mppi_settings import MPPISettings, standard_deviations
from mbrl_ros.planning.path_integral import Drawn, PathIntegral, Update
from mbrl_ros.planning.planner import PlanningError, Problem, heed
from mbrl_ros.planning.prior import Prior
from mbrl_ros.planning.rollouts import Backend, Rollouts, Trace
from mbrl_ros.planning.sampler import Distribution, Sampler
from mbrl_ros.planning.threads import threads
from mbrl_ros.planning.weighting import effective_sample_size

AT_ONCE_S = 0.5
"""What was compiled before is loaded within this time [s], though other nodes start beside."""

_Samples = Callable[[], tuple[torch.Tensor, torch.Tensor]]
"""Gives an iteration's actions as they act [K, H, A], and costs [K], for whoever asks before the next iteration."""


@dataclass(frozen=True)
class _Begun:
    """What an iteration begins with: as in `path_integral.Drawn`, and the sequences that are among the samples."""

    start: torch.Tensor
    source: Distribution
    previous: torch.Tensor
    prior: torch.Tensor
    kept: torch.Tensor
    past: torch.Tensor
    origin: torch.Tensor
    where: str


@dataclass(frozen=True)
class _Done:
    """What an iteration ends with: the next distribution, elites that stay, and figures."""

    source: Distribution
    kept: torch.Tensor
    effective_size: float
    temperature: float
    saturation_share: float
    finite_share: float
    samples: _Samples


class MPPI:
    """Plans by weighting sampled action sequences with what they cost; a `planning.planner.Planner`.

    With a nominal plan u and noise of covariance Sigma, one iteration is

        v_k = clamp(u + noise_k)            eps_k = v_k - u
        S_k = cost(v_k) + lambda sum_t u_t^T Sigma^-1 eps_k,t
        w_k = exp(-(S_k - min S) / lambda) / sum
        u  <- u + sum_k w_k eps_k

    or, with the settings' other update, one of the cross-entropy method (`planning.cem`). The nominal plan begins as
    the previous one shifted by the elapsed time, or as a departure. Among the samples are always the nominal plan
    itself (no noise), the shifted previous one, what the prior proposes and the elites that are kept. A rollout whose
    cost is not finite gets no weight and is counted. Commands reach the model after its delay; those in flight are
    taken from the history of what was sent. The same seed, settings and inputs give the same plans to the bit on a CPU.

    Args:
        model: torch module, one step of ``settings.dt_s``.
        task: torch module: rewards and bounds.
        settings: see `MPPISettings`.
        seed: of the noise.
        model_id: stands in every plan.
        noise_std: [A] standard deviations; None takes those that the settings have for the model's actions.
        prior: proposes sequences to look at first.
        departures: where the car stands and its previous plan goes nowhere, sampling begins with the one of these that
            costs least, if it costs less than that plan; None looks at none.

    Raises:
        ConfigError: the model steps another time, the settings know no standard deviation for an action, or want a tube
            of an ensemble whose members are rolled out each by itself.
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
        prior: Prior | None = None,
        departures: Departures | None = None,
    ) -> None:
        if abs(model.dt - settings.dt_s) > 1e-9:
            raise ConfigError(f"field 'dt_s' is {settings.dt_s:g} s, but the model steps {model.dt:g} s")
        self.model, self.task, self.settings, self.model_id = model, task, settings, model_id
        own = stepped(model)
        self._members = own if isinstance(own, EachMember) else None
        std = standard_deviations(settings, model.action_layout) if noise_std is None else noise_std
        self._std = torch.tensor(std, dtype=torch.float32).expand(settings.horizon, -1)
        shapes = settings.noise_shapes(len(model.action_layout))
        self._from_last = shapes[0].integrated
        self._all, self._few = (
            Sampler(shapes, count, settings.antithetic, seed)
            for count in (settings.rollouts, min(settings.rollouts, settings.eager_rollouts))
        )
        self._sampler = self._all
        cem = settings.update == "cem"
        self._path_integral = PathIntegral(shapes, settings)
        self._update: Update = CrossEntropy(settings.cem) if cem else self._path_integral
        self._prior = prior
        self._departures = departures
        self._fused, self._unfused = fused(model, task, settings, shapes, std, seed, prior is not None)
        self.rollouts = self._torch_rollouts()
        self._tubes = self._tube_maker()
        self._commands = torch.empty(0)
        self._warming: threading.Thread | None = None
        self._last: tuple[torch.Tensor, _Samples] | None = None
        self.reset()

    @property
    def backend(self) -> str:
        """How rollouts are evaluated at present: "eager", "compiled" or "fused"."""
        return "fused" if self._fused is not None and self._fused.ready else self.rollouts.backend

    @property
    def hindered(self) -> bool:
        """Whether rollouts, the plan's own included, are evaluated in a slower way than the settings ask for."""
        unfused = (self.settings.backend == "fused" or self._fused is not None) and self.backend != "fused"
        uncompiled = self.backend == "eager" and self.rollouts.wanted != "eager"
        slow_tube = self._tubes is not None and self._tubes.backend != self._tubes.wanted
        return unfused or uncompiled or slow_tube

    @property
    def note(self) -> str:
        """Why rollouts are not fused or compiled, or what was done to compile them; empty if nothing was."""
        few = f"{self._few.count} of {self.settings.rollouts} rollouts"
        if self._few_serve and self._compiling:
            return f"{few} until these are compiled"
        parts = (self._fused, self.rollouts, self._tubes)
        notes = (self._unfused, *(part.note for part in parts if part is not None))
        return ". ".join(note for note in (*notes, few if self._few_serve else "") if note)

    def reset(self, plan: ControlSequence | None = None) -> None:
        """Forget the previous plan, or go on from another planner's, and begin the random numbers anew."""
        for sampler in (self._all, self._few):
            sampler.reset()
        self._update.reset()
        if self._fused is not None:
            self._fused.reset()
        if self._departures is not None:
            self._departures.reset()
        self._previous = plan
        self._tube: Tube | None = None
        self._kept = torch.empty(self.settings.horizon, len(self.model.action_layout), 0)

    def warm_up(self, beside: bool = False, wait: bool = True) -> None:
        """Load what evaluates rollouts, or compile it; without ``wait``, and without a tube, what is not there at once
        is compiled in a thread, while a few eager rollouts serve."""
        compile_all = partial(self._compile, self.rollouts.warming_beside() if beside else self.rollouts.warm_up)
        if wait or not beside or self._tubes is not None:
            compile_all()
        else:
            self._warming = threading.Thread(target=compile_all, name="compile rollouts", daemon=True)
            self._warming.start()
            self._warming.join(AT_ONCE_S)

    @property
    def _compiling(self) -> bool:
        return self._warming is not None and self._warming.is_alive()

    @property
    def _few_serve(self) -> bool:
        """Also where nothing came of compiling them: more would take too long for who began to drive with these."""
        return self._warming is not None and self.backend == "eager"

    def _compile(self, warm_up_rollouts: Callable[[], None]) -> None:
        if self._fused is not None:
            self._fused.warm_up()
        if self.backend != "fused":
            warm_up_rollouts()
        if self._tubes is not None:
            self._tubes.warm_up()

    def plan(self, problem: Problem) -> ControlSequence:
        """The sequence to follow from the problem's stamp on.

        Raises:
            PlanningError: no rollout has a finite cost, or the plan itself has not; the task cannot heed a speed cap
                or obstacles; a proposal is not finite, or there are more than samples to look at them.
        """
        heed(self.task, problem)
        self._sampler = self._few if self._few_serve else self._all  # for the whole plan: kernels may come at any time
        prior = self._proposals(problem)
        with torch.inference_mode(), threads(self.settings.threads):
            return self._plan(problem, prior)

    def candidates(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States [N, H + 1, 8] and costs [N] of up to ``count`` of the last plan's samples, evenly spread in rank."""
        if self._last is None:
            raise PlanningError("there are no candidates before the first plan")
        with torch.inference_mode(), threads(self.settings.threads):
            state, applied, costs = self._samples
            ranked = torch.argsort(costs)[: int(torch.isfinite(costs).sum())]
            places = torch.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().long()
            chosen = ranked[places]
            states = self._trace(state, applied[chosen]).states
            return states[..., : len(STATE)].double().numpy(), costs[chosen].double().numpy()

    def _plan(self, problem: Problem, prior: torch.Tensor) -> ControlSequence:
        stamp_s, iterations = problem.stamp_s, self.settings.iterations
        start, history_share = self._start(problem)
        previous = self._warm_start(stamp_s, start)
        in_flight = problem.commands.in_flight(stamp_s, self.settings.dt_s, self._delay_steps())
        past = torch.tensor(in_flight, dtype=torch.float32)
        kept = self._kept_until(stamp_s)
        origin = problem.commands.at(stamp_s) if self._from_last else np.zeros(len(self.model.action_layout))
        nominal = self._nominal(problem, start, previous, past)
        source, counted_from = Distribution(nominal, self._std), torch.tensor(origin, dtype=torch.float32)
        saturated, finite = 0.0, 0.0
        iterate = self._by_kernels if self.backend == "fused" else self._by_torch
        for _ in range(iterations):
            begun = _Begun(start, source, previous, prior, kept, past, counted_from, f"at {stamp_s:.3f} s")
            done = iterate(begun)
            source, kept = done.source, done.kept
            saturated += done.saturation_share / iterations
            finite += done.finite_share / iterations
            self._last = (start, done.samples)
        applied = self._applied(torch.cat([past, source.mean])[..., None], len(past))
        trace = self._trace(start, applied)
        if not bool(trace.states.isfinite().all() and trace.costs.isfinite().all()):
            raise PlanningError(f"no plan {begun.where}: the mean of finite rollouts leads to what is not finite")
        car = len(STATE)  # what a model remembers stands behind it
        terms = dict(zip(self.rollouts.term_names, trace.costs[0].tolist(), strict=True))
        self._kept = kept
        self._tube = self._tube_around(stamp_s, trace.states[0], applied[0], len(past))
        self._previous = ControlSequence(
            stamp_s,
            self.settings.dt_s,
            source.mean.double().numpy(),
            self.model.action_layout,
            trace.states[0, :, :car].double().numpy(),
            self.model_id,
            {
                **{f"cost.{name}": cost for name, cost in terms.items()},
                "total_cost": sum(terms.values()),
                "effective_sample_size": done.effective_size,
                "temperature": done.temperature,
                "saturation_share": saturated,
                "non_finite_share": 1.0 - finite,
                "iterations": float(iterations),
                "history_share": history_share,
                "proposals": float(prior.shape[-1]),
            },
            None if self._tube is None else self._tube.commanded_gains(self._delay_steps())[..., :car].numpy(),
        )
        return self._previous

    def _by_torch(self, begun: _Begun) -> _Done:
        """One iteration by the sampler, the rollouts and the update."""
        source, past = begun.source, begun.past
        fixed = torch.cat([source.mean[..., None], begun.previous[..., None], begun.prior, begun.kept], dim=-1)
        commands, saturation = self._sample(source, begun.prior, fixed, past)
        sampled = commands[len(past) :]
        applied = self._applied(commands, len(past))
        costs = self._cost(begun.start, applied)
        updated = self._update(Drawn(source, self._std, begun.origin, sampled, costs, begun.where))
        return _Done(
            updated.source,
            sampled[..., updated.kept],
            effective_sample_size(updated.weights),
            updated.temperature,
            saturation,
            float(torch.isfinite(costs).float().mean()),
            lambda: (applied, costs),
        )

    def _by_kernels(self, begun: _Begun) -> _Done:
        """One iteration by the fused kernels, of which only the mean comes back."""
        kernels, past = self._fused, begun.past
        assert kernels is not None  # noqa: S101  # as `backend` says
        pull = self._path_integral.pull(begun.source, begun.origin)
        found = kernels(Asked(begun.start, begun.source.mean, begun.previous, past, pull, begun.where))

        def samples() -> tuple[torch.Tensor, torch.Tensor]:
            commands, costs = kernels.samples()
            return self._applied(commands, len(past)), costs

        return _Done(
            Distribution(torch.tensor(found.nominal), self._std),
            begun.kept[..., :0],
            found.effective_size,
            found.temperature,
            found.saturation_share,
            found.finite_share,
            samples,
        )

    def _trace(self, start: torch.Tensor, applied: torch.Tensor) -> Trace:
        """Where sequences [K, H, A], as they act, lead from ``start``, and what they cost."""
        fused = self._fused
        return fused.trace(start, applied) if fused is not None and fused.ready else self.rollouts.trace(start, applied)

    @property
    def _samples(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """State [S], actions as they act [K, H, A] and costs [K] of the last iteration."""
        assert self._last is not None  # noqa: S101  # there was one
        start, samples = self._last
        return (start, *samples())

    def _start(self, problem: Problem) -> tuple[torch.Tensor, float]:
        """[S] state that rollouts begin with, and the share of the driving that the model wanted to see before it."""
        model = self._members.model if self._members else stepped(self.model)
        begin, share = start_now(model, problem.state, problem.stamp_s, problem.commands, problem.driven)
        return (self._members.separate(begin) if self._members else begin).to(torch.float32), share

    def _cost(self, start: torch.Tensor, applied: torch.Tensor) -> torch.Tensor:
        """[K] cost of each sample, by all members that act."""
        if self._members is None:
            return self.rollouts.evaluate(start, applied)
        costs = self.rollouts.by_member(start, applied)[self._members.model.elites]
        return risk(costs, self.settings.tail_share, self.settings.disagreement_weight)

    def _bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest action, [A] each."""
        low, high = self.task.bounds()
        return low.to(torch.float32), high.to(torch.float32)

    def _torch_rollouts(self) -> Rollouts:
        """Beside fused kernels they serve until those are compiled, which is soonest done here."""
        settings = self.settings
        backend: Backend = "eager" if settings.backend == "eager" else "compiled"
        gpu = settings.device == "auto" and self._fused is None and torch.cuda.is_available()
        members = self._members.members if self._members else 1
        return Rollouts(self.model, self.task, backend, members=members, device="cuda" if gpu else "cpu")

    def _tube_maker(self) -> TubeMaker | None:
        if not self.settings.tube:
            return None
        if self._members is not None:
            raise ConfigError(
                "field 'tube' wants one model, of an ensemble its mean: tail_share must be 1, disagreement_weight 0"
            )
        return TubeMaker(self.model, self.task, self.settings.horizon, self.rollouts.wanted)

    def _tube_around(self, stamp_s: float, states: torch.Tensor, applied: torch.Tensor, past: int) -> Tube | None:
        """The tube around a plan, if there shall be one and its derivatives are finite; eager ones would take long."""
        if self._tubes is None or self._compiling:
            return None
        decided = torch.cat([torch.zeros(past, applied.shape[-1]), torch.ones_like(applied)])
        free = self._applied(decided[..., None], past)[0]
        return self._tubes.around(stamp_s, self.settings.dt_s, states, applied, free)

    def _warm_start(self, stamp_s: float, start: torch.Tensor) -> torch.Tensor:
        """[H, A] previous plan from ``stamp_s`` on, in its tube if it has one, or zeros; inside of the bounds."""
        low, high = self._bounds()
        if self._previous is None:
            return torch.clamp(torch.zeros(self.settings.horizon, len(low)), low, high)
        read = torch.from_numpy(self._previous.at(self._middles(stamp_s)))  # another planner's may have other steps
        if self._tube is not None:
            read = read + self._tube.correction(stamp_s, start.double(), self._delay_steps())
        return torch.clamp(read.to(torch.float32), low, high)

    def _nominal(
        self, problem: Problem, start: torch.Tensor, previous: torch.Tensor, past: torch.Tensor
    ) -> torch.Tensor:
        """[H, A] where sampling begins: the ``previous`` plan, or a departure: noise around rest finds none."""
        last = None if self._previous is None else self._previous.states
        if self._departures is None or last is None or not self._departures.due(problem, last):
            return previous
        choices = torch.cat([previous[None], self._departures.ways.to(torch.float32)]).permute(1, 2, 0)
        commands = torch.cat([past[..., None].expand(-1, -1, choices.shape[-1]), choices])
        applied = self._applied(commands, len(past))
        trace = self._trace(start, applied)
        # An ensemble's members count as they do for samples; all else may be evaluated by the kernels.
        costs = trace.costs.sum(dim=-1) if not self._members else self._cost(start, applied)
        possible = costs.isfinite() & ~leaves(self.task, trace.states[..., : len(STATE)].double())
        return choices[..., torch.where(possible, costs, torch.inf).argmin()].contiguous()

    def _middles(self, stamp_s: float) -> np.ndarray:
        """[H] instants in the middle of each step of a plan from ``stamp_s`` on."""
        return stamp_s + self.settings.dt_s * (np.arange(self.settings.horizon) + 0.5)

    def _proposals(self, problem: Problem) -> torch.Tensor:
        """[H, A, N] what the prior proposes, within bounds."""
        if self._prior is None:
            return self._kept[..., :0]
        proposed = self._prior.propose(problem, self._middles(problem.stamp_s))
        if 2 * len(proposed) > self._sampler.count:
            raise PlanningError(f"{len(proposed)} proposals are too many for {self._sampler.count} rollouts")
        if not np.isfinite(proposed).all():  # even without any weight it would spoil the mean of the samples
            raise PlanningError(f"a proposal at {problem.stamp_s:.3f} s is not finite; mend what proposes")
        low, high = self._bounds()
        return torch.clamp(torch.tensor(proposed, dtype=torch.float32), low, high).permute(1, 2, 0)

    def _kept_until(self, stamp_s: float) -> torch.Tensor:
        """[H, A, N] elites of the previous cycle from ``stamp_s`` on."""
        if self._previous is None or not self._kept.shape[-1]:
            return self._kept
        elapsed = (stamp_s - self._previous.stamp_s) / self.settings.dt_s
        return read_at(self._kept, torch.arange(self.settings.horizon) + elapsed)

    def _sample(
        self, source: Distribution, prior: torch.Tensor, fixed: torch.Tensor, past: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """Commands [P + H, A, K] with the past in front, and the share of those sampled that met a bound.

        The first samples are the ``fixed`` ones [H, A, F].
        """
        sampler, (horizon, actions) = self._sampler, source.mean.shape
        shape = (len(past) + horizon, actions, sampler.count)
        if self._commands.shape != shape:  # the delay changed, or rollouts are compiled now
            self._commands = torch.empty(shape)
        self._commands[: len(past)] = past[..., None]
        sampled = self._commands[len(past) :]
        low, high = self._bounds()
        saturation = sampler.draw(source, low, high, sampled, prior, self.settings.prior_share)
        sampled[..., : fixed.shape[-1]] = fixed
        return self._commands, saturation

    def _applied(self, commands: torch.Tensor, past: int) -> torch.Tensor:
        """[K, H, A] what acts, of commands [P + H, A, K]; lies in memory as [H, A, K]."""
        return delayed(commands, self._delay_steps(), past, dim=-3).permute(2, 0, 1)

    def _delay_steps(self) -> torch.Tensor:
        """[A] delays in steps of the plan, in single precision as everything about rollouts."""
        return (self.model.delay.detach() / self.settings.dt_s).to(torch.float32)
