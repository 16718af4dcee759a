"""Several guesses for a problem, optimised in one batch: which valley is found depends on where one begins."""

from __future__ import annotations

import torch

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.planning.ddp.solution import Solution
from mbrl_ros.planning.ddp.solver import DDP


def scattered(actions: torch.Tensor, spread: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """[G, B, N, A] guesses: ``actions`` themselves first, then with white noise added.

    Args:
        actions: [B, N, A].
        spread: [A] standard deviation of the noise; about half of what an action may be.
        count: G, of guesses, at least 1.
        generator: of the noise.

    Raises:
        LayoutError: ``spread`` does not fit the actions, or there is no guess.
    """
    if spread.shape != actions.shape[-1:] or count < 1:
        raise LayoutError(
            f"a spread of shape {tuple(spread.shape)} and {count} guesses for actions of {tuple(actions.shape)}; "
            f"wanted are ({actions.shape[-1]},) and at least 1"
        )
    noise = torch.randn(count, *actions.shape, dtype=actions.dtype, device=actions.device, generator=generator)
    noise[0] = 0.0
    return actions + spread * noise


_KEPT = 1e-3
"""A constraint that is violated by less is kept, in its own unit."""


def solve_from_several(solver: DDP, start: torch.Tensor, guesses: torch.Tensor) -> Solution:
    """The best solution of each problem, of those that the ``guesses`` lead to; all are solved at once.

    Costs as many optimisations as there are guesses. Best is the lowest cost, without penalties, among trajectories
    that are finite and keep the constraints.

    Args:
        solver: of B times G problems, where it is compiled.
        start: [B, S].
        guesses: [G, B, N, A] actions to begin with.

    Raises:
        LayoutError: shapes do not fit.
    """
    if guesses.ndim != 4 or guesses.shape[1] != len(start):
        raise LayoutError(f"guesses have shape {tuple(guesses.shape)}, expected [G, {len(start)}, N, A]")
    found = solver.solve(start.repeat(len(guesses), 1), guesses.flatten(0, 1))
    kept = found.violation <= _KEPT
    # NaN is not good either; where no guess keeps the constraints, the one that violates them least is best.
    cost = torch.where(kept & (found.cost < torch.inf), found.cost, torch.inf).view(len(guesses), len(start))
    violation = torch.where(found.cost < torch.inf, found.violation, torch.inf).view_as(cost)
    best = torch.where(kept.view_as(cost).any(dim=0), cost.argmin(dim=0), violation.argmin(dim=0))
    return found.rows(best * len(start) + torch.arange(len(start), device=start.device))
