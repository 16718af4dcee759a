"""MPPI's iterations by the fused kernels (`planning.cuda`), on a GPU or on this processor, and when to use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mbrl_ros.core.errors import in_short
from mbrl_ros.core.tasks.task import Task
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.planning.cuda.device import DeviceKernels, missing_gpu
from mbrl_ros.planning.cuda.host import HostKernels
from mbrl_ros.planning.cuda.problem import KernelProblem, UnfitError
from mbrl_ros.planning.cuda.update import FusedUpdate, Guess, Updated
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.noise import NoiseShape
from mbrl_ros.planning.planner import PlanningError
from mbrl_ros.planning.rollouts import Trace

Where = Literal["gpu", "processor"]


@dataclass(frozen=True)
class Asked:
    """What one iteration begins with.

    Args:
        start: [S] state.
        mean: [H, 2] nominal plan.
        previous: [H, 2] the shifted previous plan.
        past: [P, 2] commands that were sent and may still act.
        pull: [H, 2] control cost over lambda, per command.
        where: names the cycle in errors.
    """

    start: torch.Tensor
    mean: torch.Tensor
    previous: torch.Tensor
    past: torch.Tensor
    pull: torch.Tensor
    where: str


class Fused:
    """Sampling, rollouts and weights in one call; not there until `warm_up` has compiled it.

    Args:
        problem: model, task and noise.
        settings: of MPPI.
        std: [2] standard deviations of the noise.
        seed: of the noise.
        where: to run.
    """

    def __init__(
        self, problem: KernelProblem, settings: MPPISettings, std: Sequence[float], seed: int, where: Where
    ) -> None:
        self._problem, self._settings, self._std, self._seed = problem, settings, np.asarray(std), seed
        self._where = where
        self._update: FusedUpdate | None = None
        self.note = ""
        """Why the kernels do not run although they should, or run more slowly; empty if nothing is amiss."""
        self.reset()

    @property
    def ready(self) -> bool:
        """Whether the kernels are compiled."""
        return self._update is not None

    def reset(self) -> None:
        """Begin the random numbers and the search for a temperature anew."""
        self._temperature = self._settings.temperature
        if self._update is not None:
            self._update.restart()

    def warm_up(self) -> None:
        """Load or compile the kernels; a few seconds, once per machine."""
        if not self.ready:
            self._compile()

    def __call__(self, asked: Asked) -> Updated:
        """The next mean, and what it is worth.

        Raises:
            PlanningError: no rollout is finite.
        """
        assert self._update is not None  # noqa: S101  # the caller asks for `ready` first
        share = self._settings.effective_share or 0.0
        guess = Guess(
            asked.start.numpy(),
            asked.mean.numpy(),
            asked.previous.numpy(),
            asked.past.numpy(),
            asked.pull.numpy(),
            self._temperature,
            share,
        )
        updated = self._update(guess)
        if not updated.effective_size:
            count = self._settings.rollouts
            raise PlanningError(
                f"no plan {asked.where}: of {count} rollouts none has a finite cost; is the state finite?"
            )
        self._temperature = updated.temperature
        return updated

    def samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Commands [P + H, 2, K], those of the past in front, and costs [K] of the last iteration."""
        assert self._update is not None  # noqa: S101  # likewise
        return torch.tensor(self._update.commands()), torch.tensor(self._update.costs())

    def trace(self, state: torch.Tensor, actions: torch.Tensor) -> Trace:
        """As `planning.rollouts.Rollouts.trace`."""
        assert self._update is not None  # noqa: S101  # likewise
        states, costs = self._update.trace(state.numpy(), actions.numpy())
        return Trace(torch.from_numpy(states), torch.from_numpy(costs))

    def _compile(self) -> None:
        try:
            source = self._problem.source()
            threads = self._settings.threads
            kernels = DeviceKernels(source) if self._where == "gpu" else HostKernels(source, threads)
            settings = self._settings
            self._update = FusedUpdate(
                self._problem, kernels, settings.rollouts, self._std, self._seed, settings.antithetic
            )
        except Exception as error:  # of the compiler, the driver or CuPy: planning goes on without
            self.note = f"Rollouts are not fused: {in_short(error)}"


def fused(
    model: DynamicsModel,
    task: Task,
    settings: MPPISettings,
    shapes: Sequence[NoiseShape],
    std: Sequence[float],
    seed: int,
    prior: bool,
) -> tuple[Fused | None, str]:
    """The fused kernels, where ``settings.backend`` wants them and they know the problem; or None and why, if asked."""
    if settings.backend not in ("auto", "fused"):
        return None, ""
    gpu = "so the settings want it (device)" if settings.device == "processor" else missing_gpu()
    unknown = prior or settings.update != "mppi"
    reason = "the kernels know no prior and no update but mppi" if unknown else ""
    try:
        problem = None if reason else KernelProblem(model, task, shapes)
    except UnfitError as error:
        problem, reason = None, str(error)
    if problem is None:
        asked = settings.backend == "fused" or not gpu
        return None, f"Rollouts are not fused, but compiled: {reason}" if asked else ""
    made = Fused(problem, settings, std, seed, "processor" if gpu else "gpu")
    if gpu and settings.backend == "fused":
        made.note = f"The fused kernels run on this processor: {gpu}"
    return made, ""
