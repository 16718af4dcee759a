"""`mbrl adapt`: a trained model brought up to date with newly driven data, without forgetting the old."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbrl_ros.bringup.adapting import Adaptation, run_adaptation
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.recordings import DescribedPoint, ObeyedDrive, OnBad, Rate, Topic, Topics, reading
from mbrl_ros.learning.adaptation import AdaptationSettings, Adapted

_DEFAULTS = AdaptationSettings()


def adapt_command(
    model: Annotated[Path, typer.Argument(help="folder of the model in force", show_default=False)],
    bags: Annotated[list[Path], typer.Argument(help="what was driven since", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write the adapted model to", show_default=False)],
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            help="recording of what is not to be forgotten; may be repeated", show_default="what the model learned from"
        ),
    ] = None,
    forgetting: Annotated[
        float, typer.Option(min=0.0, help="share by which the error on replayed driving may grow")
    ] = _DEFAULTS.forgetting,
    forgetting_floor_m: Annotated[
        float, typer.Option(min=0.0, help="growth of that error in m that is never too much, however small it is")
    ] = _DEFAULTS.forgetting_floor_m,
    regimes: Annotated[
        int, typer.Option(min=1, max=8, help="sets of physical parameters that a learned model may know")
    ] = _DEFAULTS.regimes,
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

    What the old driving contradicts a learned model may keep beside its own parameters, as another of --regimes: in
    which of them the car is, it is told from the last seconds before every prediction.

    New and replayed driving are learned from in equal parts; a step that makes the error on held-out replayed driving
    grow by more than --forgetting and by more than --forgetting-floor-m is not taken. The result is a new model,
    written to --out; it comes into force only where it is loaded. Recordings are read at the model's own rate unless
    --rate says otherwise.

    Exit status: 0 when the model became better on held-out new driving, 1 when it could not be: it is then written as
    it was.

    Example: mbrl adapt models/car runs/wet --replay runs/dry --out models/car_wet
    """
    torch.set_num_threads(1)
    how = {**reading(topic, topics, rate, on_bad), "drive": drive, "reference_point": reference_point}
    given = {name: value for name, value in how.items() if value is not None}
    console = Console()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    settings = AdaptationSettings(
        forgetting=forgetting, forgetting_floor_m=forgetting_floor_m, regimes=regimes, epochs=epochs, seed=seed
    )
    adaptation = Adaptation(model, bags, replay or [], out, settings, given)
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("adapting", total=1.0)
        outcome = run_adaptation(
            adaptation, lambda what, share: progress.update(bar, description=what, completed=share)
        )
    adapted, result = outcome.adapted, outcome.model
    _show(console, adapted)
    words = f"model {result.id}, adapted from {outcome.adapted_from}, written to {out}"
    console.print(words, soft_wrap=True, highlight=False)
    changed = {name: {"before": before, "after": after} for name, (before, after) in adapted.changed.items()}
    figures = {"before": asdict(adapted.before), "after": asdict(adapted.after), "parameters": changed}
    told = {"regime": adapted.regime, "given_up": list(adapted.given_up)}
    write_figures(json_file, {"model": result.id, "adapted_from": outcome.adapted_from, **figures, **told})
    if not outcome.better:
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
    for name, value in adapted.regime.items():
        console.print(f"{name} in another regime: {value:.4g}", highlight=False)
    for name, value in ((name, value) for other in adapted.given_up for name, value in other.items()):
        console.print(f"{name} in a regime that is given up for it: {value:.4g}", highlight=False)
