"""The computations of an iteration, as plain torch."""

from __future__ import annotations

import torch

from mbrl_ros.planning.ddp.backward import Policy, backward_pass
from mbrl_ros.planning.ddp.derivatives import Expansion, expand
from mbrl_ros.planning.ddp.forward import Candidates, expected_change, forward_pass
from mbrl_ros.planning.ddp.problem import OptimalControlProblem

Limits = tuple[torch.Tensor, torch.Tensor]


class Passes:
    """Derivatives, backward and forward pass of a problem; time first in all shapes.

    Args:
        problem: what is optimised.
        second_order: DDP, or iLQR.
    """

    def __init__(self, problem: OptimalControlProblem, second_order: bool) -> None:
        self.problem, self.second_order = problem, second_order

    def constraint_count(self, state: torch.Tensor, action: torch.Tensor) -> int:
        """C, found by asking the constraints about ``state`` [B, S] and ``action`` [B, A]."""
        return 0 if self.problem.constraints is None else self.problem.constraints(state, action, state).shape[-1]

    def expand(
        self, states: torch.Tensor, actions: torch.Tensor, multipliers: torch.Tensor, penalty: torch.Tensor
    ) -> Expansion:
        """See `derivatives.expand`."""
        return expand(self.problem, states, actions, multipliers, penalty, self.second_order)

    def backward(
        self,
        expansion: Expansion,
        gaps: torch.Tensor,
        regularisation: torch.Tensor,
        limits: Limits | None,
    ) -> Policy:
        """See `backward.backward_pass`."""
        return backward_pass(expansion, gaps, regularisation, limits)

    def forward(
        self,
        states: torch.Tensor,
        actions: torch.Tensor,
        gaps: torch.Tensor,
        policy: Policy,
        step_sizes: torch.Tensor,
        multipliers: torch.Tensor,
        penalty: torch.Tensor,
        limits: Limits | None,
    ) -> Candidates:
        """See `forward.forward_pass`."""
        return forward_pass(self.problem, states, actions, gaps, policy, step_sizes, multipliers, penalty, limits)

    def expected_change(
        self, expansion: Expansion, gaps: torch.Tensor, policy: Policy
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `forward.expected_change`."""
        return expected_change(expansion, gaps, policy)
