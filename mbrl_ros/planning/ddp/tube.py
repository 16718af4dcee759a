"""Feedback that holds a car to a plan, whoever made the plan: gains of a Gauss-Newton backward pass along it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import STATE, YAW
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.planning.ddp.commands import commanded, commanded_gains
from mbrl_ros.planning.ddp.compiled import CompiledPasses
from mbrl_ros.planning.ddp.passes import Passes
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.settings import DDPSettings
from mbrl_ros.planning.ddp.work import Work
from mbrl_ros.planning.interpolation import read_at
from mbrl_ros.planning.rollouts import Backend

_MU = 1e-4
"""Regularisation: where nothing else is at stake, gains stay small."""

_UNLIMITED = 1e6
"""Change of an action that feedback may ask for."""


@dataclass(frozen=True)
class Tube:
    """A plan and the policy around it: ``a = a_k + K_k (s - s_k)`` of what acts.

    Args:
        stamp_s: of the plan's first state [s].
        dt: step [s].
        states: [H + 1, S] along the plan.
        gains: [H, A, S] K.
        jacobian: [H, S, S + A] derivatives of the next state by state and action.
    """

    stamp_s: float
    dt: float
    states: torch.Tensor
    gains: torch.Tensor
    jacobian: torch.Tensor

    def commanded_gains(self, delay_steps: torch.Tensor) -> torch.Tensor:
        """[H, A, S] gains of commands, see `commands.commanded_gains`."""
        return commanded_gains(self.gains, self.jacobian[..., : self.states.shape[-1]], delay_steps)

    def correction(self, stamp_s: float, state: torch.Tensor, delay_steps: torch.Tensor) -> torch.Tensor:
        """[H, A] what the policy adds to the plan's commands from ``stamp_s`` on, for a car that is in ``state`` [S].

        Deviations go on as the model's derivatives and the policy say; from where the tube ends nothing is added.
        """
        elapsed, horizon = (stamp_s - self.stamp_s) / self.dt, len(self.gains)
        places = torch.arange(horizon) + elapsed
        gains = read_at(self.gains, places) * (places <= horizon - 1)[:, None, None]
        moves = read_at(self.jacobian, places)
        deviation = state - read_at(self.states, torch.tensor([elapsed]))[0]
        deviation[YAW] = wrap_angle(deviation[YAW])
        corrections = []
        for gain, move in zip(gains.unbind(0), moves.unbind(0), strict=True):
            corrections.append(gain @ deviation)
            deviation = move @ torch.cat([deviation, corrections[-1]])
        return commanded(torch.stack(corrections), delay_steps)


class TubeMaker:
    """Finds the tube around plans of one model and task.

    Args:
        model: torch module, one step; computed with in double precision, on a copy.
        task: torch module in double precision.
        horizon: H.
        backend: how derivatives and the pass are computed, once warmed up.

    Raises:
        LayoutError: the model's states do not begin with a car's.
    """

    def __init__(self, model: DynamicsModel, task: Task, horizon: int, backend: Backend) -> None:
        if model.state_layout.names[: len(STATE)] != STATE.names:
            raise LayoutError(f"a tube is around a car's states, the model has {model.state_layout.names}")
        own: DynamicsModel = copy.deepcopy(model).double()  # type: ignore[attr-defined]
        problem = OptimalControlProblem.from_task(own, task)
        passes = Passes(problem, DDPSettings(second_order=False, convex_cost=True))
        self._passes = CompiledPasses(passes, horizon, needed=("expand", "expand_end", "backward"))
        self.wanted: Backend = backend

    @property
    def backend(self) -> Backend:
        """How derivatives and the pass are computed at present."""
        return self._passes.backend

    @property
    def note(self) -> str:
        """Why they are not compiled, or what was done to compile them; empty if nothing was."""
        return self._passes.note

    def warm_up(self) -> None:
        """Load or build the compiled programs."""
        if self.wanted == "compiled":
            self._passes.warm_up()

    def around(
        self, stamp_s: float, dt: float, states: torch.Tensor, applied: torch.Tensor, free: torch.Tensor
    ) -> Tube | None:
        """The tube around a plan; None where its costs or derivatives are not finite.

        No limits hold feedback back: of a plan that is no optimum, the pass would take most actions for held at one.
        Commands are limited where they are sent.

        Args:
            stamp_s: of the first state [s].
            dt: step [s].
            states: [H + 1, S] along the plan.
            applied: [H, A] what acts.
            free: [H, A] share of each action that is not yet decided by commands in flight.
        """
        with torch.inference_mode(False), torch.no_grad():  # sampling needs no derivatives, this does
            start, applied = states[:1].double(), applied.double()[None]
            room = (_UNLIMITED * (free > 0).double())[None]
            work = Work.begin(start, applied, states.double()[None], limits=(applied - room, applied + room))
            work.mu.fill_(_MU)
            for name in ("expand", "expand_end", "backward"):
                self._passes.bind(name, work, torch.ones(1, dtype=torch.bool))()
            if not bool(work.positive.all() and work.feedback.isfinite().all()):
                return None
            return Tube(stamp_s, dt, work.states[:, 0], work.feedback[:, 0], work.jacobian[:, 0])
