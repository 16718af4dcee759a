"""Whole MPPI updates (noise, rollouts, cost, weights, shift) beside pytorch_mppi, a floor in C++, and matrix products.

    pip install --no-deps --target /tmp/pytorch_mppi \\
        pytorch_mppi==0.9.1 arm_pytorch_utilities==0.5.0 pytorch_seed==0.2.0
    python benchmarks/mppi_peers.py [--peer /tmp/pytorch_mppi] [--backend compiled] [--device gpu] [--quick]

All run in this process with this torch, on the same model, cost, bounds, temperature and threads; rounds of ours and of
the peers alternate, and a ratio is the median over rounds of peer / ours (above 1: ours is faster), its spread half the
distance between quartiles, as a share. The peer gets our torch equations as TorchScript, which is faster than Python;
``--compile-peer`` adds its own ``compile()``. "white" is the peer's noise; "spline" is our default, with a tenth of the
random numbers, which the peer calls KMPPI. The floor is the fused kernel compiled as C++ for this processor, with
vectors, without torch. "gemm" is the time of the residual's products alone, by torch on [inputs, rollouts]. With
``--device gpu`` all but the floor run there.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from mppi_solve import CONFIG, track
from rich.console import Console
from rich.table import Table

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.tasks.goal import GoalSettings, GoalTask
from mbrl_ros.core.tasks.racing import RacingTask
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.cuda.host import HostKernels
from mbrl_ros.planning.cuda.problem import KernelProblem
from mbrl_ros.planning.cuda.update import FusedUpdate, Guess
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import Problem
from mbrl_ros.planning.settings import RacingPlannerSettings

DT_S = 0.04
SIZES = (256, 1024, 4096, 16384, 65536)
GUARD = Guard(residual=(3.0, 3.0, 5.0), longitudinal=15.0, lateral=15.0, sideslip=1.0)

Update = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One comparison; ratio = peer / ours, times are medians."""

    benchmark: str
    peer: str
    ratio: float
    ours_ms: float
    peer_ms: float
    spread: float


def mppi_settings(options: argparse.Namespace, sampler: str, rollouts: int | None = None) -> MPPISettings:
    return MPPISettings(
        rollouts=rollouts or options.rollouts,
        horizon=options.horizon,
        dt_s=DT_S,
        sampler=sampler,
        steering_std_rad=0.05,
        acceleration_std_mps2=1.0,
        temperature=0.1,
        effective_share=None,
        backend=options.backend,
        device="auto" if options.device == "gpu" else "processor",
        threads=options.threads,
    )


def device_of(settings: MPPISettings) -> str:
    return "cuda" if settings.device == "auto" else "cpu"


def vehicle() -> Vehicle:
    """Without delays: the peer knows none."""
    car = read_settings(CONFIG / "vehicles" / "f1tenth.yaml", Vehicle)
    return car.model_copy(update={"delays": car.delays.model_copy(update={"steering_s": 0.0, "drive_s": 0.0})})


def racing() -> RacingTask:
    settings = read_settings(CONFIG / "planners" / "mppi_f1tenth.yaml", RacingPlannerSettings)
    return RacingTask(track(), vehicle(), settings.task, dt=DT_S)


def goal() -> GoalTask:
    return GoalTask((20.0, 5.0, 0.0), vehicle(), GoalSettings(), dt=DT_S)


def residual() -> LearnedModel:
    physics = build_for(vehicle(), "single_track", dt=DT_S)
    corrected = Base("single_track", "acceleration", integrator="heun")  # as the recipes have it
    config = Config(DT_S, "cg", corrected, Network("mlp", hidden=64), GUARD)
    base = build_base(config, physics.values())
    return LearnedModel(base, config, torch.zeros(7), torch.ones(7)).double()


def begin() -> np.ndarray:
    section = track().at(0.0)
    return np.array([*section.position, float(section.heading), 4.0, 0.0, 0.0, 0.0, 0.0])


def ours(model: torch.nn.Module, task: torch.nn.Module, settings: MPPISettings) -> tuple[Update, MPPI]:
    planner = MPPI(model, task, settings)
    planner.warm_up()
    history, state, cycle = CommandHistory(np.zeros(2)), begin(), iter(range(1 << 30))
    return lambda: planner.plan(Problem(state, DT_S * next(cycle), history)), planner


