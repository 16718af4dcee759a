"""Algebra of very many very small matrices, as operations on vectors over the batch.

LAPACK and BLAS take microseconds per call; a compiler fuses these instead.
"""

from __future__ import annotations

import torch


def times(a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """[..., I, J] times vectors [..., J] -> [..., I]."""
    return (a * x[..., None, :]).sum(-1)


def transposed_times(a: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The transpose of [..., J, I] times vectors [..., J] -> [..., I]."""
    return (a * x[..., :, None]).sum(-2)


def dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """[...] inner products of [..., I] and [..., I]."""
    return (x * y).sum(-1)


class Cholesky:
    """The factor L of ``L L^T``, entry by entry, and which matrices were positive definite.

    Rows and columns of others hold arbitrary finite numbers: check ``positive`` before use.

    Args:
        matrices: [..., A, A] symmetric; the lower triangle is read.
    """

    def __init__(self, matrices: torch.Tensor) -> None:
        size = matrices.shape[-1]
        self._rows: list[list[torch.Tensor]] = [[] for _ in range(size)]
        self.positive = torch.ones(matrices.shape[:-2], dtype=torch.bool, device=matrices.device)
        smallest = torch.finfo(matrices.dtype).eps
        for i, row in enumerate(self._rows):
            for j in range(i):
                rest = matrices[..., i, j] - _sum_of_products(row, self._rows[j], j)
                row.append(rest / self._rows[j][j])
            pivot = matrices[..., i, i] - _sum_of_products(row, row, i)
            good = pivot > smallest * matrices[..., i, i].abs()  # NaN is not good either
            self.positive = self.positive & good
            row.append(torch.sqrt(torch.where(good, pivot, torch.ones_like(pivot))))

    def solve(self, right: torch.Tensor) -> torch.Tensor:
        """[..., A, R] solutions of ``L L^T X = right``."""
        size = len(self._rows)
        forward: list[torch.Tensor] = []
        for i, row in enumerate(self._rows):
            rest = right[..., i, :]
            for j in range(i):
                rest = rest - row[j][..., None] * forward[j]
            forward.append(rest / row[i][..., None])
        backward: list[torch.Tensor] = [right] * size
        for i in reversed(range(size)):
            rest = forward[i]
            for j in range(i + 1, size):
                rest = rest - self._rows[j][i][..., None] * backward[j]
            backward[i] = rest / self._rows[i][i][..., None]
        return torch.stack(backward, dim=-2)


def _sum_of_products(a: list[torch.Tensor], b: list[torch.Tensor], count: int) -> torch.Tensor | float:
    return sum((a[k] * b[k] for k in range(count)), start=0.0)
