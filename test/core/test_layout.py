import pytest

from mbrl_ros.core import layout
from mbrl_ros.core.errors import LayoutError
from mbrl_ros.core.layout import ACTIONS, STATE, Layout


def test_column_constants_name_the_state():
    for column, name in enumerate(STATE.names):
        assert getattr(layout, name.upper()) == column == STATE.index(name)
    assert len(STATE) == 8


def test_every_action_layout_begins_with_steering():
    for actions in ACTIONS.values():
        assert actions.names[layout.STEERING_COMMAND] == "steering_command"
        assert actions.unit("steering_command") == "rad"
        assert len(actions) == 2
    assert ACTIONS["speed"].unit("speed_command") == "m/s"


def test_names_are_found_in_the_order_asked():
    assert STATE.indices(("yaw_rate", "x")) == [layout.YAW_RATE, layout.X]
    with pytest.raises(LayoutError, match="no entry 'speed'; there are x, y, yaw"):
        STATE.index("speed")


def test_layouts_that_contradict_themselves_are_refused():
    with pytest.raises(LayoutError, match="2 names but 1 units"):
        Layout(("a", "b"), ("m",))
    with pytest.raises(LayoutError, match="a name repeats"):
        Layout(("a", "a"), ("m", "m"))


def test_names_units_and_order_must_agree():
    mine = Layout(("a", "b"), ("m", "s"))
    mine.require(Layout(("a", "b"), ("m", "s")), "test")
    for other in (Layout(("b", "a"), ("s", "m")), Layout(("a", "b"), ("m", "ms")), Layout(("a",), ("m",))):
        with pytest.raises(LayoutError, match="test: expected"):
            mine.require(other, "test")
