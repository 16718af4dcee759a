"""`mbrl adapt`: a trained model brought up to date with newly driven data, without forgetting the old."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.recordings import DescribedPoint, ObeyedDrive, OnBad, Rate, Topic, Topics, reading
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import training_bag
from mbrl_ros.learning.adaptation import AdaptationSettings, Adapted, adapt
from mbrl_ros.models import passport

_DEFAULTS = AdaptationSettings()


def adapt_command(
    model: Annotated[Path, typer.Argument(help="folder of the model in force", show_default=False)],
    bags: Annotated[list[Path], typer.Argument(help="what was driven since", show_default=False)],
    replay: Annotated[
        list[Path], typer.Option(help="recording of what is not to be forgotten; may be repeated", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="folder to write the adapted model to", show_default=False)],
    forgetting: Annotated[
        float, typer.Option(min=0.0, help="share by which the error on replayed driving may grow")
    ] = _DEFAULTS.forgetting,
    epochs: Annotated[int, typer.Option(min=1, help="passes of the residual over the new driving")] = _DEFAULTS.epochs,
    seed: Annotated[int, typer.Option(min=0, help="of batches and of what is held out")] = 0,
    topic: Topic = None,
    topics: Topics = None,
    rate: Rate = None,
    on_bad: OnBad = "error",
    drive: ObeyedDrive = None,
    reference_point: DescribedPoint = None,
    json_file: JsonFile = None,
) -> None:
    """Adapt a model to newly driven data: friction, understeer and delays, then the residual, each in bounded steps.

    New and replayed driving are learned from in equal parts; a step that makes the error on held-out replayed driving
    grow by more than --forgetting is not taken. The result is a new model, written to --out; it comes into force only
    where it is loaded. Recordings are read at the model's own rate unless --rate says otherwise.

    Exit status: 0 when the model became better on held-out new driving, 1 when it could not be: it is then written as
    it was.

    Example: mbrl adapt models/car runs/wet --replay runs/dry --out models/car_wet
    """
    torch.set_num_threads(1)
    loaded = passport.load(model)
    passport.require_free(out)
    how = {**reading(topic, topics, rate or 1 / loaded.model.dt, on_bad), "drive": drive, "mean_commands": True}
    new, old = (
        [read_drive(path, **how, reference_point=reference_point) for path in paths] for paths in (bags, replay)
    )
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    settings = AdaptationSettings(forgetting=forgetting, epochs=epochs, seed=seed)
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("adapting", total=1.0)
        adapted = adapt(
            loaded, new, old, settings, lambda what, share: progress.update(bar, description=what, completed=share)
        )
    seen = (*adapted.provenance.bags, *(training_bag(part) for part in new))
    passport.save(adapted.model, out, replace(adapted.provenance, bags=seen))
    result = passport.load(out)
    _show(console, adapted)
    console.print(f"model {result.id}, adapted from {loaded.id}, written to {out}", soft_wrap=True, highlight=False)
    changed = {name: {"before": before, "after": after} for name, (before, after) in adapted.changed.items()}
    figures = {"before": asdict(adapted.before), "after": asdict(adapted.after), "parameters": changed}
    write_figures(json_file, {"model": result.id, "adapted_from": loaded.id, **figures})
    if adapted.after == adapted.before:
        raise typer.Exit(1)


def _show(console: Console, adapted: Adapted) -> None:
    errors = Table(title=f"position error over {_DEFAULTS.horizon_s:g} s, on held-out driving")
    errors.add_column("driving")
    for name in ("before", "after", "change"):
        errors.add_column(name, justify="right")
    for name, before, after in (
        ("new", adapted.before.new_m, adapted.after.new_m),
        ("replayed", adapted.before.old_m, adapted.after.old_m),
    ):
        errors.add_row(name, f"{before:.3f} m", f"{after:.3f} m", f"{100 * (after / before - 1):+.0f} %")
    console.print(errors)
    for name, (before, after) in adapted.changed.items():
        console.print(f"{name}: {before:.4g} -> {after:.4g}", highlight=False)