def pytorch_mppi(model: torch.nn.Module, task: torch.nn.Module, settings: MPPISettings, compiled: bool) -> Update:
    """The peer's controller; the state has the step's cost behind it, since the peer's cost knows no step."""
    from pytorch_mppi import MPPI as PEER

    device = device_of(settings)
    step = Transition(deepcopy(model), task).float().to(device)  # ours keeps its precision and place
    rows, actions = (torch.zeros(settings.rollouts, entries, device=device) for entries in (9, 2))
    with torch.no_grad():
        dynamics = step if compiled else torch.jit.freeze(torch.jit.trace(step.eval(), (rows, actions)))
    low, high = (bound.float().to(device) for bound in task.bounds())
    std = torch.tensor([settings.steering_std_rad, settings.acceleration_std_mps2], device=device)
    controller = PEER(
        dynamics,
        lambda state, _: state[:, 8],
        nx=9,
        noise_sigma=torch.diag(std**2),
        num_samples=settings.rollouts,
        horizon=settings.horizon,
        lambda_=settings.temperature,
        u_min=low,
        u_max=high,
        U_init=torch.zeros(settings.horizon, 2, device=device),
        device=device,
    )
    if compiled:
        controller.compile()
    state = torch.tensor([*begin(), 0.0], dtype=torch.float32)

    def update() -> object:
        with torch.inference_mode():
            return controller.command(state.to(device)).cpu()

    return update


class Transition(torch.nn.Module):
    """[K, 9], [K, 2] -> [K, 9] next state, and behind it what the step cost."""

    def __init__(self, model: torch.nn.Module, task: torch.nn.Module) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        after = self.model(state[:, :8], action)
        return torch.cat([after, -self.task.reward(state[:, :8], action, after)[:, None]], dim=1)


def floor(model: torch.nn.Module, task: torch.nn.Module, settings: MPPISettings) -> Update:
    problem = KernelProblem(model, task, settings.noise_shapes(2))
    std = np.array([settings.steering_std_rad, settings.acceleration_std_mps2])
    kernels = HostKernels(problem.source(), settings.threads)
    update = FusedUpdate(problem, kernels, settings.rollouts, std, seed=0)
    state, plan, none = begin(), np.zeros((settings.horizon, 2)), np.zeros((0, 2))

    def run() -> object:
        nonlocal plan
        shifted = np.concatenate([plan[1:], plan[-1:]])
        plan = update(Guess(state, shifted, shifted, none, 0 * shifted, settings.temperature, 0.0)).nominal
        return plan

    return run


def products(settings: MPPISettings, widths: tuple[int, ...] = (7, 64, 64, 3)) -> Update:
    """The residual's matrix products of a whole update."""
    device = device_of(settings)
    weights = [torch.randn(after, before, device=device) for before, after in pairwise(widths)]
    inputs = [torch.randn(width, settings.rollouts, device=device) for width in widths[:-1]]
    outputs = [torch.empty(width, settings.rollouts, device=device) for width in widths[1:]]

    def run() -> object:
        for _ in range(settings.horizon):
            for weight, x, y in zip(weights, inputs, outputs, strict=True):
                torch.mm(weight, x, out=y)
        return outputs[-1][0, 0].item()  # waits for a GPU

    return run


def alternate(updates: list[Update], options: argparse.Namespace) -> np.ndarray:
    """[updates, rounds] median time of an update in each round [ms]."""
    for update in updates:
        for _ in range(3):
            update()
    times = np.zeros((len(updates), options.rounds))
    for number in range(options.rounds):
        for row, update in enumerate(updates):
            once = []
            for _ in range(options.cycles):
                begun = time.perf_counter()
                update()
                once.append(time.perf_counter() - begun)
            times[row, number] = 1e3 * statistics.median(once)
    return times


def compared(benchmark: str, peers: dict[str, Update], mine: Update, options: argparse.Namespace) -> list[Row]:
    times = alternate([mine, *peers.values()], options)
    rows = []
    for peer, theirs in zip(peers, times[1:], strict=True):
        low, median, high = np.quantile(theirs / times[0], [0.25, 0.5, 0.75])
        spread = (high - low) / 2 / median
        rows.append(Row(benchmark, peer, *map(float, (median, np.median(times[0]), np.median(theirs), spread))))
    return rows


