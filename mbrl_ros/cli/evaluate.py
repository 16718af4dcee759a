"""`mbrl evaluate`: how well models predict recorded driving."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from mbrl_ros.cli.comparison_tables import overview, tables_of
from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.recordings import OnBad, Rate, Topic, Topics, reading
from mbrl_ros.core.errors import DataError, ModelError
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.recording import Drive
from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import BASELINES, BagComparison, compare
from mbrl_ros.evaluation.open_loop import HORIZONS_S, START_EVERY_S, Score
from mbrl_ros.evaluation.regimes import RegimeScore
from mbrl_ros.evaluation.report import write_report
from mbrl_ros.evaluation.timing import rollout_time_s
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
    are compared with what was driven: ADE is the mean position error over the horizon, FDE that at its end. Any number
    of models and recordings; errors also by state and by regime of speed and lateral acceleration, with intervals over
    starts, and with the time that a planner's rollouts take. README.md names the fields of --json.

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
    console = Console()
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Bars(*columns, console=console, transient=True) as bars:
        steps = len(bag) * (2 + len(loaded) + len(BASELINES)) + len(loaded)
        task = bars.add_task("", total=steps if report is None else steps + len(bag))

        def next_step(what: str) -> None:
            bars.update(task, description=what, advance=1)

        drives = []
        for path in bag:
            next_step(f"reading {path}")
            drives.append(read_drive(path, **how))
        names = _bag_names(drives)
        comparisons = compare(
            loaded,
            drives,
            split=split,
            train=_training_drives(loaded, drives, how),
            horizons_s=sorted(set(horizon or HORIZONS_S)),
            start_every_s=start_every,
            min_speed=min_speed,
            seed=seed,
            progress=next_step,
        )
        by_name = dict(zip(names, comparisons, strict=True))
        times_s = {}
        for name, model in loaded.items():
            next_step(f"timing {name}")
            times_s[name] = rollout_time_s(name, model.model, comparisons[0].windows)
        written = write_report(by_name, times_s, report, next_step) if report is not None else None
    for name, comparison in by_name.items():
        for table in tables_of(name, comparison, times_s):
            console.print(table)
        for note in (*comparison.drive.notes, *comparison.notes):
            console.print(f"[dim]note:[/] {escape(note)}", soft_wrap=True, highlight=False)
    if len(by_name) > 1:
        console.print(overview(by_name))
    write_figures(json_file, [row for name, c in by_name.items() for row in json_rows(name, c, times_s)])
    if written is not None:
        console.print(f"report: {written}", soft_wrap=True)


def json_rows(bag: str, comparison: BagComparison, rollout_times_s: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row for each predictor and horizon; README.md says what its fields mean."""
    regimes = comparison.regimes
    return [
        {
            **_figures(s),
            "model": s.model,
            "bag": bag,
            "horizon_s": s.horizon_s,
            "diverged": s.diverged,
            "rmse": s.rmse,
            "regimes": {
                r.regime: {
                    **_figures(r),
                    "speed_mps": regimes.speed(r.regime),
                    "lateral_mps2": regimes.lateral(r.regime),
                }
                for r in comparison.regime_scores
                if (r.model, r.horizon_s) == (s.model, s.horizon_s)
            },
            "coverage": {
                c.regime: {"starts": c.starts, "novel": c.novel} | {f"{level:g}": c.share[level] for level in c.share}
                for c in comparison.coverage
                if (c.model, c.horizon_s) == (s.model, s.horizon_s)
            },
            "rollouts_s": rollout_times_s.get(s.model),
        }
        for s in comparison.scores
    ]


def _figures(score: Score | RegimeScore) -> dict[str, Any]:
    return {
        "ade_m": score.ade_m,
        "fde_m": score.fde_m,
        "starts": score.starts,
        "ade_interval_m": score.ade_interval_m,
        "fde_interval_m": score.fde_interval_m,
    }


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
