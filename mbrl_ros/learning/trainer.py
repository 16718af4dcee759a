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

    def losses(self, model: LearnedModel, view: int, rows: torch.Tensor) -> MemberLosses:
        """Losses on the examples ``rows`` [n] in one of their views."""
        ...

    def held_out(self, model: LearnedModel) -> torch.Tensor:
        """[M] error of each member on what it does not learn from; less is better."""
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
    """

    def __init__(
        self,
        model: LearnedModel,
        objective: Objective,
        settings: TrainingSettings,
        folder: Path,
        fingerprint: str,
    ) -> None:
        self._model = model
        self._objective = objective
        self._settings = settings
        self._path = folder / CHECKPOINT_FILE
        self._fingerprint = fingerprint
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self._optimiser = torch.optim.AdamW(
            self._trained.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
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

    def run(self, listener: Listener = lambda epoch: None) -> tuple[Epoch, ...]:
        """Train to the end and leave each member at its best; the epochs that were run now.

        Raises:
            ModelError: the loss is not finite.
            ConfigError: the folder holds the checkpoint of another training.
        """
        self._resume()
        epochs = []
        while self._done < self._settings.epochs and bool((self._waited < self._settings.patience).any()):
            epochs.append(self._epoch())
            self._save()
            listener(epochs[-1])
        with torch.no_grad():
            for name, parameter in self._trained.items():
                parameter.copy_(self._kept[name])
        return tuple(epochs)

    def _epoch(self) -> Epoch:
        begun = time.monotonic()
        share = self._done / self._settings.epochs
        for group in self._optimiser.param_groups:
            group["lr"] = self._settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
        self._done += 1
        losses = [self._step(view, rows) for view, rows in self._batches()]
        held_out = self._objective.held_out(self._model)
        self._keep(held_out)
        return Epoch(
            self._done,
            self._settings.epochs,
            sum(losses) / len(losses),
            tuple(held_out.tolist()),
            tuple(self._best.tolist()),
            time.monotonic() - begun,
        )

    def _batches(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Every example once, each batch in a view drawn at random."""
        examples = self._objective.examples
        order = torch.randperm(examples.count, generator=self._generator)
        for rows in order.chunk(max(1, examples.count // self._settings.batch)):
            yield int(torch.randint(examples.views, (1,), generator=self._generator)), rows

    def _step(self, view: int, rows: torch.Tensor) -> float:
        weight = self._objective.examples.weight[:, rows]
        loss = self._objective.losses(self._model, view, rows).loss
        # The sum over members, so that each has the gradient that it would have alone.
        by_member = (loss * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
        if not bool(torch.isfinite(by_member).all()):
            raise ModelError(
                f"the loss is not finite in epoch {self._done}: lower learning_rate or gradient_norm, and look at "
                "the driving with `mbrl evaluate`; the checkpoint is that of the epoch before"
            )
        self._optimiser.zero_grad()
        by_member.sum().backward()  # type: ignore[no-untyped-call]
        _cut_gradients(list(self._trained.values()), self._settings.gradient_norm)
        self._optimiser.step()
        return float(by_member.detach().mean())

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
    norm = torch.sqrt(sum((g.flatten(1) ** 2).sum(dim=1) for g in gradients))  # type: ignore[arg-type]
    scale = (longest / (norm + 1e-12)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
