"""Whether what was heard last may still be acted on."""

from __future__ import annotations

ROUNDING_S = 1e-6
"""Two ways to compute one instant differ by less [s]."""


def fresh(age_s: float, receipt_age_s: float, oldest_s: float, ahead_s: float) -> bool:
    """Whether a message is neither too old nor, where time was set back, of no time that there is.

    Args:
        age_s: since its stamp [s].
        receipt_age_s: since it was received [s].
        oldest_s: longest that either may be [s].
        ahead_s: by how much clocks may differ [s].
    """
    least_s = -(ahead_s + ROUNDING_S)
    return least_s <= age_s <= oldest_s and least_s <= receipt_age_s <= oldest_s
