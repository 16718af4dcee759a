"""Differential dynamic programming: one concept per file, put together in `solver`.

`problem` says what is optimised, `derivatives` expand it, `backward` finds the policy (with `box_qp` where actions are
limited), `forward` tries it at all step sizes at once, `regularisation` says how careful to be; `several`
begins at several guesses at once.
"""

from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.several import scattered, solve_from_several
from mbrl_ros.planning.ddp.solution import REASONS, Iteration, Solution
from mbrl_ros.planning.ddp.solver import DDP, DDPSettings

__all__ = [
    "DDP",
    "REASONS",
    "DDPSettings",
    "Iteration",
    "OptimalControlProblem",
    "Solution",
    "scattered",
    "solve_from_several",
]
