"""Tree search as a planner: the best sequence of offsets from a feedback law."""

from __future__ import annotations

import numpy as np
import torch

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import STATE
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.starting import start_now
from mbrl_ros.models.stepping import stepped
from mbrl_ros.planning.mcts.course import Course
from mbrl_ros.planning.mcts.guided import GuidedModel, GuidedTask
from mbrl_ros.planning.mcts.knots import Found, Grown, KnotTree, begun, search_knots
from mbrl_ros.planning.mcts.planner_settings import MCTSSettings
from mbrl_ros.planning.planner import PlanningError, Problem, heed
from mbrl_ros.planning.rollouts import Backend, Rollouts
from mbrl_ros.planning.threads import threads


class MCTSPlanner:
    """Plans by tree search for offsets from what a feedback law commands; a `planning.planner.Planner`.

    An edge of the tree holds a knot, the offset at its end, and offsets are linear between knots, from that of the last
    plan at the present on; so commands have no steps from cycle to cycle. Each node's candidates are moves from the
    last plan's offset at that time, with every combination of the settings' moves, and to go on with the law alone. The
    law closes the loop inside of a rollout: coarse moves are enough, and a leaf's value is what follows under the last
    plan or under the law alone, to the horizon's end. Planning again and again refines the offsets. Nothing is drawn:
    the same inputs give the same plans to the bit on a CPU.

    Where a search found nothing better than the last plan, the next one would look at the same sequences again. With
    ``settings.reuse`` it goes on in the same tree instead, whose knots stay at their times, and from half an edge
    before the first knot on, below that knot.

    Args:
        model: torch module, one step of ``settings.dt_s``.
        task: torch module: rewards and bounds.
        law: [..., S] -> [..., A] commands; a torch module.
        settings: see `MCTSSettings`.
        model_id: stands in every plan.

    Raises:
        ConfigError: the model steps another time.
        LayoutError: model and task disagree.
    """

    kind = "mcts"

    def __init__(
        self, model: DynamicsModel, task: Task, law: torch.nn.Module, settings: MCTSSettings, model_id: str = ""
    ) -> None:
        if abs(model.dt - settings.dt_s) > 1e-9:
            raise ConfigError(f"field 'dt_s' is {settings.dt_s:g} s, but the model steps {model.dt:g} s")
        self.task, self.settings, self.model_id = task, settings, model_id
        self._own = stepped(model)
        self._model = GuidedModel(model, law, *task.bounds())
        guided = GuidedTask(task, self._model)
        self.rollouts = Rollouts(self._model, guided, settings.backend)
        self._low, self._high = (bound.double().numpy() for bound in guided.bounds())
        drive = [(a, b) for a in settings.steering_moves_rad for b in settings.acceleration_moves_mps2]
        self._moves, self._stay = np.array(drive, dtype=float), drive.index((0.0, 0.0))
        self._edge_s = settings.dt_s * settings.knot_steps
        self._last: tuple[torch.Tensor, Course, Found] | None = None
        self.reset()

    @property
    def backend(self) -> Backend:
        """How rollouts are evaluated at present."""
        return self.rollouts.backend

    @property
    def hindered(self) -> bool:
        """Whether rollouts are evaluated in a slower way than the settings ask for."""
        return self.backend != self.settings.backend

    @property
    def note(self) -> str:
        """Why rollouts are not compiled, or what was done to compile them; empty if nothing was."""
        return self.rollouts.note

    def reset(self, plan: ControlSequence | None = None) -> None:
        """Forget the previous plan, or go on from another planner's: its commands, less the law's along its states."""
        self._standing: tuple[float, Grown] | None = None
        self._knots_s: np.ndarray = np.zeros(1)
        self._offsets: np.ndarray = np.zeros((1, len(self._low)))
        if plan is None or plan.states is None:
            return
        with torch.no_grad():
            law = self._model.guide(torch.tensor(plan.states[:-1])).double().numpy()
        self._knots_s = plan.stamp_s + plan.dt * (np.arange(len(plan.actions)) + 0.5)
        self._offsets = np.clip(plan.actions - law, self._low, self._high)

    def warm_up(self, beside: bool = False, wait: bool = True) -> None:
        """Load or build the compiled rollouts; waits in any case, as a plan in plain torch would take seconds."""
        with threads(self.settings.threads):
            warm_up = self.rollouts.warming_beside() if beside else self.rollouts.warm_up
            warm_up()

    def plan(self, problem: Problem) -> ControlSequence:
        """The sequence to follow from the problem's stamp on.

        Raises:
            PlanningError: no rollout has a finite cost, the task cannot heed a speed cap or obstacles, or the model's
                delay grew.
        """
        heed(self.task, problem)
        with torch.inference_mode(), threads(self.settings.threads):
            return self._plan(problem)

    def candidates(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """States [N, H + 1, 8] and costs [N] of up to ``count`` of the last search, evenly spread in rank."""
        if self._last is None:
            raise PlanningError("there are no candidates before the first plan")
        start, course, found = self._last
        ranked = np.argsort(found.costs, kind="stable")[: np.isfinite(found.costs).sum()]
        chosen = ranked[np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)]
        with torch.inference_mode(), threads(self.settings.threads):
            states = self.rollouts.trace(start, course.offsets(found.knots[chosen])).states
        return self._car(states), found.costs[chosen]

    def _plan(self, problem: Problem) -> ControlSequence:
        settings, stamp_s = self.settings, problem.stamp_s
        start, history_share = self._start(problem)
        root_s, grown = self._begun(stamp_s)
        times = root_s + self._edge_s * np.arange(1, settings.knots + 1)
        passed = np.array([stamp_s, root_s]) if root_s > stamp_s else np.array([stamp_s])
        seconds = stamp_s + settings.dt_s * (np.arange(settings.horizon) + 0.5)
        course = Course.through(passed, self._offsets_at(passed), times, seconds)

        def evaluate(knots: np.ndarray) -> np.ndarray:
            return self.rollouts.evaluate(start, course.offsets(knots)).double().numpy()

        found = search_knots(grown, evaluate, settings.rounds, settings.leaves, settings.exploration)
        if not np.isfinite(found.costs[found.best]):
            raise PlanningError(f"at {stamp_s:.3f} s none of {len(found.costs)} rollouts has a finite cost")
        self._last = start, course, found
        best = found.knots[found.best]
        kept_last = found.costs[self._stay] == found.costs[found.best]
        self._standing = (root_s, found.grown) if settings.reuse and kept_last else None
        self._knots_s, self._offsets = np.concatenate([passed, times]), np.concatenate([course.passed, best])
        trace = self.rollouts.trace(start, course.offsets(best[None]))
        terms = dict(zip(self.rollouts.term_names, trace.costs[0].tolist(), strict=True))
        return ControlSequence(
            stamp_s,
            settings.dt_s,
            trace.states[0, 1:, : len(self._low)].double().numpy(),
            self._model.action_layout,
            self._car(trace.states)[0],
            self.model_id,
            {
                **{f"cost.{name}": cost for name, cost in terms.items()},
                "total_cost": sum(terms.values()),
                "iterations": float(found.rounds),
                "simulations": float(len(found.costs)),
                "depth": float(found.depth),
                "kept_nodes": float(found.kept),
                "best_child_visits": float(found.visits[found.choice]),
                "root_value": -float(found.costs[found.best]),
                "non_finite_share": float(1.0 - np.isfinite(found.costs).mean()),
                "history_share": history_share,
                **self._gain(found),
            },
        )

    def _gain(self, found: Found) -> dict[str, float]:
        """What the search improved on keeping the last plan; nothing where that led to no finite cost."""
        gain = float(found.costs[self._stay] - found.costs[found.best])
        return {"gain": gain} if np.isfinite(gain) else {}

    def _start(self, problem: Problem) -> tuple[torch.Tensor, float]:
        """State that rollouts begin with, and the share of the driving that the model wanted to see before it."""
        begin, share = start_now(self._own, problem.state, problem.stamp_s, problem.commands, problem.driven)
        dt, count = self.settings.dt_s, self._model.remembered
        sent = torch.from_numpy(problem.commands.mean(problem.stamp_s - count * dt, dt, count))
        return self._model.start(begin, sent).to(torch.float32), share

    def _begun(self, stamp_s: float) -> tuple[float, Grown]:
        """When the root is, and a tree: that of the last search where it can go on, or a new one."""
        standing, self._standing = self._standing, None
        if standing is not None:
            root_s, grown = standing
            edges = (stamp_s - root_s) / self._edge_s
            if -0.5 <= edges <= 0.5:
                return root_s, grown
            below = grown.below(self._stay) if 0.5 < edges <= 1.5 else None
            if below is not None:
                return root_s + self._edge_s, below
        previous = self._offsets_at(stamp_s + self._edge_s * np.arange(1, self.settings.knots + 1))
        bases = np.stack([previous, np.zeros_like(previous)])
        return stamp_s, begun(KnotTree(bases, self._moves, self._low, self._high))

    def _offsets_at(self, times: np.ndarray) -> np.ndarray:
        """[N, A] offsets of the last plan at ``times`` [N], the last one held."""
        return np.stack([np.interp(times, self._knots_s, column) for column in self._offsets.T], axis=1)

    def _car(self, states: torch.Tensor) -> np.ndarray:
        """[..., 8] the car's part of the states of the guided model."""
        return states[..., self._model.memory :][..., : len(STATE)].double().numpy()
