"""What is learned: a decision process whose equations are known."""

from __future__ import annotations

from typing import Protocol

import torch


class Problem(Protocol):
    """A batched decision process with continuous actions.

    Attributes:
        action_low, action_high: bounds of the A entries of an action.
        observed: O, entries of an observation.
        discount: of rewards, by step.
        steps: after which an episode is cut off; the value beyond is still counted on.
        reward_scale: makes rewards of about one.
    """

    @property
    def action_low(self) -> tuple[float, ...]: ...

    @property
    def action_high(self) -> tuple[float, ...]: ...

    @property
    def observed(self) -> int: ...

    @property
    def discount(self) -> float: ...

    @property
    def steps(self) -> int: ...

    @property
    def reward_scale(self) -> float: ...

    def reset(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """[count, S] states that episodes begin in."""
        ...

    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """[B, S] -> [B, O] what policy and value see."""
        ...

    def step(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, S], [B, A] -> next states [B, S], rewards [B], and whether the episode has ended [B]."""
        ...
