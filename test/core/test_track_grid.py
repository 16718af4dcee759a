"""The grid against the exact projection: how far apart, how smooth, and what happens off the track."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.speed_profile import speed_profile
from mbrl_ros.core.track import Track
from mbrl_ros.core.track_generator import TrackSettings, generate_track
from mbrl_ros.core.track_grid import TrackGrid, grid_error

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


@pytest.fixture(scope="module")
def track():
    return generate_track(7)


@pytest.fixture(scope="module")
def points(track):
    """[N, 2] points all over the band."""
    generator = np.random.default_rng(3)
    s = generator.uniform(0, track.length_m, 4000)
    section = track.at(s)
    return track.to_xy(s, generator.uniform(-section.width_right, section.width_left))


@DTYPES
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_error_over_the_band_of_generated_tracks(dtype, seed):
    track = generate_track(seed)
    error = grid_error(track, TrackGrid(track, dtype=dtype))
    assert error.lateral_p99 < 5e-5
    assert error.lateral_max < 1e-3
    assert error.s_p99 < 5e-4
    assert error.s_max < 2e-2
    assert error.ambiguous == 0.0


@DTYPES
def test_error_shrinks_with_the_cell(track, dtype):
    coarse, fine = (grid_error(track, TrackGrid(track, cell, dtype=dtype)) for cell in (0.3, 0.1))
    assert fine.lateral_p99 < coarse.lateral_p99 / 10
    assert fine.s_p99 < coarse.s_p99 / 5


def test_everything_it_answers_agrees_with_the_exact_projection(track, points):
    profile = speed_profile(track, lateral_limit=5, acceleration_limit=4, braking_limit=6, top_speed=7)
    exact = track.project(points)
    with torch.no_grad():
        found = TrackGrid(track, profile=profile)(torch.tensor(points))
    pairs = {
        "heading": (np.angle(np.exp(1j * (found.heading.numpy() - exact.section.heading))), 0, 2e-3),
        "curvature": (found.curvature, exact.section.curvature, 3e-2),
        "width_left": (found.width_left, exact.section.width_left, 1e-3),
        "width_right": (found.width_right, exact.section.width_right, 1e-3),
        "speed": (found.speed, profile.at(exact.s), 5e-2),
    }
    for name, (got, expected, tolerance) in pairs.items():
        difference = np.abs(np.asarray(got) - expected)
        assert np.quantile(difference, 0.99) < tolerance, name


def test_a_circle_is_exact():
    angle = 2 * np.pi * np.arange(300) / 300
    track = Track(10 * np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(300, 2.0), np.full(300, 2.0))
    error = grid_error(track, TrackGrid(track))
    assert error.lateral_max < 2e-5
    assert error.s_max < 2e-4


def test_real_tracks(shared_data):
    """Small everywhere on tracks without folds; on folding ones all but the ambiguous points are close."""
    for path in sorted((shared_data / "tracks").glob("*.csv")):
        track = Track.from_csv(path)
        grid = TrackGrid(track, dtype=torch.float32)
        error = grid_error(track, grid, count=4000)
        narrowest = min(track.widths_left.min(), track.widths_right.min())
        assert error.lateral_p99 < 1e-3 * narrowest, track.name
        assert error.lateral_max < 0.1 * narrowest, track.name
        assert sum(buffer.nbytes for buffer in grid.buffers()) < 64e6


def test_arc_length_stays_inside_and_wraps_at_the_start(track):
    grid = TrackGrid(track)
    s = torch.linspace(-1.0, 1.0, 200, dtype=torch.float64)
    xy = torch.tensor(track.to_xy(s.numpy(), 0.3 * np.ones(200)))
    found = grid(xy).s
    assert ((found >= 0) & (found < track.length_m)).all()
    torch.testing.assert_close(grid.difference(found, torch.zeros(())), s, atol=1e-3, rtol=0)


def test_derivatives_are_those_of_the_coordinates(track, points):
    """d s / d xy = tangent / (1 - kappa e), d lateral / d xy = normal: autograd through the lookup finds them."""
    grid = TrackGrid(track)
    xy = torch.tensor(points[:500], requires_grad=True)
    found = grid(xy)
    (along,) = torch.autograd.grad(found.s.sum(), xy, retain_graph=True)
    (across,) = torch.autograd.grad(found.lateral.sum(), xy)
    heading, stretch = found.heading.detach(), (1 - found.curvature * found.lateral).detach()
    tangent = torch.stack([torch.cos(heading), torch.sin(heading)], dim=-1)
    normal = torch.stack([-tangent[:, 1], tangent[:, 0]], dim=-1)
    torch.testing.assert_close(across, normal, atol=2e-2, rtol=0)
    assert torch.quantile((along - tangent / stretch[:, None]).abs().max(dim=-1).values, 0.95) < 5e-2


def test_second_derivatives_exist(track, points):
    grid = TrackGrid(track)

    def lateral_squared(xy):
        return grid(xy).lateral ** 2

    hessians = torch.func.vmap(torch.func.hessian(lateral_squared))(torch.tensor(points[:100]))
    assert hessians.isfinite().all()
    assert (hessians.diagonal(dim1=-2, dim2=-1).sum(-1) > 0).all()  # across the track the square curves by 2


@DTYPES
def test_outside_is_outside(track, dtype):
    """Beyond the edges, in the infield and far off the grid, no point is ever taken to be on the track."""
    grid = TrackGrid(track, dtype=dtype)
    generator = np.random.default_rng(5)
    everywhere = np.concatenate(
        [generator.uniform(-30, 30, (20_000, 2)), generator.uniform(-500, 500, (20_000, 2)), [[1e6, -1e6], [1e12, 0]]]
    )
    exact = track.project(everywhere)
    beyond = np.maximum(exact.lateral - exact.section.width_left, -exact.lateral - exact.section.width_right)
    off = everywhere[beyond > 0.05]
    found = grid(torch.tensor(off, dtype=dtype))
    assert ((found.lateral > found.width_left) | (found.lateral < -found.width_right)).all()
    assert all(values.isfinite().all() for values in found)


def test_far_away_lateral_grows_with_the_distance(track):
    grid = TrackGrid(track)
    for direction in np.exp(1j * np.linspace(0, 2 * np.pi, 60)):
        way = np.array([50.0, 100.0, 200.0, 400.0])
        lateral = grid(torch.tensor(way[:, None] * [direction.real, direction.imag])).lateral.abs().numpy()
        assert (np.diff(lateral) > 0).all()
        assert lateral[-1] > 300


def test_what_is_not_finite_is_answered_with_what_is_not_finite(track):
    found = TrackGrid(track)(torch.tensor([[np.nan, 0.0], [0.0, np.inf], [0.0, 0.0]], dtype=torch.float64))
    assert not found.lateral[:2].isfinite().any()
    assert found.lateral[2].isfinite()


def test_an_open_path_ends():
    x = np.linspace(0, 10, 41)
    grid = TrackGrid(Track(np.stack([x, 0 * x], axis=1), np.ones(41), np.ones(41), closed=False))
    found = grid(torch.tensor([[0.0, 0.5], [4.0, -0.25], [9.99, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(found.s, torch.tensor([0, 4, 9.99], dtype=torch.float64))
    torch.testing.assert_close(found.lateral, torch.tensor([0.5, -0.25, 0.0], dtype=torch.float64))
    assert not found.heading.any()


def test_another_profile_is_looked_up_in_place(track, points):
    def profile(top):
        return speed_profile(track, lateral_limit=5, acceleration_limit=4, braking_limit=6, top_speed=top)

    grid, xy = TrackGrid(track, profile=profile(3.0)), torch.tensor(points)
    table = grid.table.data_ptr()
    grid.set_profile(profile(6.0))
    assert grid.table.data_ptr() == table
    torch.testing.assert_close(grid(xy).speed, TrackGrid(track, profile=profile(6.0))(xy).speed)


def test_one_exported_program_serves_any_track(track, points):
    """The program has no branches, and all that belongs to a track enters as buffers of any size."""
    grid = TrackGrid(track, dtype=torch.float32)

    class Lookup(torch.nn.Module):
        def forward(self, buffers, xy):
            return torch.func.functional_call(grid, buffers, (xy,))

    buffers, xy = dict(grid.named_buffers()), torch.tensor(points, dtype=torch.float32)
    shapes = dict.fromkeys(buffers) | {
        "table": {0: torch.export.Dim("rows")},
        "nearest": {0: torch.export.Dim("cells")},
    }
    program = torch.export.export(Lookup(), (buffers, xy), dynamic_shapes=(shapes, None)).module()
    other_track = generate_track(1, TrackSettings(length_m=100))
    other = TrackGrid(other_track, dtype=torch.float32)
    for found, expected in ((program(buffers, xy), grid(xy)), (program(dict(other.named_buffers()), xy), other(xy))):
        torch.testing.assert_close(found.lateral, expected.lateral)
        torch.testing.assert_close(found.s, expected.s)
