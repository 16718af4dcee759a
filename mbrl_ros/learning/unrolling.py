"""Predictions that gradients flow through, step by step: in plain torch, or with the step compiled.

A step of plain torch is hundreds of small operations, and a training spends its time on starting them. Compiled, the
step and its derivative are a few loops: the same results up to rounding in a fraction of the time, after half a minute
of compiling. That pays for trainings of some length only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mbrl_ros.core.errors import ModelError, in_short
from mbrl_ros.learning.examples import Examples
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.planning.compiler import TRACING
from mbrl_ros.planning.packages import missing_tools

LONG = 15_000
"""Steps of a whole batch, forward and back, from which on a training compiles its step, counting all epochs that it may
take: what plain torch then needs more is longer than the compiling."""

Advance = Callable[[LearnedModel, torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""As `LearnedModel.advance`."""


def predictions(
    model: LearnedModel,
    examples: Examples,
    view: int,
    rows: torch.Tensor,
    advance: Advance = LearnedModel.advance,
) -> torch.Tensor:
    """[M, n, H, 8] what each member predicts from the windows ``rows`` [n], in the mirror for view 1."""
    model = model.mirrored() if view else model
    memory = model.recall(examples.inputs[view, rows], examples.shares[view, rows])
    car = examples.car[view, rows].expand(model.config.network.members, -1, -1)
    states = []
    for action in examples.applied[view, rows].unbind(dim=1):
        car, memory = advance(model, car, memory, action)
        states.append(car)
    return torch.stack(states, dim=2)


Predict = Callable[[LearnedModel, Examples, int, torch.Tensor], torch.Tensor]
"""As `predictions`."""


@dataclass(frozen=True)
class CompiledPredictions:
    """`predictions` with a compiled step for ``width`` windows at once; where there are fewer, one of them fills up.

    Args:
        advance: the compiled step.
        width: n that it was compiled for.
    """

    advance: Advance
    width: int

    def __call__(self, model: LearnedModel, examples: Examples, view: int, rows: torch.Tensor) -> torch.Tensor:
        """As `predictions`."""
        found = [self._piece(model, examples, view, piece) for piece in rows.split(self.width)]
        return torch.cat(found, dim=1)

    def _piece(self, model: LearnedModel, examples: Examples, view: int, rows: torch.Tensor) -> torch.Tensor:
        filler = rows[:1] if len(rows) else rows.new_zeros(1)
        filled = torch.cat([rows, filler.expand(self.width - len(rows))])
        with torch.enable_grad():  # what is compiled is the step with its derivative, and compiling it once is enough
            found = predictions(model, examples, view, filled, self._advanced)[:, : len(rows)]
        return found if torch.is_grad_enabled() else found.detach()

    def _advanced(
        self, model: LearnedModel, car: torch.Tensor, memory: torch.Tensor, action: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A first step looks to the compiled one like those that follow it."""
        if not car.requires_grad:
            car = car.contiguous().requires_grad_()
        return self.advance(model, car, memory.contiguous(), action)


def predictions_for(
    model: LearnedModel,
    examples: Examples,
    settings: TrainingSettings,
    group: Group = ALONE,
    tell: Callable[[str, float], None] = lambda what, share: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Predict, tuple[str, ...]]:
    """How to predict in a training of ``model``, and what is to be said of that.

    With matrix products in bfloat16 nothing is compiled: predictions of held-out driving would be another step.

    Args:
        model: as it is trained, in float32.
        examples: what it learns from.
        settings: how.
        group: each of its processes predicts a share of every batch; all of them in the same way.
        tell: told (what is being done, share of it that is done) where that takes a while.
        stop: whether the training is to end; that ends the compiler, too, which is no fault of it.
    """
    batches = settings.batches(examples.count)
    steps = settings.epochs * max(batches, settings.epoch_steps) * examples.driven.shape[2]
    if steps < LONG or settings.bfloat16:
        return predictions, ()
    tell("compiling the step", 0.0)
    largest = math.ceil(settings.drawn(examples.count) / batches)
    quick, reason = None, "another process of the group could not compile a step"
    try:
        quick = compiled(model, examples, math.ceil(largest / group.size))
    except ModelError as error:
        reason = str(error)
    failed = group.sum(torch.tensor([float(quick is None)]))
    if quick is not None and not bool(failed):
        return quick, ()
    return predictions, () if stop() else (f"trained in plain torch, which takes several times as long: {reason}",)


def compiled(model: LearnedModel, examples: Examples, width: int) -> CompiledPredictions:
    """`predictions` of ``width`` windows at once, compiled for this processor.

    Raises:
        ModelError: it cannot be compiled here.
    """
    if missing := missing_tools():
        raise ModelError(missing)
    advance = torch.compile(LearnedModel.advance, fullgraph=True, dynamic=False, options={"compile_threads": 1})
    predict = CompiledPredictions(advance, width)
    try:
        with TRACING, torch.enable_grad():
            torch.compiler.reset()  # of a function it bears a few versions only, and those for other trainings count
            ends = predict(model, examples, 0, torch.zeros(1, dtype=torch.long))[:, :, -1]
            ends.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # of whatever kind: torch's compilers and what they call have many
        raise ModelError(f"torch cannot compile a step: {in_short(error)}") from error
    model.zero_grad()
    return predict
