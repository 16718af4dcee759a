import numpy as np

from mbrl_ros.core.layout import STATE, VX, YAW
from mbrl_ros.core.state_history import StateHistory


def state(**entries):
    return np.array([entries.get(name, 0.0) for name in STATE.names])


def test_states_are_interpolated_and_headings_take_the_short_way():
    history = StateHistory()
    history.append(1.0, state(vx=2.0, yaw=3.1))
    history.append(1.1, state(vx=3.0, yaw=-3.1))
    middle, before, after = history.at(np.array([1.05, 0.0, 9.0]))
    assert np.isclose(middle[VX], 2.5)
    assert np.isclose(middle[YAW], np.pi)
    assert (before[VX], after[VX]) == (2.0, 3.0)


def test_old_states_are_forgotten_and_a_stamp_in_the_past_overrides_what_follows_it():
    history = StateHistory(keep_s=1.0)
    for k in range(30):
        history.append(0.1 * k, state(vx=float(k)))
    assert 0.9 < history.span_s < 1.1
    history.append(2.75, state(vx=100.0))
    assert history.at(np.array([2.9]))[0, VX] == 100.0


def test_a_copy_is_its_own():
    history = StateHistory()
    history.append(0.0, state(vx=1.0))
    twin = history.copy()
    history.append(1.0, state(vx=2.0))
    assert len(twin) == 1
    assert twin.at(np.array([1.0]))[0, VX] == 1.0
