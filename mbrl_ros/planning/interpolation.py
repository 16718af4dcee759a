"""Sequences read between their steps."""

from __future__ import annotations

import torch


def read_at(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """[P, ...] ``rows`` [N, ...] at fractional ``places`` [P], interpolated, the first and the last held outside."""
    held = places.double().clamp(0, len(rows) - 1)
    before = held.floor().long()
    after = (before + 1).clamp(max=len(rows) - 1)
    share = (held - before).to(rows.dtype).view(-1, *[1] * (rows.ndim - 1))
    return rows[before] + share * (rows[after] - rows[before])
