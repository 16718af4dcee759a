"""Training time of a probabilistic ensemble, and its held-out score, beside mbrl-lib's Gaussian MLP.

    python benchmarks/mbrl_lib_ensemble.py [--bag BAG] [--epochs 10] [--threads 2] [--json FILE]

mbrl-lib is no dependency of the package: pip install --no-deps -r benchmarks/mbrl_lib.txt into an environment of your
own that has the same torch and numpy, and name its Python in MBRL_PEERS_PYTHON; without it this benchmark says so and
ends.

Both learn the same steps of the first four fifths of BAG with the recipe `ensemble`'s architecture, batch, learning
rate and number of epochs: 7 members on bootstrap draws, 4 layers of 200, learned bounds of the variance. Both are
stopped and their elites chosen on the same held-out blocks, and scored on the last fifth: root mean square error of the
elites' mean, of rates of change as shares of the outputs' limits. Each training runs in a process of its own, ours and
the peer's in turn; the time is that of the training loop alone, from the first batch to the last evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"
RECORDINGS = ROOT.parent / "shared" / "data" / "bags"
SPLIT = 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bag", type=Path, default=RECORDINGS / "genesis_fast_lap")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--train", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.train:
        print(json.dumps(train_ours(options) if options.train == "ours" else train_peer(options)))
        return
    peer_python = os.environ.get("MBRL_PEERS_PYTHON")
    if not peer_python or not options.bag.exists():
        print(f"skipped: needs the recording {options.bag} (--bag), and MBRL_PEERS_PYTHON with mbrl-lib")
        return
    with tempfile.TemporaryDirectory() as folder:
        options.data = Path(folder, "steps.npz")
        runs = [
            (one(sys.executable, "ours", options), one(peer_python, "peer", options)) for _ in range(options.rounds)
        ]
    for ours, peer in runs:
        for name, run in (("ours", ours), ("mbrl-lib", peer)):
            print(f"{name:10}{run['ms']:8.0f} ms, score {run['score']:.4f}")
    ratios = [peer["ms"] / ours["ms"] for ours, peer in runs]
    ratio = statistics.median(ratios)
    print(f"mbrl-lib takes {ratio:.2f} times as long ({min(ratios):.2f} to {max(ratios):.2f})")
    if options.json:
        row = {
            "benchmark": f"probabilistic ensemble, {options.epochs} epochs, {options.threads} threads",
            "peer": "mbrl-lib 0.2.0",
            "ratio": ratio,
            "ours_ms": statistics.median(ours["ms"] for ours, _ in runs),
            "peer_ms": statistics.median(peer["ms"] for _, peer in runs),
            "spread": max(ratios) - min(ratios),
            "ours_score": statistics.median(ours["score"] for ours, _ in runs),
            "peer_score": statistics.median(peer["score"] for _, peer in runs),
        }
        options.json.write_text(json.dumps([row], indent=1))


def one(python: str, which: str, options: argparse.Namespace) -> dict[str, float]:
    """A training in a process of its own."""
    command = [python, __file__, "--bag", str(options.bag), "--train", which, "--data", str(options.data)]
    command += ["--epochs", str(options.epochs), "--threads", str(options.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def train_ours(options: argparse.Namespace) -> dict[str, float]:
    """Train as `mbrl train` does, and leave the steps to learn from for the peer."""
    from mbrl_ros.core.config import read_settings
    from mbrl_ros.data import read_drive
    from mbrl_ros.learning.driving import find_stretches, guard_for
    from mbrl_ros.learning.examples import examples_for, scaling_of
    from mbrl_ros.learning.objective import SingleStep
    from mbrl_ros.learning.recipe import Recipe
    from mbrl_ros.learning.trainer import Trainer
    from mbrl_ros.models.learned import Base, Config, LearnedModel, Network, build_base

    recipe = read_settings(CONFIG / "training" / "ensemble.yaml", Recipe)
    assert recipe.network is not None
    settings = recipe.training.model_copy(
        update={"epochs": options.epochs, "patience": options.epochs, "mirror": False}
    )
    drive = read_drive(options.bag, mean_commands=True)
    border = drive.start_s + SPLIT * (drive.end_s - drive.start_s)
    parts = [drive.between(-np.inf, border)], [drive.between(border, np.inf)]
    network = Network(**recipe.network.model_dump(exclude={"headroom", "least_grip_mps2", "elites"}))
    learned, scored = (find_stretches(part, torch.zeros(2), network.history_s, settings) for part in parts)
    base = Base("inertia", "acceleration", delay_s=(0.0, 0.0))
    guard = guard_for(learned.sample(), drive.dt, recipe.network)
    config = Config(drive.dt, drive.reference_point, base, network, guard)

    def untrained(mean: torch.Tensor, std: torch.Tensor) -> LearnedModel:
        torch.manual_seed(settings.seed)
        return LearnedModel(build_base(config, {}), config, mean, std)

    model = untrained(torch.zeros(0), torch.zeros(0)).double()
    model = untrained(*(value.double() for value in scaling_of(model, learned.sample(), False))).double()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        examples, test = (examples_for(model, stretches, settings, work) for stretches in (learned, scored))
        model = model.float()
        if not options.data.exists():
            rows = {"train": examples, "test": test}
            steps = {f"{name}_{k}": v for name, e in rows.items() for k, v in _steps(model, e).items()}
            np.savez(options.data, held_out=examples.held_out[0].numpy(), **steps)
        trainer = Trainer(model, SingleStep(examples), settings, work, "benchmark")
        begun = time.perf_counter()
        trainer.run()
        seconds = time.perf_counter() - begun
    elites = trainer.errors.argsort()[: recipe.network.elites]
    steps = {k: torch.from_numpy(v) for k, v in np.load(options.data).items()}
    with torch.no_grad():
        output, _ = model._network(steps["test_inputs"][None], torch.zeros(0))
        mean = torch.tanh(output[elites, :, :3]).mean(dim=0)
    return {"ms": 1e3 * seconds, "score": _score(mean, steps["test_targets"])}


def _steps(model: LearnedModel, examples: Examples) -> dict[str, np.ndarray]:  # noqa: F821
    """Inputs and targets of a step as the network sees them."""
    car, action = examples.car[0], examples.applied[0, :, 0]
    with torch.no_grad():
        inputs = model._normalised(model.seen(car, action))
        lacking = (examples.driven[0, :, 0] - model.base(car, action))[:, 3:6]
    return {"inputs": inputs.numpy(), "targets": (lacking / (model.held_s * model.limits)).numpy()}


def train_peer(options: argparse.Namespace) -> dict[str, float]:
    """Train mbrl-lib's ensemble on the same steps."""
    import mbrl.models
    from mbrl.types import TransitionBatch
    from mbrl.util.replay_buffer import BootstrapIterator, TransitionIterator

    torch.manual_seed(0)
    steps = np.load(options.data)
    inputs, targets, held_out = steps["train_inputs"], steps["train_targets"], steps["held_out"]

    def batch(rows: np.ndarray) -> TransitionBatch:
        none = np.zeros(int(rows.sum()))
        return TransitionBatch(inputs[rows][:, :3], inputs[rows][:, 3:], targets[rows], none, none > 0, none > 0)

    silu = {"_target_": "torch.nn.SiLU"}
    mlp = mbrl.models.GaussianMLP(
        7, 3, "cpu", num_layers=4, ensemble_size=7, hid_size=200, learn_logvar_bounds=True, activation_fn_cfg=silu
    )
    model = mbrl.models.OneDTransitionRewardModel(mlp, target_is_delta=False, learned_rewards=False, num_elites=5)
    trainer = mbrl.models.ModelTrainer(model, optim_lr=1e-3, weight_decay=5e-5)
    rng = np.random.default_rng(0)
    learned = BootstrapIterator(batch(~held_out), 256, 7, shuffle_each_epoch=True, permute_indices=False, rng=rng)
    stopping = TransitionIterator(batch(held_out), 256)
    begun = time.perf_counter()
    trainer.train(learned, stopping, num_epochs=options.epochs, silent=True)
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        mean, _ = mlp(torch.from_numpy(steps["test_inputs"]), use_propagation=False)
    elites = list(mlp.elite_models)
    return {"ms": 1e3 * seconds, "score": _score(mean[elites].mean(dim=0), torch.from_numpy(steps["test_targets"]))}


def _score(mean: torch.Tensor, targets: torch.Tensor) -> float:
    return float((mean - targets).square().sum(dim=-1).mean().sqrt())


if __name__ == "__main__":
    main()
