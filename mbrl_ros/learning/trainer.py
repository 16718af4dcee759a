"""The training loop: epochs over examples, each member stopped at its own best, resumable after any interruption."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import safetensors
import safetensors.torch
import torch

from mbrl_ros.core.errors import ConfigError, ModelError
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.recipe import TrainingSettings
from mbrl_ros.models.learned import LearnedModel

CHECKPOINT_FILE = "checkpoint.safetensors"


class MemberLosses(Protocol):
    """Losses of M members on n examples."""

    @property
    def loss(self) -> torch.Tensor:
        """[M, n] what is lowered."""
        ...


class Examples(Protocol):
    """What is learned from: N examples, each in V views."""

    @property
    def count(self) -> int:
        """N."""
        ...

    @property
    def views(self) -> int:
        """V."""
        ...

    @property
    def held_out(self) -> torch.Tensor:
        """[M, N] bool: what a member does not learn from."""
        ...

    @property
    def weight(self) -> torch.Tensor:
        """[M, N] how much a member learns from each."""
        ...


class Objective(Protocol):
    """What a training lowers."""

    @property
    def examples(self) -> Examples:
        """What is learned from."""
        ...

    @property
    def usual(self) -> torch.Tensor:
        """[outputs] what the network is to put out on average, as a share of what it can; at most 1."""
        ...

    def losses(self, model: LearnedModel, view: int, rows: torch.Tensor) -> MemberLosses:
        """Losses on the examples ``rows`` [n] in one of their views."""
        ...

    def held_out(self, model: LearnedModel, group: Group) -> torch.Tensor:
        """[M] error of each member on what it does not learn from, found together; less is better."""
        ...


@dataclass(frozen=True)
class Epoch:
    """One pass over the examples.

    Args:
        number: counted from 1.
        of: epochs at most.
        loss: mean of the members' training losses.
        held_out: [M] error of each member on what it does not learn from.
        best: [M] the least so far.
        duration_s: wall time of the pass.
    """

    number: int
    of: int
    loss: float
    held_out: tuple[float, ...]
    best: tuple[float, ...]
    duration_s: float


Listener = Callable[[Epoch], None]
Stop = Callable[[], bool]
"""Asked between steps whether to stop before the end."""


def never() -> bool:
    """A `Stop` that lets a training go on."""
    return False


class Trainer:
    """Trains the members of a model side by side.

    After every epoch everything that the next one depends on is on disk, so that a training that was killed goes on
    where it was, to the same end. The same seed gives the same weights on the CPU.

    Args:
        model: all its parameters that require gradients are the members', M in the first dimension.
        objective: what to lower.
        settings: how.
        folder: for the checkpoint.
        fingerprint: of all that decides the outcome; another one in the folder is another training.
        group: processes that do the same, each with its share of every batch.
    """

    def __init__(
        self,
        model: LearnedModel,
        objective: Objective,
        settings: TrainingSettings,
        folder: Path,
        fingerprint: str,
        group: Group = ALONE,
    ) -> None:
        self._model = model
        self._group = group
        self._objective = objective
        self._settings = settings
        self._path = folder / CHECKPOINT_FILE
        self._fingerprint = fingerprint
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._optimiser = torch.optim.AdamW(
            self._trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        last = [f"head.layers.{len(model.head.layers) - 1}.{part}" for part in ("weight", "bias")]
        self._outputs = [self._trained[name] for name in last]
        self._pace = objective.usual.sqrt() if settings.in_proportion else torch.ones(())
        self._bfloat16 = settings.bfloat16 and torch.cpu._is_avx512_bf16_supported()
        self._generator = torch.Generator().manual_seed(settings.seed)
        members = len(objective.examples.held_out)
        self._best = torch.full((members,), math.inf)
        self._waited = torch.zeros(members)
        self._kept = {name: p.detach().clone() for name, p in self._trained.items()}
        self._done = 0

    @property
    def errors(self) -> torch.Tensor:
        """[M] least error of each member on what it does not learn from."""
        return self._best

    @property
    def done(self) -> int:
        """Epochs that are behind it."""
        return self._done

    def run(self, listener: Listener = lambda epoch: None, stop: Stop = never) -> bool:
        """Train to the end and leave each member at its best; False where it was stopped before.

        Stopped or killed, it goes on next time with the epoch that it was in.

        Raises:
            ModelError: the loss is not finite.
            ConfigError: the folder holds the checkpoint of another training.
        """
        self._resume()
        if not self._done:  # who never gets better than physics stays physics
            untrained = self._objective.held_out(self._model, self._group)
            self._best = torch.nan_to_num(untrained, nan=torch.inf, posinf=torch.inf)
        finished = True
        while finished and self._done < self._settings.epochs and bool((self._waited < self._settings.patience).any()):
            epoch = self._epoch(stop)
            if epoch is None:
                finished = False
            elif self._group.leads:
                self._save()
                listener(epoch)
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(self._kept[name])
        return finished

    def _epoch(self, stop: Stop) -> Epoch | None:
        """One pass over the examples; None where it was stopped within."""
        begun = time.monotonic()
        share = self._done / self._settings.epochs
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        losses = []
        for view, rows in self._batches():
            loss = self._step(view, rows, stop())
            if loss is None:
                return None
            losses.append(loss)
        held_out = self._objective.held_out(self._model, self._group)
        if not bool(torch.isfinite(held_out).all()):
            raise self._diverged("held-out error")
        self._keep(held_out)
        self._done += 1
        return Epoch(
            self._done,
            self._settings.epochs,
            sum(losses) / len(losses),
            tuple(held_out.tolist()),
            tuple(self._best.tolist()),
            time.monotonic() - begun,
        )

    def _batches(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Every example once, or as often as makes enough steps, or as many as an epoch may have; views at random."""
        examples, settings = self._objective.examples, self._settings
        steps = 0
        while steps < settings.epoch_steps:
            order = torch.randperm(examples.count, generator=self._generator)[: settings.drawn(examples.count)]
            for rows in order.chunk(settings.batches(examples.count)):
                yield int(torch.randint(examples.views, (1,), generator=self._generator)), rows
                steps += 1

    def _step(self, view: int, rows: torch.Tensor, stop: bool) -> float | None:
        """One step of the optimiser; the mean of the members' losses, None where any of the group is to stop."""
        mine, weight = self._group.share(rows), self._objective.examples.weight
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            loss = self._objective.losses(self._model, view, mine).loss
        # The sum over members, so that each has the gradient that it would have alone.
        by_member = (loss * weight[:, mine]).sum(dim=1) / weight[:, rows].sum(dim=1).clamp_min(1)
        self._optimiser.zero_grad()
        by_member.sum().backward()  # type: ignore[no-untyped-call]
        total, stops = self._summed(by_member.detach(), stop)
        if stops:
            return None
        if not bool(torch.isfinite(total).all()):
            raise self._diverged("loss")
        _cut_gradients(list(self._trained.values()), self._settings.gradient_norm)
        self._take_step()
        return float(total.mean())

    def _take_step(self) -> None:
        """A step of the optimiser, the last layer's in proportion to the root of what is usually to be put out.

        The optimiser moves every weight by about the learning rate, whatever the gradient. Where physics lacks a
        hundredth of what the outputs can do, that is a hundred times too far, and no training gets it below physics.
        The root is half the way, in orders of magnitude, from what is usual to what is possible: small errors are
        met, and the rare large ones are reached within a training.
        """
        before = [p.detach().clone() for p in self._outputs]
        self._optimiser.step()
        with torch.no_grad():
            for parameter, old in zip(self._outputs, before, strict=True):
                parameter.copy_(torch.lerp(old, parameter, self._pace))

    def _diverged(self, what: str) -> ModelError:
        return ModelError(
            f"the {what} is not finite in epoch {self._done + 1}: lower learning_rate or gradient_norm, and look at "
            "the driving with `mbrl doctor`; the checkpoint is that of the epoch before"
        )

    def _summed(self, by_member: torch.Tensor, stop: bool) -> tuple[torch.Tensor, bool]:
        """Losses [M] summed over the group, and whether any of it is to stop; gradients are summed in place."""
        if self._group.size == 1:
            return by_member, stop
        gradients = [p.grad for p in self._trained.values() if p.grad is not None]
        flat = torch.cat([by_member, by_member.new_tensor([float(stop)]), *(g.flatten() for g in gradients)])
        losses, stops, *summed = self._group.sum(flat).split([len(by_member), 1, *(g.numel() for g in gradients)])
        for gradient, values in zip(gradients, summed, strict=True):
            gradient.copy_(values.view_as(gradient))
        return losses, bool(stops > 0)

    def _keep(self, held_out: torch.Tensor) -> None:
        """Note what each member did on held-out examples, and its weights where that was its best."""
        better = held_out < self._best
        self._best = torch.where(better, held_out, self._best)
        self._waited = torch.where(better, 0.0, self._waited + 1)
        for name, parameter in self._trained.items():
            self._kept[name][better] = parameter.detach()[better]

    def _save(self) -> None:
        tensors = {f"now.{name}": p.detach() for name, p in self._trained.items()}
        tensors |= {f"best.{name}": value for name, value in self._kept.items()}
        for (name, _), moments in zip(self._trained.items(), self._optimiser.state.values(), strict=True):
            tensors |= {f"{entry}.{name}": value for entry, value in moments.items()}
        tensors |= {"errors": self._best, "waited": self._waited, "random": self._generator.get_state()}
        stated = {"fingerprint": self._fingerprint, "epochs": json.dumps(self._done)}
        part = self._path.with_suffix(".partial")
        safetensors.torch.save_file({n: t.contiguous().clone() for n, t in tensors.items()}, part, stated)
        part.replace(self._path)

    def _resume(self) -> None:
        if not self._path.exists():
            return
        try:
            with safetensors.safe_open(self._path, framework="pt") as file:
                stated = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError) as error:
            raise ConfigError(f"{self._path}: damaged ({error}); remove it to begin anew") from error
        if stated.get("fingerprint") != self._fingerprint:
            raise ConfigError(
                f"{self._path}: belongs to a training with another recipe, other recordings or another split; "
                "choose another --out, or remove the file to begin anew"
            )
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(tensors[f"now.{name}"])
                self._kept[name] = tensors[f"best.{name}"]
                self._optimiser.state[parameter] = {
                    entry: tensors[f"{entry}.{name}"] for entry in ("step", "exp_avg", "exp_avg_sq")
                }
        self._best, self._waited = tensors["errors"], tensors["waited"]
        self._generator.set_state(tensors["random"])
        self._done = int(stated["epochs"])


def _cut_gradients(parameters: Sequence[torch.nn.Parameter], longest: float) -> None:
    """Shorten each member's gradient to ``longest``."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    scale = (longest / (torch.linalg.vector_norm(norms, dim=0) + 1e-12)).clamp(max=1.0)
    if bool((scale < 1.0).any()):
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
