"""Predictions that gradients flow through, step by step: in plain torch, or with the step compiled.

A step of plain torch is hundreds of small operations, and a training spends its time on starting them. Compiled, the
step and its derivative are a few loops: the same results up to rounding, four times as fast, after half a minute of
compiling. That pays for trainings of some length only.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.learning.examples import Examples
from mbrl_ros.learning.group import Group
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.models.learned import LearnedModel
from mbrl_ros.planning.compiler import TRACING
from mbrl_ros.planning.packages import missing_tools

LONG = 15_000
"""Steps of a whole batch, forward and back, that a training has at least where its step is compiled: in plain torch
they take a minute or more, compiled and with the compiling about as long as half of that."""

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
        filled = torch.cat([rows, rows[:1].expand(self.width - len(rows))])
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
    group: Group,
    tell: Callable[[str, float], None] = lambda what, share: None,
) -> tuple[Predict, tuple[str, ...]]:
    """How to predict in a training of ``model``, and what is to be said of that.

    Args:
        model: as it is trained, in float32.
        examples: what it learns from.
        settings: how.
        group: each of its processes predicts a share of every batch.
        tell: told (what is being done, share of it that is done) where that takes a while.
    """
    batches = settings.batches(examples.count)
    steps = settings.epochs * max(batches, settings.epoch_steps) * examples.driven.shape[2]
    if steps < LONG:
        return predictions, ()
    largest = math.ceil(settings.drawn(examples.count) / batches)
    try:
        return compiled(model, examples, math.ceil(largest / group.size)), ()
    except ModelError as error:
        return predictions, (f"trained in plain torch, which takes several times as long: {error}",)


def compiled(model: LearnedModel, examples: Examples, width: int) -> CompiledPredictions:
    """`predictions` of ``width`` windows at once, compiled for this processor.

    Raises:
        ModelError: it cannot be compiled here.
    """
    if missing := missing_tools():
        raise ModelError(missing)
    torch.compiler.reset()  # of a function it bears a few versions only, and those for other trainings count
    advance = torch.compile(LearnedModel.advance, fullgraph=True, dynamic=False, options={"compile_threads": 1})
    predict = CompiledPredictions(advance, width)
    try:
        with TRACING, torch.enable_grad():
            predict(model, examples, 0, torch.zeros(1, dtype=torch.long))[:, :, -1].sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # of whatever kind: torch's compilers and what they call have many
        reason = str(error).strip().splitlines() or [""]
        raise ModelError(f"torch cannot compile a step: {type(error).__name__}: {reason[0]}") from error
    model.zero_grad()
    return predict
