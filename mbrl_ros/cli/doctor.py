"""`mbrl doctor`: what is wrong with a recording before anyone trains on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mbrl_ros.cli.figures import JsonFile, write_figures
from mbrl_ros.cli.recordings import Topic, Topics, reading
from mbrl_ros.core.layout import ReferencePoint
from mbrl_ros.data.doctor import SEVERITIES, Diagnosis, Finding, Severity, examine, write_repaired
from mbrl_ros.evaluation.doctor_report import write_doctor_report

FailOn = Literal["warning", "error", "never"]

_COLOURS: dict[Severity, str] = {"info": "cyan", "warning": "yellow", "error": "red"}


def doctor(
    bag: Annotated[Path, typer.Argument(help="recording to look at", show_default=False)],
    topic: Topic = None,
    topics: Topics = None,
    wheelbase: Annotated[
        float | None, typer.Option(min=0.01, help="of the car, in m: lets the scale of the steering be judged")
    ] = None,
    reference_point: Annotated[
        ReferencePoint | None, typer.Option(help="the point that the poses describe, where it is known")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="folder for a report with pictures")] = None,
    repair: Annotated[
        Path | None, typer.Option(help="folder for a corrected copy of the recording; never overwritten")
    ] = None,
    fail_on: Annotated[FailOn, typer.Option(help="the least severity that makes the exit status 1")] = "warning",
    json_file: JsonFile = None,
) -> None:
    """Look at a recording before training on it: stamps, frames, signs, units, delays, coverage.

    Each finding comes with its evidence, what it would do to a model, and the fix. Everything is measured in the
    recording itself, against the poses; nothing is assumed about the car.

    Exit status: 0 healthy (infos at most), 1 warnings or errors found (see --fail-on), 2 nothing could be looked at
    or written. With --repair the recording that was given is still the one that is judged.

    Example: mbrl doctor bags/fast_lap --wheelbase 2.843 --report out --repair bags/fast_lap_repaired
    """
    mapping = reading(topic, topics, None, "drop")["mapping"]
    diagnosis = examine(bag, mapping, wheelbase, reference_point)
    console = Console()
    show(console, diagnosis)
    write_figures(json_file, diagnosis.as_json())
    changes: tuple[str, ...] = ()
    if repair is not None:
        changes = write_repaired(diagnosis, repair)
        _show_repair(console, repair, changes, examine(repair, mapping, wheelbase, reference_point))
    if report is not None:
        console.print(f"report: {write_doctor_report(diagnosis, report, changes)}", soft_wrap=True, highlight=False)
    raise typer.Exit(exit_status(diagnosis, fail_on))


def exit_status(diagnosis: Diagnosis, fail_on: FailOn) -> int:
    """1 where a finding is as severe as ``fail_on``, else 0."""
    if fail_on == "never" or diagnosis.worst is None:
        return 0
    return int(SEVERITIES.index(diagnosis.worst) >= SEVERITIES.index(fail_on))


def show(console: Console, diagnosis: Diagnosis) -> None:
    """Topics, findings and verdict."""
    console.print(_topics(diagnosis))
    for finding in diagnosis.findings:
        _show_finding(console, finding)
    for note in diagnosis.recording.notes:
        console.print(f"[dim]note:[/] {escape(note)}", soft_wrap=True, highlight=False)
    _show_verdict(console, diagnosis)


def _show_repair(console: Console, target: Path, changes: tuple[str, ...], after: Diagnosis) -> None:
    for change in changes:
        console.print(f"[green]repaired[/] {escape(change)}", soft_wrap=True, highlight=False)
    console.print(f"repaired copy: {target}; what remains in it:", soft_wrap=True, highlight=False)
    _show_verdict(console, after)


def _show_verdict(console: Console, diagnosis: Diagnosis) -> None:
    counts = [(severity, sum(f.severity == severity for f in diagnosis.findings)) for severity in reversed(SEVERITIES)]
    listed = ", ".join(f"[{_COLOURS[s]}]{n} {s}{'s' if n != 1 else ''}[/]" for s, n in counts)
    console.print(f"[bold]{escape(diagnosis.recording.path.resolve().name)}[/]: {listed}", highlight=False)


def _topics(diagnosis: Diagnosis) -> Table:
    table = Table(title=f"{diagnosis.recording.path.resolve().name}: topics")
    table.add_column("topic", overflow="fold")
    for name in ("messages", "rate", "jitter", "silence", "latency"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("feeds", overflow="fold")
    for facts in diagnosis.topics:
        spoken, late = facts.rhythm, facts.latency
        silence = f"{spoken.silences_s.max():.2f} s" if spoken and len(spoken.silences_s) else "–"
        table.add_row(
            f"{escape(facts.topic)}\n[dim]{facts.msgtype.rpartition('/')[2]}[/]",
            str(facts.messages),
            f"{spoken.rate_hz:.1f} Hz" if spoken else "–",
            f"±{100 * spoken.jitter:.0f} %" if spoken else "–",
            silence,
            f"{1e3 * late.median_s:.0f} ms" if late else "–",
            ", ".join(facts.feeds) or "–",
        )
    return table


def _show_finding(console: Console, finding: Finding) -> None:
    colour = _COLOURS[finding.severity]
    where = f" [bold]{escape(finding.topic)}[/]" if finding.topic else ""
    console.print(f"[{colour}]{finding.severity:>7}[/] {finding.check}{where}", highlight=False, soft_wrap=True)
    for name, text in (("evidence", finding.evidence), ("model", finding.consequence), ("fix", finding.fix)):
        console.print(f"        [dim]{name}:[/] {escape(text)}", highlight=False, soft_wrap=True)
