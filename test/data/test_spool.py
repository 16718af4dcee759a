"""Rows that are collected on disk are the rows that were added."""

import numpy as np
import pytest

from mbrl_ros.data.spool import Spool


@pytest.mark.parametrize("count", [0, 3, 4096, 10_000])
def test_rows_come_back_in_their_order(count):
    spool = Spool(2, np.int64)
    rows = [(k, 1_700_000_000_123_456_789 + k) for k in range(count)]  # no float64 holds these
    for row in rows:
        spool.add(row)
    assert len(spool) == count
    np.testing.assert_array_equal(spool.array(), np.array(rows, dtype=np.int64).reshape(-1, 2))


def test_blocks_follow_single_rows():
    spool = Spool(2, np.float64)
    spool.add((1.0, 2.0))
    spool.extend(np.arange(6.0).reshape(3, 2)[:, ::-1])
    spool.add((7.0, 8.0))
    np.testing.assert_array_equal(spool.array(), [[1, 2], [1, 0], [3, 2], [5, 4], [7, 8]])