def beside_peers(options: argparse.Namespace) -> list[Row]:
    """Both models and both tasks, with both kinds of noise."""
    rows = []
    cases = {
        "mppi_kinematic": ("kinematic_bicycle", racing),
        "mppi_single_track": ("single_track", racing),
        "mppi_kinematic_goal": ("kinematic_bicycle", goal),
    }
    for name, (kind, make_task) in cases.items():
        for sampler in ("white", "spline"):
            settings = mppi_settings(options, sampler)
            model, task = build_for(vehicle(), kind, dt=DT_S), make_task()
            if options.backend == "fused" and not isinstance(task, RacingTask):
                continue  # the kernels know no other
            mine, planner = ours(model, task, settings)
            require_ready(planner)
            peers = {}
            if options.peer:
                peers["pytorch_mppi 0.9.1"] = pytorch_mppi(model, make_task(), settings, compiled=False)
            if options.peer and options.compile_peer and sampler == "white":
                peers["pytorch_mppi 0.9.1, compiled"] = pytorch_mppi(model, make_task(), settings, compiled=True)
            if isinstance(task, RacingTask):
                peers["floor"] = floor(model, task, settings)
            if peers:
                rows += compared(f"{name}_{sampler}", peers, mine, options)
    return rows


def beside_products(options: argparse.Namespace) -> list[Row]:
    settings = mppi_settings(options, "spline")
    mine, planner = ours(residual(), racing(), settings)
    require_ready(planner)
    return compared("mppi_semiparametric_2x64", {"gemm": products(settings)}, mine, options)


def over_sizes(options: argparse.Namespace) -> list[Row]:
    """Time of an update by rollouts; the ratio is the time of the smallest size, times as many rollouts, over it."""
    model, task = build_for(vehicle(), "kinematic_bicycle", dt=DT_S), racing()
    made = [ours(model, task, mppi_settings(options, "spline", size)) for size in SIZES]
    for _, planner in made:
        require_ready(planner)
    times = alternate([update for update, _ in made], options)
    rows = []
    for size, each in zip(SIZES[1:], times[1:], strict=True):
        low, median, high = np.quantile(times[0] * size / SIZES[0] / each, [0.25, 0.5, 0.75])
        spread = (high - low) / 2 / median
        linear = float(np.median(times[0])) * size / SIZES[0]
        rows.append(
            Row(
                f"mppi_rollouts_{size}",
                f"linear from {SIZES[0]}",
                *map(float, (median, np.median(each), linear, spread)),
            )
        )
    return rows


def require_ready(planner: MPPI) -> None:
    if planner.hindered:
        sys.exit(f"not {planner.settings.backend}, so there is nothing to compare: {planner.note}")


def show(rows: list[Row], options: argparse.Namespace) -> None:
    table = Table(
        title=f"MPPI update, {options.backend} on the {options.device}, {options.rollouts} x {options.horizon}, "
        f"{options.threads} threads"
    )
    for column in ("benchmark", "peer", "ours [ms]", "peer [ms]", "peer / ours", "spread"):
        table.add_column(column, justify="left" if column in ("benchmark", "peer") else "right")
    for row in rows:
        figures = f"{row.ours_ms:.2f}", f"{row.peer_ms:.2f}", f"{row.ratio:.2f}", f"{100 * row.spread:.0f} %"
        table.add_row(row.benchmark, row.peer, *figures)
    table.caption = f"{processor_name()}, torch {torch.__version__}, Python {platform.python_version()}"
    Console(width=120).print(table)


def processor_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=Path("/tmp/pytorch_mppi"), help="folder that has it")  # noqa: S108
    parser.add_argument("--compile-peer", action="store_true", help="compare with the peer's own compilation, too")
    parser.add_argument("--backend", choices=("compiled", "fused"), default="fused", help="of ours")
    parser.add_argument("--device", choices=("processor", "gpu"), default="processor", help="of ours and of the peer")
    parser.add_argument("--rollouts", type=int, default=2048)
    parser.add_argument("--horizon", type=int, default=56)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cycles", type=int, default=10, help="updates per round")
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that everything runs")
    parser.add_argument("--only", choices=("peers", "products", "sizes"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.cycles = 3, 2
    if not options.peer.is_dir():
        print(f"without pytorch_mppi: there is no folder {options.peer}; the first line of --help makes one")
        options.peer = None
    else:
        sys.path.append(str(options.peer))
    torch.set_num_threads(options.threads)
    parts = {"peers": beside_peers, "products": beside_products, "sizes": over_sizes}
    rows = [row for name, part in parts.items() if options.only in (None, name) for row in part(options)]
    show(rows, options)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
