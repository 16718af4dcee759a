"""Lateral tyre force: Pacejka's magic formula."""

from __future__ import annotations

import torch


def magic_formula(
    slip: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor, e: torch.Tensor | None
) -> torch.Tensor:
    """``D sin(C atan(B a - E (B a - atan(B a))))`` (Pacejka 2012, eq. 1.6), positive for positive slip.

    Args:
        slip: [...] slip angle ``a`` [rad].
        b: stiffness factor B [1/rad]; the slope at the origin is B C D.
        c: shape factor C.
        d: peak D, in the unit of the result.
        e: curvature factor E <= 1; None is zero and saves an arctangent.
    """
    reduced = b * slip
    if e is not None:
        reduced = reduced - e * (reduced - torch.atan(reduced))
    return d * torch.sin(c * torch.atan(reduced))
