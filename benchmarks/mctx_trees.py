"""Our tree search beside mctx 0.0.71: visits and values node by node on random trees, and simulations per second.

    python benchmarks/mctx_trees.py [--json FILE] [--write FOLDER]

mctx and jax are no dependencies of the package: pip install mctx==0.0.71 jax into an environment of your own, and name
its Python in MBRL_PEERS_PYTHON; without it this benchmark says so and ends. --write renews the trees that the tests
compare with (test/planning/mcts/golden).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mbrl_ros.core.files import write_whole
from mbrl_ros.planning.mcts import Leaf, SearchSettings, Transition, Tree, search

PEER = """
import sys, json, time
import numpy as np, jax, jax.numpy as jnp, mctx
tables = np.load(sys.argv[1])
simulations, max_depth = int(tables["simulations"]), int(tables["max_depth"]) or None
names = "follow", "reward", "discount", "logits", "value"
follow, reward, discount, logits, value = (jnp.asarray(tables[name]) for name in names)
def step(params, key, action, state):
    after = follow[state, action]
    out = mctx.RecurrentFnOutput(reward=reward[state, action], discount=discount[state, action],
                                 prior_logits=logits[after], value=value[after])
    return out, after
def run(key):
    start = jnp.asarray(tables["start"])
    root = mctx.RootFnOutput(prior_logits=logits[start], value=value[start], embedding=start)
    return mctx.muzero_policy(params=(), rng_key=key, root=root, recurrent_fn=step, num_simulations=simulations,
                              max_depth=max_depth, dirichlet_fraction=0.0)
run = jax.jit(run)
tree = run(jax.random.PRNGKey(0)).search_tree
jax.block_until_ready(tree.node_values)
times = []
for k in range(int(sys.argv[3])):
    begun = time.perf_counter()
    jax.block_until_ready(run(jax.random.PRNGKey(k)).search_tree.node_values)
    times.append(time.perf_counter() - begun)
q = tree.children_rewards + tree.children_discounts * tree.children_values
np.savez(sys.argv[2], visits=np.asarray(tree.children_visits), q=np.asarray(q), nodes=np.asarray(tree.node_visits),
         times=np.array(times))
"""


@dataclass(frozen=True)
class Case:
    """One batch of random trees.

    Args:
        name: of its file.
        batch, states, candidates, simulations: how large.
        max_depth: 0 for none.
        ending: share of transitions that end the episode.
    """

    name: str
    batch: int
    states: int
    candidates: int
    simulations: int
    max_depth: int = 0
    ending: float = 0.0


CASES = (
    Case("wide", batch=6, states=97, candidates=7, simulations=60),
    Case("deep", batch=6, states=211, candidates=2, simulations=60),
    Case("shallow", batch=6, states=50, candidates=3, simulations=40, max_depth=3),
    Case("ending", batch=6, states=50, candidates=4, simulations=50, ending=0.2),
)
LARGE = Case("large", batch=256, states=1009, candidates=6, simulations=50)
REPEATS = 10


def tables_of(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """A random deterministic decision process, and where searches start in it."""
    rng = np.random.default_rng(seed)
    shape = (case.states, case.candidates)
    ends = rng.random(shape) < case.ending
    return {
        "follow": rng.integers(case.states, size=shape),
        "reward": rng.normal(size=shape).astype(np.float32),
        "discount": np.where(ends, 0.0, rng.uniform(0.8, 1.0, size=shape)).astype(np.float32),
        "logits": rng.normal(size=shape).astype(np.float32),
        "value": rng.normal(size=case.states).astype(np.float32),
        "start": rng.integers(case.states, size=case.batch),
        "simulations": np.array(case.simulations),
        "max_depth": np.array(case.max_depth),
    }


def ours(tables: dict[str, np.ndarray]) -> Tree:
    """Our search of the same process."""
    t = {name: torch.from_numpy(np.asarray(values)) for name, values in tables.items()}
    candidates = torch.arange(t["follow"].shape[1], dtype=torch.float32)[:, None]

    def leaf(state: torch.Tensor) -> Leaf:
        actions = candidates.expand(len(state), -1, -1)
        return Leaf(state[:, None].float(), t["value"][state], t["logits"][state], actions)

    def expand(states: torch.Tensor, actions: torch.Tensor) -> Transition:
        rows = states[:, 0].long(), actions[:, 0].long()
        return Transition(t["reward"][rows], t["discount"][rows], leaf(t["follow"][rows]))

    settings = SearchSettings(int(t["simulations"]), max_depth=int(t["max_depth"]) or None)
    return search(leaf(t["start"]), expand, settings, torch.Generator().manual_seed(0))


def theirs(tables: dict[str, np.ndarray], python: str, repeats: int) -> dict[str, np.ndarray]:
    """mctx's search of the same process, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder, "given.npz"), Path(folder, "result.npz")
        np.savez(given, **tables)
        # jax needs none of the paths that ROS 2 sets.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
        command = [python, "-c", PEER, str(given), str(result), str(repeats)]
        subprocess.run(command, check=True, env={**environment, "JAX_PLATFORMS": "cpu"})
        with np.load(result) as arrays:
            peer = dict(arrays)
    # mctx numbers nodes by simulation and leaves out those of simulations that found none; ours have no gaps.
    order = np.argsort(peer["nodes"] == 0, axis=1, kind="stable")[..., None]
    return {**peer, **{name: np.take_along_axis(peer[name], order, axis=1) for name in ("visits", "q")}}


