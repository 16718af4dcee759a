"""DDP beside crocoddyl's DDP, FDDP and BoxFDDP: costs reached, iterations, and time per iteration.

    python -m venv /tmp/crocoddyl && /tmp/crocoddyl/bin/pip install crocoddyl==3.2.1
    python benchmarks/ddp_crocoddyl.py --peer /tmp/crocoddyl/bin/python [--starts 64] [--guesses 8]

Crocoddyl runs in an interpreter of its own (its numpy is not ours), on the same problems from the same starts: cartpole
swing-up, free and with |f| <= 10, in Python there, and its unicycle, in C++. All begin without any action; ours from
``--guesses`` at once of which all but the first have noise added, and the best counts. Crocoddyl's best is that of its
three solvers (of one, where there are limits). ``--without-timing`` skips the timings, in which runs of the two
alternate, on one thread each, and the best of several counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import torch

from mbrl_ros.planning.ddp import DDP, DDPSettings, OptimalControlProblem, scattered, solve_from_several
from mbrl_ros.planning.ddp.compiled import CompiledPasses
from mbrl_ros.planning.ddp.passes import Passes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "planning"))
from ddp_toys import HORIZON, cartpole, hanging, unicycle  # noqa: E402  # the problems that are tested

PROBLEMS = {"cartpole": cartpole, "cartpole_limited": lambda: cartpole(10.0), "unicycle": unicycle}
SPREAD = 5.0
"""Standard deviation of the noise on further guesses: half of the force's limit."""

TOLERABLE = 1.01
"""Cost that counts as solved, as a share of the peer's best."""


def starts(name: str, count: int) -> torch.Tensor:
    if name != "unicycle":
        return hanging(count, seed=0)
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 1.0, 1.5], dtype=torch.float64)
    return torch.randn(count, 3, generator=generator, dtype=torch.float64) * scale


def peer(python: str, name: str, rows: torch.Tensor) -> dict[str, list[dict[str, float]]]:
    asked = json.dumps({"problem": name, "starts": rows.tolist()})
    script = ROOT / "benchmarks" / "peers" / "crocoddyl_solvers.py"
    done = subprocess.run([python, script], input=asked, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def zeros(name: str, count: int) -> torch.Tensor:
    return torch.zeros(count, HORIZON, PROBLEMS[name]().action_size, dtype=torch.float64)


def compiled(problem: OptimalControlProblem, settings: DDPSettings) -> DDP:
    """A solver in C++."""
    passes = CompiledPasses(Passes(problem, settings), HORIZON)
    passes.warm_up()
    print(passes.backend, passes.note, flush=True)
    return DDP(problem, settings, passes)


def compare_costs(name: str, python: str, count: int, guesses: int) -> dict[str, object]:
    rows, solver = starts(name, count), compiled(PROBLEMS[name](), DDPSettings(max_iterations=500))
    none = zeros(name, count)
    spread = torch.full(none.shape[-1:], SPREAD, dtype=none.dtype)
    first = solver.solve(rows, none)
    found = solve_from_several(solver, rows, scattered(none, spread, guesses, torch.Generator().manual_seed(0)))
    theirs = peer(python, name, rows)
    best = torch.tensor([min(one["cost"] for one in column) for column in zip(*theirs.values(), strict=True)])
    ratio, first_ratio = found.cost / best, first.cost / best
    result = {
        "problem": name,
        "guesses": guesses,
        "solved_share": float((ratio <= TOLERABLE).double().mean()),
        "solved_share_of_one_guess": float((first_ratio <= TOLERABLE).double().mean()),
        "median_cost_ratio": float(ratio.median()),
        "worst_cost_ratio": float(ratio.max()),
        "cheaper_than_peer_share": float((ratio * TOLERABLE < 1).double().mean()),
        "converged_share": found.reasons.count("converged") / count,
        "largest_action": float(found.actions.abs().max()),
        "our_iterations": float(found.iterations.double().mean()),
        "peer_iterations": {k: sum(one["iterations"] for one in v) / count for k, v in theirs.items()},
        "peer_median_cost": {k: sorted(one["cost"] for one in v)[count // 2] for k, v in theirs.items()},
    }
    print(json.dumps(result, indent=1), flush=True)
    return result


def compare_orders(name: str, count: int = 8) -> float:
    """Iterations of DDP per iteration of iLQR, from near the optimum to it."""
    start = starts(name, 1)
    optimum = DDP(PROBLEMS[name](), DDPSettings(max_iterations=500, tolerance=1e-13)).solve(start, zeros(name, 1))
    noise = torch.randn(count, *optimum.actions.shape[1:], generator=torch.Generator().manual_seed(1)).double()
    near = optimum.actions + 0.05 * noise
    means = []
    for second_order in (True, False):
        settings = DDPSettings(second_order=second_order, max_iterations=500, first_regularisation=0.0)
        found = DDP(PROBLEMS[name](), settings).solve(start.expand(count, -1).contiguous(), near)
        means.append(float(found.iterations.double().mean()))
    print(f"{name}, near the optimum: DDP {means[0]:.1f}, iLQR {means[1]:.1f} iterations", flush=True)
    return means[0] / means[1]


def compare_times(python: str, batch: int, repetitions: int = 5) -> dict[str, object]:
    """Time per iteration and problem on the unicycle, which crocoddyl computes in C++."""
    rows, solver = starts("unicycle", batch), compiled(unicycle(), DDPSettings())
    ours, theirs = [], []
    for _ in range(repetitions):
        begun = perf_counter()
        found = solver.solve(rows, zeros("unicycle", batch))
        ours.append(1e3 * (perf_counter() - begun) / float(found.iterations.sum()))
        answer = peer(python, "unicycle", rows)["DDP"]
        theirs.append(sum(one["ms"] for one in answer) / sum(one["iterations"] for one in answer))
    return {
        "benchmark": f"ddp_unicycle_iteration_batch_{batch}",
        "peer": "crocoddyl 3.2.1",
        "ratio": min(ours) / min(theirs),
        "ours_ms": min(ours),
        "peer_ms": min(theirs),
        "spread": max(max(ours) / min(ours), max(theirs) / min(theirs)) - 1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default="/tmp/crocoddyl/bin/python", help="interpreter that has crocoddyl")  # noqa: S108
    parser.add_argument("--starts", type=int, default=64)
    parser.add_argument("--guesses", type=int, default=8, help="starts of ours for each of them")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--without-timing", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not Path(options.peer).is_file():
        print(f"skipped: no interpreter {options.peer} with crocoddyl; the first line of --help makes one")
        return
    torch.set_num_threads(1)
    for name in options.problems:
        compare_costs(name, options.peer, options.starts, options.guesses)
    for name in options.problems:
        compare_orders(name)
    rows = [] if options.without_timing else [compare_times(options.peer, batch) for batch in (1, 256)]
    print(json.dumps(rows, indent=1))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
