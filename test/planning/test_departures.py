"""A car that stands askew near an edge finds its way off, where there is one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mbrl_ros.core.config import read_settings
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.track import Track
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.departures import Departures
from mbrl_ros.planning.planner import Problem
from mbrl_ros.planning.racing import racing_planner
from mbrl_ros.planning.settings import RacingPlannerSettings

PERIOD_S = 0.04
PLANNERS = Path(__file__).resolve().parents[2] / "config" / "planners"
CHANGES = {"mppi": {"rollouts": 128, "backend": "eager"}, "ddp": {"backend": "eager", "horizon": 50, "dt_s": PERIOD_S}}
HALF_WIDTH_M = 0.8


@pytest.fixture(scope="module")
def road():
    """A wide bend to the left, narrower than the car turns round in."""
    angles = np.linspace(0.0, 2 * np.pi, 200, endpoint=False)
    points = 20.0 * np.column_stack([np.cos(angles), np.sin(angles)])
    widths = np.full(200, HALF_WIDTH_M)
    return Track(points, widths, widths)


def askew(road, lateral_m, turned_rad):
    """A state [8] of a car that stands to the left of the centre line, turned further to the left."""
    return np.array([*road.to_xy(3.0, lateral_m), float(road.at(3.0).heading) + turned_rad, 0.0, 0.0, 0.0, 0.0, 0.0])


def racer(kind, vehicle, road):
    settings = read_settings(PLANNERS / f"{kind}_f1tenth.yaml", RacingPlannerSettings)
    changed = getattr(settings, kind).model_copy(update=CHANGES[kind])
    settings = settings.model_copy(update={kind: changed})
    loaded = passport.in_memory(build_for(vehicle, "kinematic_bicycle", dt=PERIOD_S / 2))
    return racing_planner(settings, loaded, vehicle, road, seed=1), loaded.model


def drive(planner, model, track, state, cycles, **asked):
    """Speed at last, and the least distance of the car's middle to an edge, after some cycles of planning."""
    history, clearance = CommandHistory(np.zeros(2)), np.inf
    for cycle in range(cycles):
        now_s = cycle * PERIOD_S
        command = planner.plan(Problem(state, now_s, history, **asked)).at(now_s + PERIOD_S / 2)
        history.append(now_s, command)
        acting = [history.mean(now_s - delay, PERIOD_S, 1)[0, k] for k, delay in enumerate(model.delay.tolist())]
        with torch.no_grad():
            for _ in range(2):
                state = model(torch.from_numpy(state), torch.tensor(acting)).numpy()
        state[3] = max(state[3], 0.0)  # a car brakes to a stop, and not backwards
        place = track.project(state[:2])
        left, right = place.section.width_left - place.lateral, place.section.width_right + place.lateral
        clearance = min(clearance, float(left), float(right))
    return state[3], clearance


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize(("lateral_m", "turned_rad"), [(0.45, 0.7), (0.53, 0.6), (0.6, 0.3)])
def test_a_car_that_stands_askew_turns_in_while_it_drives_off(kind, lateral_m, turned_rad, vehicle, road):
    planner, model = racer(kind, vehicle, road)
    speed, clearance = drive(planner, model, road, askew(road, lateral_m, turned_rad), cycles=25)
    assert speed > 1.5
    assert clearance > vehicle.width_m / 2


@pytest.mark.parametrize("kind", CHANGES)
def test_it_does_so_below_a_speed_cap_too(kind, vehicle, road):
    planner, model = racer(kind, vehicle, road)
    speed, clearance = drive(planner, model, road, askew(road, 0.53, 0.6), cycles=30, speed_cap_mps=1.0)
    assert 0.5 < speed < 1.2
    assert clearance > vehicle.width_m / 2


@pytest.mark.parametrize("kind", CHANGES)
def test_near_a_plan_that_stands_still_alone_no_way_off_is_found(kind, vehicle, road, monkeypatch):
    # What departures are there for; a search that reaches further by itself would do without them.
    monkeypatch.setattr(Departures, "due", lambda *arguments: False)
    planner, model = racer(kind, vehicle, road)
    speed, _ = drive(planner, model, road, askew(road, 0.53, 0.6), cycles=15)
    assert speed < 0.1


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("turned_rad", [0.9, 1.2])
def test_with_its_nose_at_the_edge_it_stays_where_it_is(kind, turned_rad, vehicle, road):
    planner, model = racer(kind, vehicle, road)
    speed, clearance = drive(planner, model, road, askew(road, 0.6, turned_rad), cycles=12)
    assert speed < 0.2
    assert clearance == pytest.approx(HALF_WIDTH_M - 0.6, abs=0.02)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_planner_that_is_reset_departs_the_same_way_again(kind, vehicle, road):
    planner, _ = racer(kind, vehicle, road)
    problems = [Problem(askew(road, 0.53, 0.6), stamp, CommandHistory(np.zeros(2))) for stamp in (1.0, 1.02)]
    first = [planner.plan(problem).actions for problem in problems]
    planner.reset()
    again = [planner.plan(problem).actions for problem in problems]
    np.testing.assert_array_equal(again, first)
    assert not np.allclose(first[1][:, 1], 0.0, atol=1.0)  # it does depart


LOW, HIGH = torch.tensor([-0.4, -8.0]), torch.tensor([0.3, 3.0])


def test_departures_steer_both_ways_within_the_bounds_and_then_straight_ahead():
    ways = Departures((LOW, HIGH), horizon=40, dt=0.05).ways
    assert ways.shape[1:] == (40, 2)
    assert len(ways.unique(dim=0)) == len(ways)
    assert (ways >= LOW).all()
    assert (ways <= HIGH).all()
    assert ways[:, 0, 0].unique().tolist() == pytest.approx([-0.4, -0.2, 0.0, 0.15, 0.3])
    assert (ways[:, 0, 1] > 0).all()
    assert (ways[:, 10:, 1] == 0).all()


def asked(speed, stamp_s=5.0, cap=np.inf):
    return Problem(np.array([0, 0, 0, speed, 0, 0, 0, 0.0]), stamp_s, CommandHistory(np.zeros(2)), speed_cap_mps=cap)


@pytest.mark.parametrize(
    ("speed", "ahead", "cap", "due"),
    [
        (0.1, [0.1, 0.2], np.inf, True),
        (0.1, [0.1, 2.0], np.inf, False),
        (0.9, [0.9, 0.0], np.inf, False),
        (0.3, [0.3, 0.3], 0.4, False),
    ],
    ids=["stands", "drives off", "stops", "drives as it may"],
)
def test_they_are_due_where_a_car_stands_and_goes_nowhere(speed, ahead, cap, due):
    states = np.stack([asked(each).state for each in ahead])
    assert Departures((LOW, HIGH), 40, 0.05).due(asked(speed, cap=cap), states) == due


def test_they_are_looked_at_once_in_a_while():
    departures = Departures((LOW, HIGH), 40, 0.05)
    at_rest = np.zeros((2, 8))
    assert [departures.due(asked(0.0, stamp), at_rest) for stamp in (5.0, 5.1, 5.19, 5.21, 5.3, 1.0)] == [
        *(True, False, False),
        *(True, False, True),
    ]
    departures.reset()
    assert departures.due(asked(0.0, 1.1), at_rest)
