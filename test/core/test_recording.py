import numpy as np
import pytest

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import ACTIONS, VX, YAW_RATE
from mbrl_ros.core.recording import Drive, Segment, thinned

LAYOUT = ACTIONS["acceleration"]


def segment(start_s, count, dt=0.1):
    state = np.zeros((count, 8))
    state[:, VX] = np.arange(count)
    return Segment(start_s + dt * np.arange(count), state, np.zeros((count, 2)), LAYOUT)


def drive():
    return Drive((segment(0.0, 10), segment(5.0, 20)), dt=0.1, reference_point="cg", source="test")


def test_shapes_must_fit():
    with pytest.raises(LayoutError, match="3 stamps"):
        Segment(np.arange(3.0), np.zeros((4, 8)), np.zeros((3, 2)), LAYOUT)
    with pytest.raises(LayoutError, match=r"expected \[3, 8\] and \[3, 2\]"):
        Segment(np.arange(3.0), np.zeros((3, 8)), np.zeros((3, 1)), LAYOUT)


def test_a_column_without_any_value_was_not_recorded():
    part = segment(0.0, 5)
    part.state[:, YAW_RATE] = np.nan
    part.state[2, VX] = np.nan
    assert part.observed.tolist() == [column != YAW_RATE for column in range(8)]


def test_a_part_holds_its_start_but_not_its_end():
    part = segment(0.0, 10).between(0.2, 0.5)
    np.testing.assert_allclose(part.time_s, [0.2, 0.3, 0.4])
    assert part.state[:, VX].tolist() == [2, 3, 4]


def test_a_drive_spans_its_segments():
    assert drive().start_s == 0.0
    assert drive().end_s == pytest.approx(6.9)


def test_cutting_a_drive_leaves_no_scraps_and_joins_nothing():
    cut = drive().between(0.75, 5.15)
    assert [len(part) for part in cut.segments] == [2, 2]
    assert [len(part) for part in drive().between(0.85, 6.0).segments] == [10]
    assert cut.source == "test"


def test_of_much_driving_pieces_are_looked_at_from_all_of_it():
    drives = []
    for source, count in (("a", 30_000), ("b", 10_000)):
        time_s = np.arange(count) * 0.02
        segment = Segment(time_s, np.zeros((count, 8)), np.zeros((count, 2)), LAYOUT)
        drives.append(Drive((segment, segment), 0.02, "cg", source))
    assert all(one is other for one, other in zip(thinned(drives, 80_000), drives, strict=True))
    some = thinned(drives, 5_000)
    assert all(len(part) >= 2 for drive in some for part in drive.segments)
    assert [drive.source for drive in some] == ["a", "b"]
    lengths = [sum(map(len, drive.segments)) for drive in some]
    assert 4_900 <= sum(lengths) <= 5_000
    assert lengths[0] == pytest.approx(3 * lengths[1], rel=0.1)
    assert some[0].segments[0].time_s[0] == 0.0
    assert some[0].segments[-1].time_s[-1] > 550.0


def test_many_short_segments_are_looked_at_as_much_as_a_long_one():
    parts = [segment(10.0 * k, 7) for k in range(300)]
    (some,) = thinned([Drive(tuple(parts), 0.1, "cg", "shreds")], 1_000)
    assert 850 <= sum(map(len, some.segments)) <= 1_000  # single rows at the ends of stretches are left out
    assert min(map(len, some.segments)) >= 2
    assert some.segments[-1].time_s[-1] > 2_900.0
