"""`mbrl improve` with several seeds: lap times by way of modelling at full grip, right after a drop, and at the end.

    tools/run.sh python benchmarks/improve_seeds.py --seed 0 --seed 1 --seed 2 --json runs/improve.json
        [--arm NAME] [--rounds 4] [--recoveries 2] [--minutes 60] [--picture runs/improve.png]

Every seed has a folder of its own in --out, with all that `mbrl improve` leaves; the same command goes on where it was
stopped or where --minutes, of wall time for each seed, were over. With the target: the fastest lap at full grip is
faster with semi-parametric models than with single-track ones, and with those faster than with kinematic ones, with
every seed, and no drive at full grip leaves the track. Exits are those of all drives so far with as much grip.
--picture shows all seeds' rounds, and their means.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from mbrl_ros.bringup.improvement import ARMS
from mbrl_ros.cli.figures import shown, write_figures
from mbrl_ros.cli.improve import improve
from mbrl_ros.evaluation.improvement_pictures import Curve, over_seeds
from mbrl_ros.evaluation.picture_style import save_png

FASTEST_FIRST = ("semi-parametric", "single-track", "kinematic")
Rounds = list[dict[str, Any]]


def driven(folder: Path, seed: int, chosen: argparse.Namespace) -> Rounds:
    """Every round with this seed, as `mbrl improve --json` writes it."""
    figures = folder / f"seed_{seed}.json"
    try:
        improve(
            folder / f"seed_{seed}",
            arm=chosen.arm,
            rounds=chosen.rounds,
            recoveries=chosen.recoveries,
            laps=chosen.laps,
            seed=seed,
            minutes=chosen.minutes,
            json_file=figures,
        )
    except typer.Exit:
        print(f"seed {seed}: not every drive completed its laps, or the time was over")
    rounds: Rounds = json.loads(figures.read_text(encoding="utf-8"))
    return rounds


def fastest(done: dict[str, Any]) -> float:
    """Fastest lap of a round [s]; nan where none was completed."""
    return min(done["lap_times_s"], default=math.nan)


def stages(rounds: Rounds) -> dict[str, dict[str, Any]]:
    """The rounds that are compared, by name: the fastest at full grip, the first after the drop, and the last of all.

    At full grip the rounds feel their way to a limit, from below and from above; as in a race's practice the fastest
    lap counts, one that left the track does not.
    """
    full = [done for done in rounds if done["friction"] == 1.0 and done["lap_times_s"] and not done["exits"]]
    dropped = [done for done in rounds if done["friction"] < 1.0]
    named = {"full grip": sorted(full, key=fastest)[:1], "after the drop": dropped[:1], "recovered": dropped[1:][-1:]}
    return {name: found[0] for name, found in named.items() if found}


def exits_until(rounds: Rounds, last: dict[str, Any] | None) -> int:
    """Times that the arm of ``last`` left the track with as much grip, on less grip up to that round; 0 for None."""
    if last is None:
        return 0
    same = [done for done in rounds if (done["arm"], done["friction"]) == (last["arm"], last["friction"])]
    return sum(done["exits"] for done in same if last["friction"] == 1.0 or done["number"] <= last["number"])


def curves(rounds: Rounds) -> list[Curve]:
    """Of one seed, an arm each."""
    names = dict.fromkeys(done["arm"] for done in rounds)
    arms = {name: [done for done in rounds if done["arm"] == name] for name in names}
    return [
        Curve(
            name,
            [fastest(done) for done in mine],
            [done["error_m"] for done in mine],
            [done["limit_mps2"] for done in mine],
            [done["exits"] for done in mine],
        )
        for name, mine in arms.items()
    ]


def ordered(laps_s: Sequence[float]) -> bool:
    """Whether each lap time is less than the next; not where one is missing."""
    return all(mine < following for mine, following in itertools.pairwise(laps_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/improve"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--arm", action="append", choices=[arm.name for arm in ARMS])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--recoveries", type=int, default=2)
    parser.add_argument("--laps", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    seeds = chosen.seed or [0]
    by_seed = {seed: driven(chosen.out, seed, chosen) for seed in seeds}
    names = [arm.name for arm in ARMS if arm.name in (chosen.arm or [arm.name])]
    compared = {
        name: {seed: stages([done for done in rounds if done["arm"] == name]) for seed, rounds in by_seed.items()}
        for name in names
    }
    print(f"fastest lap in s, by seed ({', '.join(map(str, seeds))}); model error after 1 s in m, exits so far")
    for name in names:
        for stage in ("full grip", "after the drop", "recovered"):
            reached = [compared[name][seed][stage] for seed in seeds if stage in compared[name][seed]]
            laps_s = [fastest(done) for done in reached]
            mean = shown(float(np.mean(laps_s)) if laps_s else math.nan, 2)
            error = shown(float(np.mean([done["error_m"] for done in reached])) if reached else math.nan, 3)
            exits = sum(exits_until(rounds, compared[name][seed].get(stage)) for seed, rounds in by_seed.items())
            each = " ".join(shown(lap, 2) for lap in laps_s)
            print(f"{name:16s} {stage:15s} {mean:>6s}   {each:24s} error {error}, {exits} exits")
    if set(FASTEST_FIRST) <= set(names):
        complete = [seed for seed in seeds if all("full grip" in compared[name][seed] for name in FASTEST_FIRST)]
        won = [ordered([fastest(compared[name][seed]["full grip"]) for name in FASTEST_FIRST]) for seed in complete]
        print(f"{' < '.join(FASTEST_FIRST)}: {sum(won)} of {len(won)} seeds")
    write_figures(chosen.json, {str(seed): rounds for seed, rounds in by_seed.items()})
    if chosen.picture is not None:
        grip = {done["number"]: done["friction"] for rounds in by_seed.values() for done in rounds}
        drawn = [curve for rounds in by_seed.values() for curve in curves(rounds)]
        save_png(over_seeds(drawn, [grip[number] for number in sorted(grip)]), chosen.picture)


if __name__ == "__main__":
    main()
