import numpy as np
import pytest

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import ACTIONS, YAW

LAYOUT = ACTIONS["acceleration"]


def sequence(count=5, stamp_s=10.0, dt=0.1):
    ramp = np.arange(count, dtype=float)
    return ControlSequence(stamp_s, dt, np.stack([ramp, -ramp], axis=1), LAYOUT, model_id="abc")


def test_it_ends_with_its_last_action():
    assert sequence().end_s == pytest.approx(10.5)


def test_actions_are_met_in_the_middle_of_their_intervals():
    plan = sequence()
    for index in range(5):
        np.testing.assert_allclose(plan.at(10.05 + 0.1 * index), [index, -index])
    np.testing.assert_allclose(plan.at(10.1), [0.5, -0.5])
    np.testing.assert_allclose(plan.at(9.0), [0, 0])
    np.testing.assert_allclose(plan.at(99.0), [4, -4])


def test_interpolation_keeps_the_mean_of_a_straight_ramp():
    plan = sequence()
    fine = np.mean([plan.at(10.2 + t) for t in (np.arange(1000) + 0.5) * 1e-4], axis=0)
    np.testing.assert_allclose(fine, plan.actions[2], atol=1e-9)


@pytest.mark.parametrize("elapsed", [0.0, 0.1, 0.13, 0.3])
def test_shifting_reads_the_same_plan_by_the_elapsed_time(elapsed):
    plan = sequence()
    later = plan.shifted(10.0 + elapsed)
    assert later.stamp_s == 10.0 + elapsed
    assert later.actions.shape == plan.actions.shape
    assert later.model_id == "abc"
    np.testing.assert_allclose(later.actions[:, 0], np.minimum(np.arange(5) + elapsed / 0.1, 4))


def test_what_is_no_plan_is_refused():
    with pytest.raises(LayoutError, match=r"actions have shape \(3, 3\)"):
        ControlSequence(0.0, 0.1, np.zeros((3, 3)), LAYOUT)
    with pytest.raises(LayoutError, match=r"expected \[H >= 1, 2\]"):
        ControlSequence(0.0, 0.1, np.zeros((0, 2)), LAYOUT)
    with pytest.raises(LayoutError, match="non-finite"):
        ControlSequence(0.0, 0.1, np.array([[0.0, np.nan]]), LAYOUT)
    with pytest.raises(LayoutError, match="3 states for 3 actions"):
        ControlSequence(0.0, 0.1, np.zeros((3, 2)), LAYOUT, states=np.zeros((3, 8)))


def with_gains(**changes):
    count = 4
    states = np.zeros((count + 1, 8))
    states[:, 0] = np.arange(count + 1)
    states[:, YAW] = 3.1
    gains = np.zeros((count, 2, 8))
    gains[:, 0, YAW] = -2.0
    gains[:, 1, 0] = -np.arange(count)
    given = {"actions": np.zeros((count, 2)), "states": states, "gains": gains, **changes}
    return ControlSequence(10.0, 0.1, layout=LAYOUT, **given)


def test_gains_correct_for_a_car_beside_its_plan_and_take_no_whole_turn_for_a_deviation():
    plan = with_gains()
    state = plan.states[1].copy()
    np.testing.assert_allclose(plan.correction(10.1, state), 0.0, atol=1e-9)
    state[YAW] = -3.1
    state[0] += 0.5
    np.testing.assert_allclose(plan.correction(10.1, state), [-2.0 * (2 * np.pi - 6.2), -0.5])
    np.testing.assert_allclose(plan.correction(10.15, state)[1], 0.0, atol=1e-9)  # half a step later it is on the plan
    np.testing.assert_allclose(plan.correction(99.0, state)[1], -3.0 * (1.5 - 3.0))  # held outside
    assert not sequence().correction(10.1, state).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"states": None}, "gains of shape"),
        ({"gains": np.zeros((4, 2, 7))}, "fit neither"),
        ({"gains": np.full((4, 2, 8), np.nan)}, "not finite"),
    ],
)
def test_gains_that_do_not_fit_are_refused(change, words):
    with pytest.raises(LayoutError, match=words):
        with_gains(**change)
