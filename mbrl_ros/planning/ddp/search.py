"""The line search: which step size is taken."""

from __future__ import annotations

import torch


def line_search(
    changes: torch.Tensor,
    sizes: torch.Tensor,
    linear: torch.Tensor,
    quadratic: torch.Tensor,
    weighted_gap: torch.Tensor,
    cost: torch.Tensor,
    acceptance: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """[B] the best of the step sizes whose merit, cost plus weighted gaps, falls by a share of what was expected.

    Args:
        changes: [L, B] of cost.
        sizes: [L].
        linear: [B] of the expected change of cost, ``a linear + a^2 / 2 quadratic``.
        quadratic: [B].
        weighted_gap: [B] merit of the gaps, of which a step closes the share a.
        cost: [B] before; says how exact changes are.
        acceptance: share that is asked for.

    Returns:
        Its number, and its size, 0 where none is acceptable.
    """
    a = sizes[:, None]
    expected = a * linear + a**2 / 2 * quadratic - a * weighted_gap
    change = changes - a * weighted_gap
    rounding = 10 * torch.finfo(cost.dtype).eps * cost.abs()
    acceptable = (expected < 0) & (change <= acceptance * expected + rounding)
    change = torch.where(acceptable, change, torch.full_like(change, torch.inf))
    best = change.argmin(dim=0)
    return best, torch.where(acceptable.any(dim=0), sizes[best], torch.zeros_like(cost))
