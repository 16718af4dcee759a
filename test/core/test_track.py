import math

import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.track import Track

HEADER = "# x_m,y_m,w_tr_right_m,w_tr_left_m\n"


def circle(radius=10.0, count=200, turn=1):
    angle = turn * 2 * np.pi * np.arange(count) / count
    points = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Track(points, np.full(count, 2.0), np.full(count, 1.0))


def wavy(closed=True):
    angle = np.linspace(0, 2 * np.pi if closed else 5.0, 120, endpoint=not closed)
    radius = 20 + 4 * np.sin(3 * angle) + 2 * np.cos(5 * angle)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Track(points, 1.5 + 0.3 * np.sin(angle), 1.2 + 0.2 * np.cos(2 * angle), closed=closed)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_circle_has_its_known_length_heading_and_curvature(turn):
    track = circle(turn=turn)
    s = np.array([0.0, 5.0, 31.0, 62.0])
    section = track.at(s)
    angle = turn * s / 10
    assert track.length_m == pytest.approx(20 * np.pi, rel=1e-7)
    np.testing.assert_allclose(section.position, 10 * np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=1e-6)
    np.testing.assert_allclose(section.curvature, turn / 10, rtol=1e-3)
    expected = np.stack([-turn * np.sin(angle), turn * np.cos(angle)], axis=1)
    np.testing.assert_allclose(
        np.stack([np.cos(section.heading), np.sin(section.heading)], axis=1), expected, atol=1e-6
    )


@pytest.mark.parametrize("turn", [1, -1])
def test_left_is_positive_on_a_circle_driven_either_way_round(turn):
    inside = circle(turn=turn).project(np.array([9.0, 0.0]))
    assert float(inside.lateral) == pytest.approx(turn * 1.0, abs=1e-6)


def test_the_parameter_is_arc_length():
    track = wavy()
    s = np.linspace(0, track.length_m, 100_001)
    walked = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(track.at(s).position, axis=0), axis=1))])
    np.testing.assert_allclose(walked, s, atol=1e-6)


def test_heading_and_curvature_are_the_derivatives_of_position_and_heading():
    track = wavy()
    s, h = np.linspace(0.5, track.length_m, 500), 1e-4
    ahead, behind, here = track.at(s + h), track.at(s - h), track.at(s)
    tangent = (ahead.position - behind.position) / (2 * h)
    np.testing.assert_allclose(np.arctan2(tangent[:, 1], tangent[:, 0]), here.heading, atol=1e-6)
    bend = np.angle(np.exp(1j * (ahead.heading - behind.heading))) / (2 * h)
    np.testing.assert_allclose(bend, here.curvature, atol=1e-4)


@pytest.mark.parametrize("closed", [True, False])
def test_projection_inverts_the_coordinates(closed):
    track = wavy(closed)
    generator = np.random.default_rng(0)
    s = generator.uniform(0.0, track.length_m, (50, 40))
    lateral = generator.uniform(-1.0, 1.0, s.shape)
    found = track.project(track.to_xy(s, lateral))
    np.testing.assert_allclose(track.difference(found.s, s), 0, atol=1e-9)
    np.testing.assert_allclose(found.lateral, lateral, atol=1e-9)


def test_projection_finds_the_nearest_point_wherever_the_question_is():
    track = wavy()
    xy = np.random.default_rng(1).uniform(-40, 40, (100, 2))
    line = track.at(np.linspace(0, track.length_m, 20_000)).position
    nearest = np.array([np.linalg.norm(line - point, axis=1).min() for point in xy])
    np.testing.assert_allclose(np.abs(track.project(xy).lateral), nearest, atol=1e-4)


def test_projection_keeps_the_shape_of_the_question():
    track = circle()
    assert track.project(np.full((3, 4, 2), 9.0)).s.shape == (3, 4)
    single = track.project(np.array([9.0, 1.0]))
    assert single.lateral.shape == single.section.heading.shape == ()
    with pytest.raises(DataError, match="not finite"):
        track.project(np.array([np.nan, 0.0]))


def test_arc_length_wraps_at_the_start():
    track = circle()
    before, after = track.project(np.array([[9.0, -0.1], [9.0, 0.1]])).s
    assert before > 0.9 * track.length_m
    assert after < 0.1 * track.length_m
    assert track.difference(after, before) == pytest.approx(20 * math.atan(0.1 / 9), abs=1e-6)
    np.testing.assert_allclose(track.at(-3.0).position, track.at(track.length_m - 3.0).position, atol=1e-9)
    assert track.at(-1e-18).position == pytest.approx([10.0, 0.0])


def test_an_open_path_ends():
    x = np.linspace(0, 10, 11)
    path = Track(np.stack([x, 0 * x], axis=1), np.ones(11), np.ones(11), closed=False)
    found = path.project(np.array([[-2.0, 0.5], [4.0, -0.25], [13.0, 0.5]]))
    np.testing.assert_allclose(found.s, [0, 4, 10], atol=1e-9)
    np.testing.assert_allclose(found.lateral, [0.5, -0.25, 0.5], atol=1e-9)
    assert path.difference(1.0, 9.5) == pytest.approx(-8.5)


