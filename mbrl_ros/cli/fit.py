"""`mbrl fit`: a model's parameters and delays from recorded driving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.recordings import DescribedPoint, Force, ObeyedDrive, OnBad, Rate, Topic, Topics, reading
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.recording import Drive
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.fitting import SPLIT, Fitted, fit_and_save, start_model
from mbrl_ros.models.identification import Options
from mbrl_ros.models.parametric import KINDS, ParametricModel, build
from mbrl_ros.models.passport import Score, require_free

_SHORT = {"kinematic": "kinematic_bicycle"}
_DEFAULTS = Options()
_NAMES = dict.fromkeys(name for kind in KINDS for name in build(kind, dt=1.0).table)


def fit(
    bags: Annotated[list[Path], typer.Argument(help="recordings, all of one car", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write the model to", show_default=False)],
    model: Annotated[str, typer.Option(help=f"{', '.join(KINDS)} (or kinematic)")] = "kinematic_bicycle",
    vehicle: Annotated[
        str | None,
        typer.Option(help="name in config/vehicles or path: begin with its nominal parameters", show_default=False),
    ] = None,
    split: Annotated[
        str, typer.Option(help="what to fit: time:0.8 the first 80 % of the time, lap:2 all but lap 2, none everything")
    ] = SPLIT,
    prior: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE:STD, known beforehand, say wheelbase=2.843:0.03; may be repeated"),
    ] = None,
    fix: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, known and not fitted; may be repeated")] = None,
    free: Annotated[
        list[str] | None, typer.Option(help="NAME to fit as well, say steering_lag; may be repeated")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="NAME to fit and no other; may be repeated")] = None,
    bounds: Annotated[
        list[str] | None, typer.Option(help="NAME=LOW:HIGH, narrower than the parameter's own; may be repeated")
    ] = None,
    horizon: Annotated[
        float, typer.Option(help="how far ahead predictions are held to the recording, in seconds")
    ] = _DEFAULTS.horizon_s,
    min_speed: Annotated[
        float | None,
        typer.Option(help="predictions start where vx is above this, in m/s; by default 3, or less for a small car"),
    ] = None,
    topic: Topic = None,
    topics: Topics = None,
    rate: Rate = None,
    on_bad: OnBad = "error",
    drive: ObeyedDrive = None,
    reference_point: DescribedPoint = None,
    seed: Annotated[int, typer.Option(min=0, help="of the thinning of long recordings")] = 0,
    force: Force = False,
    json_file: JsonFile = None,
) -> None:
    """Identify a car from its recordings: actuator delays first, then the parameters of a model.

    Predictions over --horizon seconds are held to the training part of the recordings. Each parameter comes with
    its standard deviation and with whether the driving determines it; what it cannot tell is said in plain words.
    The model is written to --out with its passport, scored on the part that was held out.

    Example: mbrl fit bags/fast_lap --out models/genesis --prior wheelbase=2.843:0.03 --json genesis.json
    """
    require_free(out, replace=force)
    options = Options(
        only=tuple(only) if only else None,
        free=tuple(free or ()),
        fixed={name: value for name, (value,) in _numbers("--fix", fix, "NAME=VALUE").items()},
        priors={name: (value, std) for name, (value, std) in _numbers("--prior", prior, "NAME=VALUE:STD").items()},
        bounds={name: (low, high) for name, (low, high) in _numbers("--bounds", bounds, "NAME=LOW:HIGH").items()},
        horizon_s=horizon,
        min_speed=min_speed,
        seed=seed,
    )
    car = read_settings(config_file("vehicles", vehicle, ".yaml"), Vehicle) if vehicle else None
    how: dict[str, Any] = {
        **reading(topic, topics, rate, on_bad),
        "drive": drive,
        "reference_point": reference_point,
        "mean_commands": True,
    }
    drives = [read_drive(path, **how) for path in bags]
    console = Console()
    start = start_model(_SHORT.get(model, model), drives[0], car)
    fitted = fit_with_progress(console, drives, start, out, split, options, force)
    console.print(f"model {fitted.model.id} written to {out}", soft_wrap=True, highlight=False)
    write_figures(json_file, figures(fitted))


def fit_with_progress(
    console: Console,
    drives: Sequence[Drive],
    start: ParametricModel,
    folder: Path,
    split: str,
    options: Options,
    replace: bool = False,
) -> Fitted:
    """`fit_and_save` with a progress bar, and its findings printed."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("delays", total=1.0)
        fitted = fit_and_save(
            drives,
            start,
            folder,
            split=split,
            options=options,
            replace=replace,
            progress=lambda what, share: progress.update(bar, description=what, completed=share),
        )
    console.print(_parameters(fitted))
    if fitted.scores:
        console.print(scores_table(fitted.scores))
    for note in fitted.notes:
        console.print(f"[dim]note:[/] {note}", soft_wrap=True, highlight=False)
    return fitted


def figures(fitted: Fitted) -> dict[str, Any]:
    """What scripts read: every parameter of the model, std and identifiable null where it was not fitted."""
    passport = fitted.model.passport
    return {
        "parameters": {
            name: {"value": record.value, "std": record.std, "identifiable": record.identifiable}
            for name, record in passport.parameters.items()
        },
        "delay_s": fitted.found.delay_s,
        "scores": [score.model_dump() for score in fitted.scores],
        "notes": list(fitted.notes),
        "model": fitted.model.id,
    }


def _parameters(fitted: Fitted) -> Table:
    table = Table(title=f"{fitted.found.model.kind}: fitted to {fitted.found.windows} predictions")
    table.add_column("parameter")
    for name in ("value", "std"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    table.add_column("identifiable")
    for name, estimate in fitted.found.estimates.items():
        verdict = "yes" if estimate.identifiable else "[yellow]no[/]"
        table.add_row(name, f"{estimate.value:.4g}", f"{estimate.std:.2g}", estimate.unit, verdict)
    return table


def scores_table(scores: Sequence[Score]) -> Table:
    """Held-out scores for people."""
    table = Table(title="held out: position error in m")
    table.add_column("recording")
    for name in ("horizon", "ADE", "FDE", "starts"):
        table.add_column(name, justify="right")
    for s in scores:
        table.add_row(s.bag, f"{s.horizon_s:g} s", f"{s.ade_m:.3f}", f"{s.fde_m:.3f}", str(s.starts))
    return table


def _numbers(option: str, given: Sequence[str] | None, form: str) -> dict[str, tuple[float, ...]]:
    """Numbers by name, as many as ``form`` shows."""
    found: dict[str, tuple[float, ...]] = {}
    for text in given or ():
        name, _, value = text.partition("=")
        try:
            numbers = tuple(float(part) for part in value.split(":"))
        except ValueError:
            numbers = ()
        if not name or len(numbers) != form.count(":") + 1:
            raise ConfigError(f"{option} {text}: expected {form}")
        found[name] = numbers
    return found
