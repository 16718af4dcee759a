"""Tensors on disk read as those in memory do."""

import resource
from pathlib import Path

import pytest
import torch

from mbrl_ros.learning.stored import RowWriter, StoredTensor


@pytest.fixture
def whole():
    return torch.randn(2, 50, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def stored(whole, tmp_path):
    """Written out of order and in uneven parts; its file is unlinked."""
    with RowWriter(tmp_path / "rows", (2, 50, 3, 4)) as writer:
        for first, end in ((30, 50), (0, 17), (17, 30)):
            for view in (1, 0):
                writer.put(view, first, whole[view, first:end].double())
    found = StoredTensor(tmp_path / "rows", (2, 50, 3, 4))
    (tmp_path / "rows").unlink()
    return found


@pytest.mark.parametrize(
    "index",
    [
        0,
        (1, torch.tensor([4, 0, 49, 4])),
        (0, torch.tensor([4, 0, 49]), 0),
        (1, slice(None), 2),
        (0, torch.empty(0, dtype=torch.int64)),
        (1, torch.arange(150) % 50),
        (slice(None), torch.arange(70) % 50, 2),
        (slice(None), torch.arange(50) % 3 == 0),
    ],
    ids=["view", "rows", "rows at a step", "all rows at a step", "no rows", "many", "many of all views", "a mask"],
)
def test_an_index_selects_what_it_selects_in_memory(whole, stored, index):
    assert stored.shape == whole.shape
    for _ in range(2):  # also after the pages were let go
        assert torch.equal(stored[index], whole[index])


def test_nothing_per_row(tmp_path):
    """A network without memory reads no driving before the start."""
    with RowWriter(tmp_path / "rows", (2, 50, 0, 4)) as writer:
        writer.put(0, 0, torch.zeros(50, 0, 4))
    found = StoredTensor(tmp_path / "rows", (2, 50, 0, 4))
    assert found[0, torch.tensor([1, 2])].shape == (2, 0, 4)


def test_what_was_read_does_not_stay(tmp_path):
    """128 MiB read in parts of 1 MiB leave less than 16 MiB in this process."""
    rows, width = 1024, 32 * 1024
    with RowWriter(tmp_path / "rows", (1, rows, width)) as writer:
        for first in range(0, rows, 8):
            writer.put(0, first, torch.full((8, width), float(first)))
    stored = StoredTensor(tmp_path / "rows", (1, rows, width))
    before = _resident()
    most = 0
    for first in range(0, rows, 8):
        assert float(stored[0, torch.arange(first, first + 8)].mean()) == first
        most = max(most, _resident() - before)
    assert most < 16 * 2**20


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
