import numpy as np
import pytest

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.speed_profile import speed_profile
from mbrl_ros.core.track import Track

STRAIGHT, RADIUS = 60.0, 10.0


def stadium():
    """Two straights along x joined by half circles: the lap time has a closed form."""
    x = np.arange(0, STRAIGHT, 0.25)
    turn = np.arange(0, np.pi, 0.25 / RADIUS)
    lower = np.stack([x, 0 * x], axis=1)
    right = np.stack([STRAIGHT + RADIUS * np.sin(turn), RADIUS - RADIUS * np.cos(turn)], axis=1)
    half = np.concatenate([lower, right])
    points = np.concatenate([half, [STRAIGHT, 2 * RADIUS] - half])
    return Track(points, np.full(len(points), 3.0), np.full(len(points), 3.0))


def profile(track, **changes):
    limits = {"lateral_limit": 4.0, "acceleration_limit": 2.0, "braking_limit": 5.0, "top_speed": 50.0}
    return speed_profile(track, **limits | changes)


def test_a_circle_is_driven_at_the_limit():
    angle = 2 * np.pi * np.arange(300) / 300
    track = Track(10 * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(300, 2.0), np.full(300, 2.0))
    found = profile(track)
    np.testing.assert_allclose(found.speed, np.sqrt(40), rtol=1e-3)
    assert found.time_s == pytest.approx(20 * np.pi / np.sqrt(40), rel=1e-3)
    assert profile(track, top_speed=5.0).time_s == pytest.approx(20 * np.pi / 5.0, rel=1e-6)


def test_a_stadium_is_driven_in_its_closed_form_time():
    """From the arc's speed u up with a and down with b over a straight of length d: v^2 = u^2 + 2 d a b / (a + b)."""
    found = profile(stadium())
    u = np.sqrt(4.0 * RADIUS)
    peak = np.sqrt(u**2 + 2 * STRAIGHT * 2.0 * 5.0 / 7.0)
    time = 2 * ((peak - u) / 2.0 + (peak - u) / 5.0 + np.pi * RADIUS / u)
    assert found.speed.max() == pytest.approx(peak, rel=0.01)
    assert found.time_s == pytest.approx(time, rel=0.01)
    assert found.s[np.argmax(found.speed)] % (found.length_m / 2) == pytest.approx(STRAIGHT * 5 / 7, abs=1.0)


def test_no_sample_asks_for_more_than_the_friction_ellipse():
    track = stadium()
    found = profile(track)
    s, v = np.append(found.s, track.length_m), np.append(found.speed, found.speed[0])
    acceleration = np.diff(v**2) / (2 * np.diff(s))
    curvature = np.abs(track.at(found.s).curvature)
    assert acceleration.max() < 2.0 + 1e-9
    assert acceleration.min() > -5.0 - 1e-9
    assert (found.speed**2 * curvature).max() < 4.0 + 1e-9


def test_where_the_lap_begins_does_not_matter():
    track = stadium()
    shifted = Track(np.roll(track.points, 150, axis=0), track.widths_left, track.widths_right)
    assert profile(shifted).time_s == pytest.approx(profile(track).time_s, rel=1e-3)


def test_an_open_path_can_end_in_a_stop():
    x = np.linspace(0, 100, 101)
    path = Track(np.stack([x, 0 * x], axis=1), np.ones(101), np.ones(101), closed=False)
    stop = profile(path, top_speed=10.0, end_speed=0.0)
    assert stop.at(0.0) == pytest.approx(10.0)
    assert stop.at(95.0) == pytest.approx(np.sqrt(2 * 5.0 * 5.0), rel=1e-2)
    assert stop.at(100.0) == 0.0
    assert profile(path, top_speed=10.0).at(100.0) == pytest.approx(10.0)


def test_a_limit_that_is_not_positive_is_refused():
    with pytest.raises(ConfigError, match="must be positive"):
        profile(stadium(), braking_limit=0.0)
