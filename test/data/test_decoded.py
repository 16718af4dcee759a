"""A recording is decoded once; what the cache holds is what decoding gives, or is made anew."""

import json

import numpy as np
import pytest

from mbrl_ros.data import decoded, drives, read_drive
from mbrl_ros.data.decoded import shrink


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MBRL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "drives"


@pytest.fixture
def bag(save, course):
    return save(course.odom().imu().feedback().drive())


@pytest.fixture
def readings(monkeypatch):
    """Counts how often a recording is decoded."""
    count = []
    plain = drives.read_signals
    monkeypatch.setattr(drives, "read_signals", lambda reader: count.append(reader) or plain(reader))
    return count


def same(one, other):
    assert one.notes == other.notes
    assert (one.dt, one.reference_point, one.topics) == (other.dt, other.reference_point, other.topics)
    for a, b in zip(one.segments, other.segments, strict=True):
        assert a.action_layout == b.action_layout
        for name in ("time_s", "state", "action"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_a_recording_is_decoded_once_for_each_way_to_read_it(cache, bag, readings, tmp_path):
    first = read_drive(bag)
    same(first, read_drive(bag))
    assert len(readings) == 1
    moved = bag.rename(tmp_path / "moved")
    again = read_drive(moved)
    same(first, again)
    assert again.source == str(moved)
    assert len(readings) == 1
    assert len(read_drive(moved, rate_hz=10.0).segments[0]) < len(again.segments[0])
    assert len(readings) == 2


def test_another_recording_at_the_same_path_is_another_one(cache, save, course, readings):
    bag = save(course.odom().drive())
    first = read_drive(bag)
    (storage,) = bag.glob("*.mcap")
    other = save(course.imu(), name="other")
    storage.write_bytes(next(other.glob("*.mcap")).read_bytes())
    assert read_drive(bag).source_hash != first.source_hash
    assert len(readings) == 2


@pytest.mark.parametrize("name", ["time_s.npy", "state.npy", "action.npy", "drive.json"])
@pytest.mark.parametrize("fault", ["gone", "cut", "changed"])
def test_a_damaged_entry_is_found_and_made_anew(cache, bag, readings, name, fault):
    first = read_drive(bag)
    (entry,) = (path for path in cache.iterdir() if not path.name.startswith("."))
    content = (entry / name).read_bytes()
    (entry / name).unlink()  # the drive above still lies in it
    if fault != "gone":
        changed = content[:-9] if fault == "cut" else content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
        (entry / name).write_bytes(changed)
    if (name, fault) == ("drive.json", "changed"):
        facts = json.loads(content)
        (entry / name).write_text(json.dumps({**facts, "sha256": {**facts["sha256"], "state": "0" * 64}}))
    same(first, read_drive(bag))
    assert len(readings) == 2
    assert [path.name for path in cache.iterdir()] == [entry.name]  # nothing is left lying about


def test_the_entries_that_were_not_used_for_longest_go_first(cache, bag):
    read_drive(bag)
    (old,) = cache.iterdir()
    read_drive(bag, rate_hz=10.0)
    decoded.os.utime(old, (1, 1))
    sizes = {path.name: sum(file.stat().st_size for file in path.iterdir()) for path in cache.iterdir()}
    assert shrink(sum(sizes.values()) * 1e-9) == 0
    assert shrink((sum(sizes.values()) - 1) * 1e-9) == 1
    assert old.name not in [path.name for path in cache.iterdir()]
