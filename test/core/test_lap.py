import numpy as np
import pytest

from mbrl_ros.core.errors import DataError
from mbrl_ros.core.lap import LapTimer

LENGTH = 50.0


def drive(timer, speed, seconds, start_s=0.0, lateral=lambda t: 0.0, dt=0.02, from_t=0.0):
    """Samples at constant speed on a track 2 m wide; returns the laps reported by ``add``."""
    laps = []
    for index in range(round(seconds / dt) + 1):
        t = from_t + index * dt
        lap = timer.add(t, (start_s + speed * index * dt) % LENGTH, lateral(t), 1.0, 1.0)
        laps += [lap] if lap else []
    return laps


def test_lap_times_are_interpolated_between_samples():
    timer = LapTimer(LENGTH, car_width_m=0.3)
    laps = drive(timer, speed=3.0, seconds=60.0, dt=0.07)
    assert laps == timer.laps
    assert [lap.number for lap in laps] == [1, 2, 3]
    np.testing.assert_allclose([lap.time_s for lap in laps], LENGTH / 3.0, atol=1e-9)
    np.testing.assert_allclose([lap.start_s for lap in laps], LENGTH / 3.0 * np.arange(3), atol=1e-9)


def test_without_a_line_the_first_lap_is_a_standing_start_wherever_the_car_stands():
    for start in (0.01, LENGTH - 0.01, 20.0):
        assert len(drive(LapTimer(LENGTH, 0.3), 5.0, 20.5, start_s=start)) == 2


def test_driving_up_to_a_given_line_counts_for_nothing():
    laps = drive(LapTimer(LENGTH, 0.3, line_m=0.0), 5.0, 21.0, start_s=20.0)
    assert len(laps) == 1
    assert laps[0].start_s == pytest.approx(30 / 5)
    assert laps[0].time_s == pytest.approx(10.0)


def test_going_back_and_forth_over_the_line_completes_nothing():
    timer = LapTimer(LENGTH, 0.3, line_m=0.0)
    path = 1.0 * np.sin(np.arange(200) / 10)
    assert [timer.add(0.1 * k, s % LENGTH, 0.0, 1.0, 1.0) for k, s in enumerate(path)] == [None] * 200
    assert len(drive(timer, 5.0, 10.5, start_s=path[-1], from_t=20.0)) == 1


def test_backward_laps_do_not_count():
    assert drive(LapTimer(LENGTH, 0.3), -5.0, 40.0) == []


def test_exits_and_clearance_take_the_cars_width_into_account():
    def lateral(t):  # out on the left at 1 to 2 s, and on the right at 15 to 16 s
        return 0.9 if 1 <= t < 2 else -0.95 if 15 <= t < 16 else 0.5

    timer = LapTimer(LENGTH, car_width_m=0.3)
    first, second = drive(timer, 5.0, 20.01, lateral=lateral)
    assert (first.exits, second.exits, timer.exits) == (1, 1, 2)
    assert first.min_clearance_m == pytest.approx(1.0 - 0.9 - 0.15)
    assert second.min_clearance_m == pytest.approx(1.0 - 0.95 - 0.15)
    assert first.max_lateral_m == pytest.approx(0.9)
    assert first.mean_lateral_m == pytest.approx(0.5 + 0.1 * 0.4, abs=1e-3)
    narrower = LapTimer(LENGTH, car_width_m=0.1)
    assert sum(lap.exits for lap in drive(narrower, 5.0, 20.01, lateral=lateral)) == 0


def test_an_excursion_over_the_line_counts_once_in_the_lap_where_it_began():
    laps = drive(LapTimer(LENGTH, 0.3), 5.0, 20.5, lateral=lambda t: 0.95 if 9.5 < t < 10.5 else 0.0)
    assert [lap.exits for lap in laps] == [1, 0]


def test_a_car_that_is_moved_starts_its_lap_again_at_the_line():
    timer = LapTimer(LENGTH, 0.3)
    drive(timer, 5.0, 8.0)
    laps = drive(timer, 5.0, 19.0, start_s=10.0, from_t=9.0)
    assert timer.discarded == 1
    assert [lap.start_s for lap in laps] == pytest.approx([9.0 + 40 / 5])


def test_bad_samples_are_refused():
    timer = LapTimer(LENGTH, 0.3)
    timer.add(1.0, 0.0, 0.0, 1.0, 1.0)
    with pytest.raises(DataError, match="not later"):
        timer.add(1.0, 0.1, 0.0, 1.0, 1.0)
    with pytest.raises(DataError, match="not finite"):
        timer.add(2.0, float("nan"), 0.0, 1.0, 1.0)
