"""Which obstacles count."""

from collections import Counter

import numpy as np

from mbrl_ros.core.tasks.obstacles import Obstacle
from mbrl_ros.planning.seen_obstacles import SeenObstacles

HERE = np.zeros(2)
NEAR, FAR, FARTHEST = (Obstacle(x, 0.0, radius_m=0.1) for x in (1.0, -2.0, 5.0))


def seen(capacity=3):
    counters = Counter()
    return SeenObstacles(0.5, 0.02, capacity, counters), counters


def test_the_newest_message_counts_and_an_empty_one_clears():
    subject, counters = seen()
    assert subject.present(0.0, HERE) == ()
    subject.observe([NEAR, FAR], 1.0, 1.05)
    assert subject.present(1.1, HERE) == (NEAR, FAR)
    subject.observe([FARTHEST], 1.2, 1.25)
    assert subject.present(1.3, HERE) == (FARTHEST,)
    subject.observe([], 1.4, 1.4)
    assert subject.present(1.4, HERE) == ()
    assert not counters


def test_what_is_stale_backward_or_in_the_future_is_dropped_and_counted():
    subject, counters = seen()
    subject.observe([NEAR], 1.0, 1.0)
    subject.observe([FAR], 0.9, 1.0)
    subject.observe([FAR], 1.1, 1.0)
    assert subject.present(1.5, HERE) == (NEAR,)
    assert subject.present(1.51, HERE) == ()
    assert subject.present(1.6, HERE) == ()
    subject.observe([FAR], 1.2, 1.8)
    assert subject.present(1.8, HERE) == ()
    assert counters == {"obstacles backward": 1, "obstacles in the future": 1, "obstacles stale": 2}


def test_of_too_many_the_nearest_count():
    subject, counters = seen(capacity=2)
    subject.observe([FARTHEST, FAR, NEAR], 1.0, 1.0)
    assert subject.present(1.0, HERE) == (FAR, NEAR)
    assert subject.present(1.0, np.array([4.0, 0.0])) == (FARTHEST, NEAR)
    assert counters == {"cycles with obstacles left out": 2}


def test_a_long_wall_counts_by_its_outline_not_by_its_middle():
    wall = Obstacle(2.0, 6.0, yaw_rad=np.pi / 2, length_m=14.0, width_m=0.2)
    post = Obstacle(0.0, -3.0, radius_m=0.1)
    subject, _ = seen(capacity=1)
    subject.observe([post, wall], 1.0, 1.0)
    assert subject.present(1.0, HERE) == (wall,)


def test_it_says_while_the_car_may_be_driven_into_something():
    subject, _ = seen(capacity=1)
    subject.present(0.0, HERE)
    assert subject.doubt == "", "nobody ever spoke of obstacles"
    subject.observe([NEAR, FAR, FARTHEST], 1.0, 1.0)
    subject.present(1.0, HERE)
    assert subject.doubt == "2 of 3 obstacles are left out, field 'task.obstacles' allows no more"
    subject.observe([NEAR], 1.1, 1.1)
    subject.present(1.1, HERE)
    assert subject.doubt == ""
    subject.present(2.0, HERE)
    assert "not heard of in time" in subject.doubt
    subject.observe([], 2.1, 2.1)
    subject.present(2.1, HERE)
    assert subject.doubt == ""


def test_it_says_so_too_where_all_that_is_published_is_refused():
    subject, counters = seen()
    subject.observe([NEAR], 1.5, 1.0)
    subject.refuse("in frame 'map'")
    assert subject.present(1.0, HERE) == ()
    assert "not heard of" in subject.doubt
    assert counters == {"obstacles in the future": 1, "obstacles in frame 'map'": 1}
