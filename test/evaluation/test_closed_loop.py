"""The loop in one process, with planners whose answers are known."""

import itertools

import numpy as np
import pytest

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.layout import ACTIONS, STATE, VX
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import read_drive
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation import closed_loop
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.evaluation.drive_recorder import DriveRecorder
from mbrl_ros.planning.control_loop import LoopSettings
from mbrl_ros.planning.planner import PlanningError
from mbrl_ros.simulation.simulator import Simulator

HORIZON, DT = 50, 0.02


class Straight:
    """Accelerates straight on, until it has no answer any more."""

    def __init__(self, answers=10**6):
        self.answers, self.stamps = answers, []

    def plan(self, problem):
        state, stamp_s = problem.state, problem.stamp_s
        self.stamps.append(stamp_s)
        if len(self.stamps) > self.answers:
            raise PlanningError("no rollout has a finite cost")
        states = np.zeros((HORIZON + 1, len(STATE)))
        states[:, VX] = state[VX] + DT * np.arange(HORIZON + 1)
        return ControlSequence(stamp_s, DT, np.tile([0.0, 1.0], (HORIZON, 1)), ACTIONS["acceleration"], states=states)


def drive(planner, duration_s, start_s=0.0, recorder=None):
    vehicle = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    car = Simulator(vehicle, start_s=start_s)
    loop = ClosedLoop(vehicle, track, car, StateEstimator.for_vehicle(vehicle), planner, LoopSettings(), recorder)
    loop.run(laps=1, timeout_s=duration_s)
    return loop


def test_follows_the_plan_and_begins_at_the_simulators_time():
    loop = drive(Straight(), 1.0, start_s=100.0)
    stamps = np.array([stamp_s for stamp_s, _ in loop.commands])
    np.testing.assert_allclose(stamps, 100.0 + 0.02 * np.arange(50), atol=1e-9)
    first, last = loop.commands[0][1], loop.commands[-1][1]
    assert first.acceleration_mps2 == -loop.vehicle.limits.stopping_mps2  # before there is a plan
    assert last.acceleration_mps2 == pytest.approx(1.0)
    assert 0.3 < loop.log.truth[-1][1][VX] < 1.0


def test_a_planner_without_answers_stops_the_car_and_is_asked_again():
    planner = Straight(answers=40)
    loop = drive(planner, 2.0)
    unanswered = len(planner.stamps) - planner.answers
    assert unanswered > 40
    assert loop.loop.counters["cycles without a plan"] == unanswered
    assert max(state[VX] for _, state in loop.log.truth) > 0.3
    assert loop.log.truth[-1][1][VX] < 0.05


def test_says_whether_the_machine_would_have_kept_the_rate(monkeypatch):
    # Every solve reads the clock twice; every fourth takes 30 ms, the others 5.
    ticks = itertools.accumulate(x for k in itertools.count() for x in (0.1, 0.03 if k % 4 == 0 else 0.005))
    monkeypatch.setattr(closed_loop.time, "perf_counter", lambda: next(ticks))
    summary = drive(Straight(), 1.0).log.summary()
    assert summary.control_rate_kept == pytest.approx(0.75, abs=0.02)
    assert (summary.solve_p50_ms, summary.solve_p99_ms) == (pytest.approx(5.0), pytest.approx(30.0))


def test_a_recorded_drive_is_read_back_as_it_was_driven(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        loop = drive(Straight(), 2.0, start_s=100.0, recorder=DriveRecorder(bag))
    recorded = read_drive(tmp_path / "bag", rate_hz=50.0)
    (segment,) = recorded.segments
    estimates = {round(stamp_s, 3): state for stamp_s, state in loop.log.estimates}
    assert len(segment) > 80
    assert recorded.topics["pose"] == "/vehicle_state"
    for stamp_s, state, action in zip(segment.time_s, segment.state, segment.action, strict=True):
        np.testing.assert_allclose(state, estimates[round(stamp_s, 3)], atol=1e-6)
        held = [command for sent_s, command in loop.commands if sent_s <= stamp_s + 1e-6][-1]
        np.testing.assert_allclose(action, [held.steering_angle_rad, held.acceleration_mps2], atol=1e-9)
