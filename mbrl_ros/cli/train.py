"""`mbrl train`: models from recorded driving, as a recipe says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.fit import scores_table
from mbrl_ros.cli.recordings import DescribedPoint, ObeyedDrive, OnBad, Rate, Topic, Topics, reading
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.recording import Drive
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import SPLIT, held_out_scores, training_bag, training_parts
from mbrl_ros.learning.curves import Curves
from mbrl_ros.learning.recipe import Recipe
from mbrl_ros.learning.trainer import Epoch
from mbrl_ros.learning.training import Progress
from mbrl_ros.learning.training import train as learn
from mbrl_ros.models import passport
from mbrl_ros.models.passport import LoadedModel


def train(
    recipe: Annotated[str, typer.Argument(help="name in config/training or path", show_default=False)],
    bags: Annotated[list[Path], typer.Argument(help="recordings, all of one car", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write the model to", show_default=False)],
    split: Annotated[
        str, typer.Option(help="what to learn from: time:0.8 the first 80 % of the time, lap:2 all but lap 2, none all")
    ] = SPLIT,
    seed: Annotated[int | None, typer.Option(min=0, help="instead of the recipe's")] = None,
    threads: Annotated[int, typer.Option(min=1, help="of the processor")] = 1,
    topic: Topic = None,
    topics: Topics = None,
    rate: Rate = None,
    on_bad: OnBad = "error",
    drive: ObeyedDrive = None,
    reference_point: DescribedPoint = None,
    json_file: JsonFile = None,
) -> None:
    """Train a model on recordings: identify its physics, learn what that lacks, score what was held out, save it.

    Interrupted or killed, the same command goes on where it was; what it needs for that, and curves for TensorBoard,
    lie in a folder beside --out that has its name and ends in -training.

    Example: mbrl train semiparametric bags/fast_lap --out models/genesis
    """
    chosen = read_settings(config_file("training", recipe, ".yaml"), Recipe)
    if seed is not None:
        chosen = chosen.model_copy(update={"training": chosen.training.model_copy(update={"seed": seed})})
    torch.set_num_threads(threads)
    how: dict[str, Any] = {
        **reading(topic, topics, rate, on_bad),
        "drive": drive,
        "reference_point": reference_point,
        "mean_commands": True,
    }
    drives = [read_drive(path, **how) for path in bags]
    console = Console()
    trained = train_and_save(console, chosen, drives, out, split)
    console.print(f"model {trained.id} written to {out}", soft_wrap=True, highlight=False)
    write_figures(json_file, figures(trained))


def train_and_save(console: Console, recipe: Recipe, drives: Sequence[Drive], out: Path, split: str) -> LoadedModel:
    """Train on what ``split`` leaves, score the rest, save the model to ``out``, and show all of it."""
    passport.require_free(out)
    parts = training_parts(drives, split)
    work = out.resolve().with_name(f"{out.resolve().name}-training")
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Bars(*columns, console=console, transient=True) as bars:
        trained = learn(parts, recipe, work, _shown(bars, work))
    scores, doubts = held_out_scores(trained.model, drives, split)
    provenance = replace(
        trained.provenance,
        bags=tuple(training_bag(part) for part in parts),
        split=split,
        scores=scores,
        notes=(*trained.provenance.notes, *doubts),
    )
    passport.save(trained.model, out, provenance)
    if scores:
        console.print(scores_table(scores))
    for note in provenance.notes:
        console.print(f"[dim]note:[/] {note}", soft_wrap=True, highlight=False)
    return passport.load(out)


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


def _shown(bars: Bars, work: Path) -> Progress:
    """Progress as bars, and as curves in ``work``."""
    physics = bars.add_task("identification", total=1.0)
    network = bars.add_task("training", total=None, visible=False)
    curves: list[Curves] = []

    def epoch(done: Epoch) -> None:
        if not curves:
            curves.append(Curves(work / "curves"))
        curves[0].add(done)
        best = sum(done.best) / len(done.best)
        text = f"epoch {done.number} of {done.of}: loss {done.loss:.3f}, held out {best:.3f} m"
        bars.update(physics, visible=False)
        bars.update(network, description=text, completed=done.number, total=done.of, visible=True)

    return Progress(lambda what, share: bars.update(physics, description=what, completed=share), epoch)
