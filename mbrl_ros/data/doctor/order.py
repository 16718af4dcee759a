"""Which stamps are out of order: the fewest that have to go for the rest to rise."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np


def in_order(stamp_ns: np.ndarray, among: np.ndarray) -> np.ndarray:
    """[N] bool: the longest strictly rising subsequence of ``stamp_ns`` [N] among the rows ``among`` [N].

    One stamp that leaps ahead costs itself and not everything after it (patience sorting, Fredman 1975). Where there
    is a choice the earlier message stays; the search therefore runs from the end.
    """
    ends: list[int] = []  # least negative first stamp of a rising subsequence, by its length
    first: list[int] = []  # its row
    after = np.full(len(stamp_ns), -1)
    for row in np.flatnonzero(among)[::-1].tolist():
        stamp = -int(stamp_ns[row])
        place = bisect_left(ends, stamp)
        after[row] = first[place - 1] if place else -1
        ends[place : place + 1] = [stamp]
        first[place : place + 1] = [row]
    kept = np.zeros(len(stamp_ns), dtype=bool)
    row = first[-1] if first else -1
    while row >= 0:
        kept[row] = True
        row = int(after[row])
    return kept