def test_widths_are_linear_between_points_and_belong_to_their_side():
    track = wavy()
    left, right = track.edges()
    np.testing.assert_allclose(track.project(left).lateral, track.at(track.samples).width_left, atol=1e-9)
    np.testing.assert_allclose(track.project(right).lateral, -track.at(track.samples).width_right, atol=1e-9)
    assert track.notes == ()


def test_a_band_wider_than_its_corner_is_noted():
    count = 100
    angle = 2 * np.pi * np.arange(count) / count
    points = np.stack([20 * np.cos(angle), 4 * np.sin(angle)], axis=1)  # radius 0.8 m at the ends
    track = Track(points, np.ones(count), np.ones(count))
    assert len(track.notes) == 1
    assert "wider than the corner's radius" in track.notes[0]


def test_a_file_is_read_as_it_was_written(tmp_path):
    track = wavy()
    track.to_csv(tmp_path / "wavy.csv", ["a comment", "another"])
    text = (tmp_path / "wavy.csv").read_text()
    assert text.startswith("# a comment\n# another\n" + HEADER)
    again = Track.from_csv(tmp_path / "wavy.csv")
    np.testing.assert_allclose(again.points, track.points, atol=1e-6)
    np.testing.assert_allclose(again.widths_left, track.widths_left, atol=1e-6)
    np.testing.assert_allclose(again.widths_right, track.widths_right, atol=1e-6)
    assert again.name == "wavy"


EIGHT = [f"{9 * math.sin(a / 5)},{9 * math.sin(2 * a / 5)},1,2" for a in range(31)]
SQUARE = ["0,0,1,2", "9,0,1,2", "9,9,1,2", "0,9,1,2"]


@pytest.mark.parametrize(
    "header",
    [HEADER, "x_m,y_m,w_tr_right_m,w_tr_left_m\n", "#x_m, y_m, w_tr_right_m, w_tr_left_m\n"],
)
def test_headers_with_and_without_hash_are_read(tmp_path, header):
    path = tmp_path / "square.csv"
    path.write_text(header + "\n".join(SQUARE))
    track = Track.from_csv(path)
    assert track.widths_left.tolist() == [2] * 4
    assert track.widths_right.tolist() == [1] * 4


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "square.csv"
    path.write_text("w_tr_left_m,w_tr_right_m,x_m,y_m,bank\n" + "\n".join(f"2,1,{row[:3]},0" for row in SQUARE))
    assert Track.from_csv(path).points.tolist() == [[0, 0], [9, 0], [9, 9], [0, 9]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (SQUARE[:3], "at least 4 points"),
        ([*SQUARE, "0,0,1,2"], r"line 6: fields 'x_m', 'y_m' repeat the first point; remove this line"),
        ([*SQUARE[:2], "9,0,1,2", *SQUARE[2:]], r"line 3: fields 'x_m', 'y_m' repeat in the next point"),
        ([*SQUARE[:2], "9,9,0,2", "0,9,1,2"], r"line 4: field 'w_tr_right_m' is 0"),
        ([*SQUARE[:2], "9,9,1,-2", "0,9,1,2"], r"line 4: field 'w_tr_left_m' is -2"),
        ([*SQUARE[:2], "9,nan,1,2", "0,9,1,2"], r"line 4: field 'y_m' is nan"),
        ([*SQUARE[:2], "9,nine,1,2", "0,9,1,2"], r"line 4: field 'y_m' is 'nine', not a number"),
        ([*SQUARE[:2], "9,9,1", "0,9,1,2"], r"line 4: 3 fields, but the header names 4"),
        ([*SQUARE[:2], "9,9,1,2", "5,9,1,2", "7,9,1,2", "0,9,1,2"], "line 5: the line turns back by 180 degrees"),
        (EIGHT, r"line \d+: the centre line crosses itself \(again near .*line \d+\)"),
    ],
)
def test_a_bad_file_is_refused_with_line_field_and_fix(tmp_path, rows, message):
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "\n".join(rows))
    with pytest.raises(DataError, match=message) as error:
        Track.from_csv(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("0,0,1,2\n", "line 1: data before a header"), ("", "no header"), ("# x_m,y_m\n0,0\n", "before a header")],
)
def test_a_file_without_the_header_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        Track.from_csv(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        Track.from_csv(tmp_path / "nowhere.csv")


def test_real_tracks_are_read_and_their_doubtful_edges_noted(shared_data):
    lengths = {"cpg_winding_track": 3797, "forzaeth_hangar": 45, "tumftm_Norisring": 2296, "tumftm_Spielberg": 4316}
    folding = {"forzaeth_hangar", "forzaeth_JFR_racingv5", "orca_mpcc_1to43"}
    for path in sorted((shared_data / "tracks").glob("*.csv")):
        track = Track.from_csv(path)
        assert track.length_m == pytest.approx(lengths.get(track.name, track.length_m), abs=0.5)
        assert bool(track.notes) == (track.name in folding)
