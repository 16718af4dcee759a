import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "config" / "tracks").glob("*.csv"))
TECHNICAL = TrackSettings(length_m=80, corners=14, max_radius_m=2.5)
FULL_SIZE = TrackSettings(
    length_m=1500,
    corners=12,
    min_radius_m=15,
    max_radius_m=90,
    min_half_width_m=4.5,
    max_half_width_m=6,
    gap_m=4,
)


def require_kept(track, settings):
    """Everything that was asked for, measured on the track itself."""
    section = track.at(np.linspace(0, track.length_m, 5000))
    widths = np.concatenate([section.width_left, section.width_right])
    assert track.length_m == pytest.approx(settings.length_m, rel=1e-3)
    assert 1 / np.abs(section.curvature).max() >= settings.min_radius_m
    assert widths.min() >= settings.min_half_width_m - 1e-6
    assert widths.max() <= settings.max_half_width_m + 1e-6
    assert not track.doubtful(settings.gap_m / 2).any()


@pytest.mark.parametrize("settings", [TrackSettings(), TECHNICAL, FULL_SIZE], ids=["default", "technical", "full"])
def test_tracks_of_many_seeds_keep_every_wish(settings):
    lengths = set()
    for seed in range(8):
        track = generate_track(seed, settings)
        require_kept(track, settings)
        lengths.add(len(np.unique(np.sign(np.round(track.at(track.samples).curvature, 6)))))
    assert max(lengths) == 3  # left corners, right corners and straights


def test_a_track_starts_at_the_origin_on_a_straight_along_x():
    start = generate_track(3).at(np.array([-0.5, 0.0, 0.5]))
    np.testing.assert_allclose(start.position[1], 0, atol=1e-9)
    np.testing.assert_allclose(start.heading, 0, atol=1e-3)
    np.testing.assert_allclose(start.curvature, 0, atol=1e-3)


def test_the_seed_decides():
    first, again, other = generate_track(5), generate_track(5), generate_track(6)
    np.testing.assert_array_equal(first.points, again.points)
    np.testing.assert_array_equal(first.widths_left, again.widths_left)
    assert first.points.shape != other.points.shape or not np.allclose(first.points, other.points)


def test_what_cannot_be_is_refused_with_advice():
    with pytest.raises(ConfigError, match="make it longer, or the corners fewer"):
        generate_track(0, TrackSettings(length_m=12))
    with pytest.raises(ValidationError, match="the inner edge would fold"):
        TrackSettings(min_radius_m=1.0, max_half_width_m=1.0)
    with pytest.raises(ValidationError, match=r"max_\* value is below"):
        TrackSettings(min_radius_m=5.0)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_tracks_are_what_their_first_line_says(path):
    words = shlex.split(path.read_text().splitlines()[0].lstrip("# "))
    assert words[:4] == ["mbrl", "track", "generate", path.name]
    options = {re.sub("^--", "", k).replace("-", "_"): float(v) for k, v in zip(words[4::2], words[5::2], strict=True)}
    seed = int(options.pop("seed"))
    settings = TrackSettings.model_validate(options)
    track = Track.from_csv(path)
    require_kept(track, settings)
    np.testing.assert_allclose(track.points, generate_track(seed, settings).points, atol=1e-4)


def test_the_shipped_tracks_are_there():
    assert {path.stem for path in SHIPPED} >= {"demo", "technical", "fast", "full_size"}
