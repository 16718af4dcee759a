"""What an optimisation found, how it went, and why it stopped."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

RUNNING, CONVERGED, ITERATION_LIMIT, REGULARISATION_LIMIT, NON_FINITE_START = range(5)
REASONS = ("running", "converged", "iteration limit", "regularisation limit", "non-finite start")
"""Why an optimisation stopped, by the numbers above."""


@dataclass(frozen=True)
class Iteration:
    """One pass over all problems; those that had stopped before repeat their last figures.

    Args:
        cost: [B] after it.
        expected: [B] change of merit that the step promised; 0 where no step was tried.
        step_size: [B] accepted, 0 for none.
        mu: [B] regularisation that it used.
        gap: [B] sum of the gaps' absolute entries, after it.
        positive: [B] bool: the backward pass went through.
        running: [B] bool: the problem took part.
        states: [B, N + 1, S] after it; None unless wanted.
    """

    cost: torch.Tensor
    expected: torch.Tensor
    step_size: torch.Tensor
    mu: torch.Tensor
    gap: torch.Tensor
    positive: torch.Tensor
    running: torch.Tensor
    states: torch.Tensor | None = None

    def rows(self, chosen: torch.Tensor) -> Iteration:
        """Of the problems ``chosen`` [C], by number."""
        return replace(self, **{name: tensor[chosen] for name, tensor in vars(self).items() if tensor is not None})


@dataclass(frozen=True)
class Solution:
    """What an optimisation found.

    Args:
        states: [B, N + 1, S].
        actions: [B, N, A], inside of the limits.
        gains: [B, N, A, S] feedback K around it: ``u = u_k + K (x - x_k)``; those that it began with,
            or zero, where no backward pass went through.
        transitions: [B, N, S, S] derivatives of next states by states where the last backward pass began, zero without.
        first_cost: [B] that the optimisation began with, penalties included.
        cost: [B] without penalties.
        iterations: [B] line searches made.
        reason: [B] index into REASONS.
        gap: [B] sum of the gaps' absolute entries; 0 for a trajectory that the dynamics can follow.
        violation: [B] largest violation of a constraint; 0 without.
        log: one entry per pass.
    """

    states: torch.Tensor
    actions: torch.Tensor
    gains: torch.Tensor
    transitions: torch.Tensor
    first_cost: torch.Tensor
    cost: torch.Tensor
    iterations: torch.Tensor
    reason: torch.Tensor
    gap: torch.Tensor
    violation: torch.Tensor
    log: list[Iteration] = field(default_factory=list)

    @property
    def reasons(self) -> list[str]:
        """Why each problem stopped."""
        return [REASONS[int(code)] for code in self.reason]

    def rows(self, chosen: torch.Tensor) -> Solution:
        """Of the problems ``chosen`` [C], by number."""
        tensors = {name: tensor[chosen] for name, tensor in vars(self).items() if name != "log"}
        return replace(self, **tensors, log=[entry.rows(chosen) for entry in self.log])