def difference(tree: Tree, peer: dict[str, np.ndarray]) -> tuple[int, float]:
    """Edges whose visits differ, and the largest difference of the Q of a visited edge."""
    visits = tree.child_visits.numpy()
    seen = (visits > 0) & (peer["visits"] > 0)
    return int((visits != peer["visits"]).sum()), float(np.abs(tree.child_q.numpy() - peer["q"])[seen].max())


def main() -> None:
    """Compare, time, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write a list of ratios here")
    parser.add_argument("--write", type=Path, help="folder for the trees that tests compare with")
    arguments = parser.parse_args()
    python = os.environ.get("MBRL_PEERS_PYTHON")
    if not python:
        print("MBRL_PEERS_PYTHON names no Python that has mctx and jax: nothing to compare with")
        return
    for case in CASES:
        tables = tables_of(case)
        peer = theirs(tables, python, 0)
        edges, worst = difference(ours(tables), peer)
        print(f"{case.name}: {edges} edges with other visits, largest |dQ| {worst:.1e}")
        if arguments.write:
            arguments.write.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(
                arguments.write / f"{case.name}.npz", **tables, peer_visits=peer["visits"], peer_q=peer["q"]
            )
        if edges or worst > 1e-5:
            sys.exit(f"{case.name}: not the same search")
    tables = tables_of(LARGE)
    torch.set_num_threads(1)  # operations this small only wait for each other on more
    mine = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        ours(tables)
        mine.append(1e3 * (time.perf_counter() - begun))
    peer_ms = 1e3 * theirs(tables, python, REPEATS)["times"]
    ours_ms = float(np.median(mine))
    ratio = float(np.median(peer_ms)) / ours_ms
    print(f"{LARGE.batch} trees x {LARGE.simulations}: ours {ours_ms:.1f} ms, mctx {np.median(peer_ms):.1f} ms")
    if arguments.json:
        spread = float(np.subtract(*np.percentile(mine, [75, 25])) / ours_ms)
        row = {"benchmark": "mcts", "peer": "mctx 0.0.71", "ratio": ratio, "ours_ms": ours_ms}
        write_whole(
            arguments.json, json.dumps([{**row, "peer_ms": float(np.median(peer_ms)), "spread": spread}]) + "\n"
        )


if __name__ == "__main__":
    main()
