"""An optimisation as a table, one row per iteration."""

from __future__ import annotations

from rich.table import Table

from mbrl_ros.planning.ddp.solution import Solution


def iteration_table(solution: Solution, problem: int = 0) -> Table:
    """What happened to one problem of the batch, pass by pass, and why it stopped."""
    table = Table(title="DDP", caption=f"{solution.reasons[problem]} after {int(solution.iterations[problem])}")
    for name in ("pass", "cost", "expected", "step", "mu", "gap", ""):
        table.add_column(name, justify="right")
    for number, entry in enumerate(solution.log):
        if not bool(entry.running[problem]):
            break
        table.add_row(
            str(number),
            f"{float(entry.cost[problem]):.6g}",
            f"{float(entry.expected[problem]):.3g}",
            f"{float(entry.step_size[problem]):.3g}",
            f"{float(entry.mu[problem]):.3g}",
            f"{float(entry.gap[problem]):.3g}",
            "" if bool(entry.positive[problem]) else "Quu indefinite",
        )
    return table
