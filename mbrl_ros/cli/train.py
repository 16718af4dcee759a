"""`mbrl train`: models from recorded driving, as a recipe says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mbrl_ros.bringup.stopping import StopOnSignal
from mbrl_ros.bringup.training import Outcome, Training, run_training
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.fit import scores_table
from mbrl_ros.cli.recordings import DescribedPoint, Force, ObeyedDrive, OnBad, Rate, Topic, Topics, reading
from mbrl_ros.core.errors import StoppedError
from mbrl_ros.evaluation.fitting import SPLIT
from mbrl_ros.learning.group import ALONE, Group, joined
from mbrl_ros.learning.trainer import Epoch
from mbrl_ros.learning.training import Progress
from mbrl_ros.models.passport import LoadedModel

INTERRUPTED = 130
"""Exit status, as of a program that ended by Ctrl-C."""


def train(
    recipe: Annotated[str, typer.Argument(help="name in config/training or path", show_default=False)],
    bags: Annotated[list[Path], typer.Argument(help="recordings, all of one car", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write the model to", show_default=False)],
    split: Annotated[
        str, typer.Option(help="what to learn from: time:0.8 the first 80 % of the time, lap:2 all but lap 2, none all")
    ] = SPLIT,
    vehicle: Annotated[
        str, typer.Option(help="name in config/vehicles or path: physics begins with its nominal parameters")
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="instead of the recipe's")] = None,
    threads: Annotated[int, typer.Option(min=1, help="of the processor, for each process")] = 1,
    force: Force = False,
    topic: Topic = None,
    topics: Topics = None,
    rate: Rate = None,
    on_bad: OnBad = "error",
    drive: ObeyedDrive = None,
    reference_point: DescribedPoint = None,
    json_file: JsonFile = None,
) -> None:
    """Train a model on recordings: identify its physics, learn what that lacks, score what was held out, save it.

    Ctrl-C keeps the best so far. Interrupted or killed, the same command goes on where it was; what it needs for that,
    and curves for TensorBoard, lie in a folder beside --out that has its name and ends in -training.

    Several processes share the work, each its part of every batch, to the same model up to rounding:
    torchrun --nproc-per-node 4 --no-python mbrl train ...

    Example: mbrl train semiparametric bags/first --vehicle f1tenth --out models/car
    """
    torch.set_num_threads(threads)
    how = {**reading(topic, topics, rate, on_bad), "drive": drive, "reference_point": reference_point}
    training = Training(recipe, bags, out, split, vehicle, seed, force, {**how, "mean_commands": True})
    with joined() as group:
        console = Console(quiet=not group.leads)
        try:
            outcome = train_with_bars(console, training, group)
        except StoppedError as error:
            console.print(f"[yellow]stopped:[/] {error}", soft_wrap=True, highlight=False)
            raise typer.Exit(INTERRUPTED) from error
    if outcome is None:
        return
    console.print(f"model {outcome.model.id} written to {out}", soft_wrap=True, highlight=False)
    write_figures(json_file, figures(outcome.model))
    if not outcome.finished:
        console.print("[yellow]stopped:[/] kept the best so far; run the same command again to go on", highlight=False)
        raise typer.Exit(INTERRUPTED)


def train_with_bars(console: Console, training: Training, group: Group = ALONE) -> Outcome | None:
    """`run_training`, with bars while it runs and its scores and notes afterwards; Ctrl-C keeps the best so far."""
    with StopOnSignal() as stop, training_bars(console) as shown:
        outcome = run_training(training, replace(shown, stop=stop), group)
    if outcome is not None:
        stated = outcome.model.passport
        if stated.scores:
            console.print(scores_table(stated.scores))
        for note in stated.notes:
            console.print(f"[dim]note:[/] {note}", soft_wrap=True, highlight=False)
    return outcome


def figures(trained: LoadedModel) -> dict[str, Any]:
    """What scripts read."""
    stated = trained.passport
    return {
        "model": trained.id,
        "kind": stated.kind,
        "split": stated.split,
        "scores": [score.model_dump() for score in stated.scores],
        "notes": list(stated.notes),
    }


@contextmanager
def training_bars(console: Console) -> Iterator[Progress]:
    """Bars that a training shows itself on."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Bars(*columns, console=console, transient=True) as bars:
        yield _shown(bars)


def _shown(bars: Bars) -> Progress:
    """Progress as bars."""
    physics = bars.add_task("identification", total=1.0)
    network = bars.add_task("training", total=None, visible=False)

    def epoch(done: Epoch) -> None:
        best = sum(done.best) / len(done.best)
        text = f"epoch {done.number} of {done.of}: loss {done.loss:.3f}, held out {best:.3f} m"
        bars.update(physics, visible=False)
        bars.update(network, description=text, completed=done.number, total=done.of, visible=True)

    return Progress(lambda what, share: bars.update(physics, description=what, completed=share), epoch)
