"""What is learned to act in: a decision process."""

from __future__ import annotations

from typing import Protocol

import torch


class Problem(Protocol):
    """A batched decision process with continuous actions."""

    @property
    def action_low(self) -> tuple[float, ...]:
        """Least that each of the A entries of an action may be."""
        ...

    @property
    def action_high(self) -> tuple[float, ...]:
        """Most."""
        ...

    @property
    def observed(self) -> int:
        """O, entries of an observation."""
        ...

    @property
    def discount(self) -> float:
        """Of rewards, by step."""
        ...

    @property
    def steps(self) -> int:
        """After which an episode is cut off; the value beyond is still counted on."""
        ...

    @property
    def reward_scale(self) -> float:
        """Makes rewards of about one."""
        ...

    def reset(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """[count, S] states that episodes begin in."""
        ...

    def observe(self, state: torch.Tensor) -> torch.Tensor:
        """[B, S] -> [B, O] what policy and value see."""
        ...

    def step(self, state: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, S], [B, A] -> next states [B, S], rewards [B], and whether the episode has ended [B]."""
        ...
