"""Lateral tyre force: Pacejka's magic formula per unit of axle load."""

from __future__ import annotations

import torch


def lateral_friction(
    slip: torch.Tensor,
    stiffness: torch.Tensor,
    friction: torch.Tensor,
    shape: torch.Tensor,
    curvature: torch.Tensor | None,
) -> torch.Tensor:
    """Lateral force per normal load at a slip angle, positive for positive slip.

    ``mu sin(C atan(B a - E (B a - atan(B a))))`` (Pacejka 2012, eq. 1.6) with ``B = stiffness / (C mu)``: written
    in its slope at the origin ``stiffness = B C mu``, which moderate driving identifies, so that ``mu``, C and E
    govern only the approach to the limit.

    Args:
        slip: [...] slip angle ``a`` [rad].
        stiffness: cornering stiffness per load, ``B C mu`` [1/rad].
        friction: peak ``mu`` (D per load).
        shape: C.
        curvature: E <= 1; None is zero and saves an arctangent.
    """
    reduced = stiffness / (shape * friction) * slip
    if curvature is not None:
        reduced = reduced - curvature * (reduced - torch.atan(reduced))
    return friction * torch.sin(shape * torch.atan(reduced))
