"""Which stamps are out of order: the fewest that have to go for the rest to rise."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np


def in_order(stamp_ns: np.ndarray, among: np.ndarray) -> np.ndarray:
    """[N] bool: the longest strictly rising subsequence of ``stamp_ns`` [N] among the rows ``among`` [N].

    One stamp that leaps ahead costs itself and not everything after it (patience sorting, Fredman 1975). Of equal
    stamps the first stays.
    """
    ends: list[int] = []  # least last stamp of a rising subsequence, by its length
    last: list[int] = []  # its row
    before = np.full(len(stamp_ns), -1)
    for row in np.flatnonzero(among).tolist():
        stamp = int(stamp_ns[row])
        place = bisect_left(ends, stamp)
        if place < len(ends) and ends[place] == stamp:
            continue
        before[row] = last[place - 1] if place else -1
        ends[place : place + 1] = [stamp]
        last[place : place + 1] = [row]
    kept = np.zeros(len(stamp_ns), dtype=bool)
    row = last[-1] if last else -1
    while row >= 0:
        kept[row] = True
        row = int(before[row])
    return kept
