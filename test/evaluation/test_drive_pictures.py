"""What the pictures of drives show, read back from their artists."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.layout import VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.evaluation.drive_log import DriveLog
from mbrl_ros.evaluation.drive_pictures import fan, laps_by_distance, speed_maps

LAPS = 2
CAR = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)


@pytest.fixture(scope="module")
def track():
    return generate_track(0, TrackSettings(length_m=30.0, corners=5, max_radius_m=2.0))


def drive(track, speed, slip=0.0):
    """Along the centre line at a constant speed."""
    log = DriveLog(track, 0.3)
    for stamp in np.arange(0.0, (LAPS + 0.1) * track.length_m / speed, 0.02):
        place = track.at(stamp * speed)
        state = np.zeros(8)
        state[[X, Y]], state[YAW] = place.position, place.heading
        state[VX], state[VY], state[YAW_RATE] = speed, slip * speed, speed * float(place.curvature)
        log.add_truth(float(stamp), state)
    return log


def test_speed_maps_share_a_scale_and_name_the_laps(track):
    figure = speed_maps(track, [("slow", drive(track, 4.0)), ("fast", drive(track, 8.0))])
    slow, fast = figure.axes[:2]
    lines = [next(c for c in axes.collections if isinstance(c, LineCollection)) for axes in (slow, fast)]
    assert lines[0].get_clim() == lines[1].get_clim() == (4.0, 8.0)
    assert [set(line.get_array().tolist()) for line in lines] == [{4.0}, {8.0}]
    lap = f"{track.length_m / 8.0:.2f}"
    assert fast.get_title(loc="left") == f"fast\nlaps of {lap}, {lap} s"


def test_laps_by_distance_show_one_lap_with_its_slip(track):
    figure = laps_by_distance(track, [("straight", drive(track, 4.0)), ("sliding", drive(track, 5.0, slip=0.1))])
    speed, _, slip = figure.axes
    for line, wanted in zip(speed.lines, (4.0, 5.0), strict=True):
        along = line.get_xdata()
        assert np.all(np.diff(along) > 0)
        assert along[-1] - along[0] == pytest.approx(track.length_m, abs=0.3)
        np.testing.assert_allclose(line.get_ydata(), wanted)
    np.testing.assert_allclose(slip.lines[1].get_ydata(), np.degrees(np.arctan(0.1)))


def test_the_fan_paints_the_cheapest_last_and_shows_all_of_them(track):
    positions = np.array([[[0.0, 0.0], [1.0, shift]] for shift in (-3.0, 0.0, 5.0)])
    costs = np.array([2.0, 1.0, 3.0])
    plan = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    axes = fan(track, CAR, positions, costs, plan, "title").axes[0]
    lines = next(c for c in axes.collections if isinstance(c, LineCollection))
    assert [segment[-1, 1] for segment in lines.get_segments()] == [5.0, -3.0, 0.0]
    assert lines.get_array().tolist() == [100.0, 50.0, 0.0]
    low, high = axes.get_ylim()
    assert low < -3.0 < 5.0 < high
