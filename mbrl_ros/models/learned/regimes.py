"""In which regime a car is, told from what physics gets wrong of each step in every one of them."""

from __future__ import annotations

import torch

SPAN_S = 0.2
"""Over which what physics gets wrong is averaged: within it the errors are of one cause [s]."""

_LASTS_S = 20.0  # of a regime, on average
_FREEDOM = 4.0  # of Student's t: errors are mostly usual, and now and then a sensor's jump
_FARTHEST = 1e6  # standard deviations: single precision has a square of it


def averaged(surprise: torch.Tensor, dt: float) -> torch.Tensor:
    """[..., C, E] means of ``surprise`` [..., P, E] over spans of `SPAN_S`; the oldest rows that fill none are left."""
    rows = max(1, round(SPAN_S / dt))
    spans = surprise.shape[-2] // rows
    newest = surprise[..., surprise.shape[-2] - spans * rows :, :]
    return newest.unflatten(-2, (spans, rows)).mean(dim=-2)


def belief(surprise: torch.Tensor) -> torch.Tensor:
    """[N, R] probability of each regime after C spans of driving, all alike before; sums to 1.

    The recursion of the modes' probabilities in a filter of interacting models (Blom and Bar-Shalom 1988, eq. 9 and
    15): a regime lasts for 20 s on average, and the errors of the right one have Student's t distribution with four
    degrees of freedom, so that one jump of a sensor decides nothing. What was believed thereby lasts through driving
    that tells nothing, as far back as ``surprise`` reaches, and a change is believed within a bend.

    Args:
        surprise: [R, N, C, E] `averaged` errors in each regime, as shares of their standard deviations.
    """
    regimes, changes = len(surprise), SPAN_S / _LASTS_S
    square = surprise.clamp(-_FARTHEST, _FARTHEST).square().sum(dim=-1).permute(2, 1, 0)
    evidence = -0.5 * (_FREEDOM + surprise.shape[-1]) * torch.log1p(square / _FREEDOM)
    believed = surprise.new_full((surprise.shape[1], regimes), 1 / regimes)
    for span in evidence.unbind(dim=0):
        kept = (1 - changes) * believed + changes / regimes
        believed = torch.softmax(kept.log() + span, dim=-1)
    return believed
