"""Tables of `mbrl evaluate`, readable in a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from mbrl_ros.core.layout import STATE
from mbrl_ros.evaluation.comparison import BASELINES, BagComparison
from mbrl_ros.evaluation.coverage import EVERYWHERE
from mbrl_ros.evaluation.open_loop import Score
from mbrl_ros.evaluation.regimes import REGIMES, TURNING, in_words
from mbrl_ros.evaluation.timing import ROLLOUTS, STEPS


def tables_of(name: str, comparison: BagComparison, rollout_times_s: Mapping[str, float]) -> Iterator[Table]:
    """Errors by horizon, by state and by regime, and what intervals hold where models state some.

    Args:
        name: of the recording.
        comparison: what to show.
        rollout_times_s: by model, see `evaluation.timing`.
    """
    yield _by_horizon(name, comparison, rollout_times_s)
    yield _by_state(comparison)
    yield _by_regime(comparison)
    if comparison.coverage:
        yield _intervals(comparison)


def overview(comparisons: Mapping[str, BagComparison]) -> Table:
    """Errors at the longest horizon, a column for each recording."""
    longest = {name: max(score.horizon_s for score in c.scores) for name, c in comparisons.items()}
    table = Table(title="ADE / FDE in m over the longest horizon, by recording")
    table.add_column("model")
    for name, horizon_s in longest.items():
        table.add_column(f"{name}, {horizon_s:g} s", justify="right", overflow="fold")
    for model in dict.fromkeys(model for c in comparisons.values() for model in c.predicted):
        found = {
            name: score
            for name, c in comparisons.items()
            for score in c.scores
            if (score.model, score.horizon_s) == (model, longest[name])
        }
        cells = (_cell(found[name]) if name in found else "–" for name in comparisons)
        table.add_row(model, *cells, style=_style(model))
    return table


def _by_horizon(name: str, comparison: BagComparison, rollout_times_s: Mapping[str, float]) -> Table:
    table = Table(
        title=f"{name}: ADE / FDE in m, with the 95 % interval of ADE; starts at vx > {comparison.min_speed:.2g} m/s"
    )
    table.add_column("model")
    horizons = sorted({score.horizon_s for score in comparison.scores})
    for horizon_s in horizons:
        table.add_column(f"{horizon_s:g} s", justify="right")
    if rollout_times_s:
        table.add_column(f"{ROLLOUTS} x {STEPS}", justify="right")
    for model in comparison.predicted:
        row = {score.horizon_s: score for score in comparison.scores if score.model == model}
        time = f"{1e3 * rollout_times_s[model]:.0f} ms" if model in rollout_times_s else ""
        cells = (*(_cell(row[h]) for h in horizons), *([time] if rollout_times_s else []))
        table.add_row(model, *cells, style=_style(model))
    starts = {score.horizon_s: str(score.starts) for score in comparison.scores}
    table.add_section()
    table.add_row("starts", *(starts[h] for h in horizons), style="dim")
    return table


def _by_state(comparison: BagComparison) -> Table:
    """Position is in the other table."""
    horizon_s = max(score.horizon_s for score in comparison.scores)
    scores = [score for score in comparison.scores if score.horizon_s == horizon_s]
    names = [n for n in STATE.names if n not in ("x", "y") and any(n in score.rmse for score in scores)]
    table = Table(title=f"root mean square error after {horizon_s:g} s")
    table.add_column("model")
    for name in names:
        table.add_column(f"{name.replace('_', ' ')}\n[dim]{STATE.unit(name)}[/]", justify="right")
    for score in scores:
        cells = (f"{score.rmse[n]:.3g}" if n in score.rmse else "–" for n in names)
        table.add_row(score.model, *cells, style=_style(score.model))
    return table


def _by_regime(comparison: BagComparison) -> Table:
    horizon_s = max(score.horizon_s for score in comparison.scores)
    scores = {(s.model, s.regime): s for s in comparison.regime_scores if s.horizon_s == horizon_s}
    regimes = comparison.regimes
    shown = [name for name in comparison.predicted if name != "persistence"]
    table = Table(
        title=f"ADE over {horizon_s:g} s in m by regime, thirds of the starts by speed and by lateral acceleration"
    )
    table.add_column("speed\n[dim]m/s[/]", no_wrap=True)
    table.add_column("lateral\n[dim]m/s²[/]", no_wrap=True)
    table.add_column("starts", justify="right")
    for model in shown:
        table.add_column(model, justify="right", overflow="fold")
    for place, regime in enumerate(REGIMES):
        found = [scores.get((model, regime)) for model in shown]
        if found[0] is not None:
            cells = (f"{score.ade_m:.3f}" if score else "–" for score in found)
            table.add_row(
                in_words(regimes.speed(regime)), in_words(regimes.lateral(regime)), str(found[0].starts), *cells
            )
        if place % len(TURNING) == len(TURNING) - 1:
            table.add_section()
    return table


def _intervals(comparison: BagComparison) -> Table:
    """Everywhere; regimes are in the report and the JSON."""
    table = Table(title="what intervals hold of the driven positions, and how much of it is novel to the model")
    table.add_column("model")
    levels = list(comparison.coverage[0].share)
    for column in ("horizon", *(f"{100 * level:g} %" for level in levels), "novel", "starts"):
        table.add_column(column, justify="right")
    for held in comparison.coverage:
        if held.regime == EVERYWHERE:
            shares = [f"{100 * held.share[level]:.0f} %" for level in levels]
            horizon, novel = f"{held.horizon_s:g} s", f"{100 * held.novel:.0f} %"
            table.add_row(held.model, horizon, *shares, novel, str(held.starts))
    return table


def _cell(score: Score) -> str:
    low, high = score.ade_interval_m
    lost = f" [red]{score.diverged} diverged[/]" if score.diverged else ""
    return f"{score.ade_m:.3f} / {score.fde_m:.3f}\n[dim]{low:.3f}–{high:.3f}[/]{lost}"


def _style(model: str) -> str:
    return "" if model in BASELINES else "bold"
