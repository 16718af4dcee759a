"""`mbrl evaluate`: how well models predict recorded driving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.recordings import OnBad, Rate, Topic, Topics, reading
from mbrl_ros.core.errors import DataError, ModelError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.recording import Drive
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import BASELINES, BagComparison, compare
from mbrl_ros.evaluation.coverage import Coverage
from mbrl_ros.evaluation.open_loop import HORIZONS_S, START_EVERY_S, Score
from mbrl_ros.evaluation.report import write_report
from mbrl_ros.models.passport import LoadedModel, load


def evaluate(
    models: Annotated[list[Path] | None, typer.Argument(help="folders of models; none for the baselines alone")] = None,
    bag: Annotated[list[Path] | None, typer.Option(help="recording to score on; may be repeated")] = None,
    split: Annotated[
        str,
        typer.Option(
            help="time:0.8 (hold out the last fifth), lap:2, bag, all; auto holds out what the models' passports do"
        ),
    ] = "auto",
    horizon: Annotated[
        list[float] | None,
        typer.Option(min=0.01, help="prediction horizon in seconds; may be repeated; by default 0.1, 0.5, 1 and 2"),
    ] = None,
    start_every: Annotated[float, typer.Option(min=0.0, help="seconds between starts")] = START_EVERY_S,
    min_speed: Annotated[
        float | None,
        typer.Option(help="starts where vx is above this, in m/s; by default 3, or less for a small car"),
    ] = None,
    topic: Topic = None,
    topics: Topics = None,
    rate: Rate = None,
    on_bad: OnBad = "error",
    report: Annotated[Path | None, typer.Option(help="folder for a report with pictures")] = None,
    json_file: JsonFile = None,
    seed: Annotated[int, typer.Option(min=0, help="of the confidence intervals' bootstrap")] = 0,
) -> None:
    """Score models on recorded driving, open loop, beside persistence, CTRV, a linear fit and the floor.

    Predictions start every --start-every seconds from the recorded state, run along the recorded controls, and
    are compared with what was driven: ADE is the mean position error over the horizon, FDE that at its end.

    Example: mbrl evaluate models/genesis --bag bags/fast_lap --split time:0.8 --horizon 1 --horizon 2 --report out
    """
    if not bag:
        raise typer.BadParameter("give at least one --bag")
    loaded = _load(models or [])
    first = next(iter(loaded.values())).model if loaded else None
    how: dict[str, Any] = {
        **reading(topic, topics, rate, on_bad),
        "need_controls": bool(loaded),
        "mean_commands": True,
        "drive": next((d for d, layout in ACTIONS.items() if layout == first.action_layout), None) if first else None,
        "reference_point": first.reference_point if first else None,
    }
    drives = [read_drive(path, **how) for path in bag]
    comparisons = compare(
        loaded,
        drives,
        split=split,
        train=_training_drives(loaded, drives, how),
        horizons_s=sorted(set(horizon or HORIZONS_S)),
        start_every_s=start_every,
        min_speed=min_speed,
        seed=seed,
    )
    names = _bag_names(drives)
    console = Console()
    for name, comparison in zip(names, comparisons, strict=True):
        _show(console, name, comparison)
    write_figures(json_file, [row for name, c in zip(names, comparisons, strict=True) for row in json_rows(name, c)])
    if report is not None:
        path = write_report(dict(zip(names, comparisons, strict=True)), report)
        console.print(f"report: {path}", soft_wrap=True)


def json_rows(bag: str, comparison: BagComparison) -> list[dict[str, Any]]:
    """One row for each predictor and horizon; figures that are not finite become null."""

    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return [
        {
            "model": s.model,
            "bag": bag,
            "horizon_s": s.horizon_s,
            "ade_m": number(s.ade_m),
            "fde_m": number(s.fde_m),
            "starts": s.starts,
            "diverged": s.diverged,
            "ade_interval_m": [number(value) for value in s.ade_interval_m],
            "fde_interval_m": [number(value) for value in s.fde_interval_m],
            "rmse": s.rmse,
            "coverage": {
                c.regime: {"starts": c.starts, "novel": c.novel} | {f"{level:g}": c.share[level] for level in c.share}
                for c in comparison.coverage
                if (c.model, c.horizon_s) == (s.model, s.horizon_s)
            },
        }
        for s in comparison.scores
    ]


def _load(folders: Sequence[Path]) -> dict[str, LoadedModel]:
    loaded: dict[str, LoadedModel] = {}
    for folder in folders:
        model = load(folder)
        name = folder.resolve().name
        if name in loaded or name in BASELINES:
            name = f"{name}-{model.id}"
        if name in loaded:
            raise ModelError(f"{folder}: given twice")
        loaded[name] = model
    return loaded


def _training_drives(models: dict[str, LoadedModel], scored: Sequence[Drive], how: dict[str, Any]) -> list[Drive]:
    """What the models were fitted to, where it can still be found: the linear baseline is fitted to the same."""
    known = {drive.source_hash for drive in scored}
    found = []
    for bag in (bag for model in models.values() for bag in model.passport.bags):
        if bag.sha256 in known or not Path(bag.source).exists():
            continue
        try:
            drive = read_drive(bag.source, **how)
        except DataError:
            continue  # it was moved or changed since; the notes say that the linear baseline is left out
        if drive.source_hash == bag.sha256:
            found.append(drive.between(bag.start_s, math.nextafter(bag.end_s, math.inf)))
    return found


def _bag_names(drives: Sequence[Drive]) -> list[str]:
    names = [Path(drive.source).resolve().name for drive in drives]
    return names if len(set(names)) == len(names) else [drive.source for drive in drives]


def _show(console: Console, name: str, comparison: BagComparison) -> None:
    table = Table(
        title=f"{name}: ADE / FDE in m, with the 95 % interval of ADE; starts at vx > {comparison.min_speed:.2g} m/s"
    )
    table.add_column("model")
    horizons = sorted({score.horizon_s for score in comparison.scores})
    for horizon_s in horizons:
        table.add_column(f"{horizon_s:g} s", justify="right")
    for model in comparison.predicted:
        row = {score.horizon_s: score for score in comparison.scores if score.model == model}
        table.add_row(model, *(_cell(row[h]) for h in horizons), style="" if model in BASELINES else "bold")
    starts = {score.horizon_s: str(score.starts) for score in comparison.scores}
    table.add_section()
    table.add_row("starts", *(starts[h] for h in horizons), style="dim")
    console.print(table)
    if comparison.coverage:
        console.print(_coverage(comparison.coverage))
    for note in (*comparison.drive.notes, *comparison.notes):
        console.print(f"[dim]note:[/] {note}", soft_wrap=True, highlight=False)


def _coverage(coverage: Sequence[Coverage]) -> Table:
    table = Table(title="what intervals hold of the driven positions, and how much of it is novel to the model")
    table.add_column("model")
    table.add_column("regime")
    levels = list(coverage[0].share)
    for column in ("horizon", *(f"{100 * level:g} %" for level in levels), "novel", "starts"):
        table.add_column(column, justify="right")
    for c in coverage:
        shares = [f"{100 * c.share[level]:.0f} %" for level in levels]
        table.add_row(c.model, c.regime, f"{c.horizon_s:g} s", *shares, f"{100 * c.novel:.0f} %", str(c.starts))
    return table


def _cell(score: Score) -> str:
    low, high = score.ade_interval_m
    lost = f" [red]{score.diverged} diverged[/]" if score.diverged else ""
    return f"{score.ade_m:.3f} / {score.fde_m:.3f}\n[dim]{low:.3f}–{high:.3f}[/]{lost}"
