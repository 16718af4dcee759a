"""From knots to the offset of each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Course:
    """How offsets run: linearly, through what is settled and then through the knots of a sequence.

    Args:
        passed: [P, A] offsets at the present and at the root.
        shares: [H, P + D] of what is settled and of the knots in each step's offset.
    """

    passed: np.ndarray
    shares: np.ndarray

    @classmethod
    def through(cls, passed_s: np.ndarray, passed: np.ndarray, knots_s: np.ndarray, steps_s: np.ndarray) -> Course:
        """Offsets ``passed`` [P, A] at ``passed_s`` [P] and knots at ``knots_s`` [D], read at ``steps_s`` [H]."""
        times = np.concatenate([passed_s, knots_s])
        return cls(passed, np.stack([np.interp(steps_s, times, one) for one in np.eye(len(times))], axis=1))

    def offsets(self, knots: np.ndarray) -> torch.Tensor:
        """[N, H, A] offsets through ``knots`` [N, D, A]; lies as [H, A, N]."""
        sequences = np.concatenate([np.broadcast_to(self.passed, (len(knots), *self.passed.shape)), knots], axis=1)
        count, depth, actions = sequences.shape
        steps = self.shares @ sequences.transpose(1, 2, 0).reshape(depth, -1)
        return torch.from_numpy(steps.reshape(-1, actions, count).astype(np.float32)).permute(2, 0, 1)
