"""A planner in a recording's shadow: planners whose agreement is known, and what they are told."""

import math

import numpy as np
import pytest

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.errors import DataError
from mbrl_ros.core.layout import ACTIONS, VX, X
from mbrl_ros.core.track import Track
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.data import messages
from mbrl_ros.data.bag import message_types
from mbrl_ros.data.playback import playback
from mbrl_ros.data.writing import BagWriter
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.recorded import Recorded, recorded
from mbrl_ros.evaluation.shadow import Shadow
from mbrl_ros.evaluation.shadow_pictures import draw_map
from mbrl_ros.evaluation.shadow_score import distances, score
from mbrl_ros.planning.control_loop import LoopSettings
from mbrl_ros.planning.planner import PlanningError

CAR = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
START_S, PERIOD_S, HORIZON, DT = 1000.0, 0.02, 100, 0.02
ACKERMANN = "ackermann_msgs/msg/AckermannDriveStamped"


def straight(seconds=6.0):
    """A car at 2 m/s to the east that is told to weave, 50 commands and 100 states a second."""
    state_s = START_S + np.arange(0.0, seconds, PERIOD_S / 2)
    state = np.zeros((len(state_s), 8))
    state[:, X], state[:, VX] = 2.0 * (state_s - START_S), 2.0
    command_s = START_S + np.arange(0.0, seconds, PERIOD_S)
    return Recorded("made", state_s, state, command_s, commanded(command_s), ())


def commanded(times_s):
    phase = 2 * math.pi * (times_s - START_S)
    return np.stack([0.2 * np.sin(phase), np.cos(phase)], axis=-1)


class Parrot:
    """Plans what the driver will do, steering times a factor, and drives at another speed."""

    kind, backend = "parrot", "none"

    def __init__(self, factor=1.0, speed_mps=2.0, silent_s=()):
        self.factor, self.speed_mps, self.silent_s, self.problems = factor, speed_mps, silent_s, []

    def reset(self, plan=None):
        self.problems.clear()

    def plan(self, problem):
        self.problems.append(problem)
        since_s = problem.stamp_s - START_S
        if any(low <= since_s < high for low, high in self.silent_s):
            raise PlanningError("nothing to say")
        middles = problem.stamp_s + DT * (np.arange(HORIZON) + 0.5)
        actions = commanded(np.floor((middles - START_S) / PERIOD_S + 1e-6) * PERIOD_S + START_S)
        states = np.tile(problem.state, (HORIZON + 1, 1))
        states[:, X] += self.speed_mps * DT * np.arange(HORIZON + 1)
        actions = actions * [self.factor, 1.0]
        layout = ACTIONS["acceleration"]
        return ControlSequence(problem.stamp_s, DT, actions, layout, states, "known", {"cost.effort": since_s})


def run(planner, told=None, every_s=None, **span):
    return Shadow(told or straight(), planner, CAR.limits, LoopSettings(), every_s).run(**span)


def test_who_plans_what_the_driver_does_agrees():
    shadowed = run(Parrot())
    everything, *thirds = score(shadowed)
    assert everything.cycles == shadowed.cycles == len(shadowed.solve_times_s)
    assert [band.name for band in thirds] == ["fast"]  # at one speed there are no thirds
    # Plans are read between the middles of their steps, half a step before commands that are held from the beginning.
    half_a_step = 2 * math.pi * DT / 2 / math.sqrt(2)
    for found in (everything.instant, everything.ahead):
        assert found.correlation.min() > 0.995
        np.testing.assert_allclose(found.rms, half_a_step * np.array([0.2, 1.0]), rtol=0.05)
    assert max(path.rms_m for path in everything.paths) < 1e-6
    assert not shadowed.unplanned
    assert everything.costs["effort"] == pytest.approx(np.mean(shadowed.stamp_s) - START_S)


def test_steering_to_the_other_side_and_another_speed_are_seen_as_such():
    shadowed = run(Parrot(factor=-1.0, speed_mps=3.0))
    (everything, *_) = score(shadowed)
    assert everything.instant.correlation[0] < -0.995
    assert everything.instant.correlation[1] > 0.995
    # Twice the driver's amplitude, of a sine.
    assert everything.ahead.rms[0] == pytest.approx(2 * 0.2 / math.sqrt(2), rel=0.02)
    for path in everything.paths:
        assert path.ahead_m == pytest.approx(path.horizon_s)
        assert path.left_m == pytest.approx(0.0, abs=1e-9)
    after_one = distances(shadowed, 1.0)
    assert np.isnan(after_one[-40:]).all()  # the recording ends
    assert after_one[np.isfinite(after_one)] == pytest.approx(1.0)
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    coloured = draw_map(track, shadowed, "parrot").axes[0].collections[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(coloured), 5 * [False] + [True])  # one each second


def test_it_is_told_what_the_driver_knew_and_no_more():
    planner = Parrot()
    run(planner, start_s=2.0, end_s=3.0, every_s=0.1)
    stamps = np.array([problem.stamp_s for problem in planner.problems])
    np.testing.assert_allclose(stamps, START_S + 2.0 + 0.1 * np.arange(11), atol=1e-9)
    for problem in planner.problems:
        assert problem.driven.span_s == pytest.approx(problem.stamp_s - START_S)
        sent_s = problem.stamp_s - PERIOD_S * np.arange(4)
        for when_s in sent_s:
            np.testing.assert_allclose(problem.commands.at(when_s + 1e-6), commanded(when_s), atol=1e-9)
        np.testing.assert_allclose(problem.commands.at(problem.stamp_s + 1.0), commanded(problem.stamp_s), atol=1e-9)


def test_cycles_without_a_plan_are_counted_by_their_reason():
    told = straight()
    kept = (told.state_s < START_S + 1.0) | (told.state_s > START_S + 2.0)
    told = Recorded("made", told.state_s[kept], told.state[kept], told.command_s, told.command, ())
    told.state[50, VX] = np.nan
    shadowed = run(Parrot(silent_s=[(3.0, 3.5)]), told)
    assert shadowed.unplanned["nothing to say"] == 25
    assert 48 <= shadowed.unplanned["no fresh state"] <= 51
    assert shadowed.refused["state non-finite"] == 1
    assert len(shadowed.stamp_s) == shadowed.cycles - sum(shadowed.unplanned.values())
    across = (shadowed.stamp_s > START_S + 0.2) & (shadowed.stamp_s < START_S + 0.8)
    assert np.isnan(distances(shadowed, 1.0)[across]).all()  # no path is drawn across the gap
    with pytest.raises(DataError, match=r"no plan in 300 cycles: nothing to say \(300\)"):
        run(Parrot(silent_s=[(0.0, 9.0)]))
    with pytest.raises(DataError, match=r"no control cycle between 7 s and its end; states last 6\.0 s"):
        run(Parrot(), start_s=7.0)


def test_states_can_be_estimated_from_the_recorded_sensors(tmp_path):
    told = straight()
    types = message_types().types
    point, quaternion = types["geometry_msgs/msg/Point"], types["geometry_msgs/msg/Quaternion"]
    pose, with_covariance = types["geometry_msgs/msg/Pose"], types["geometry_msgs/msg/PoseWithCovariance"]
    with BagWriter(tmp_path / "bag") as bag:
        for k, stamp_s in enumerate(told.state_s):
            stamp_ns = round(stamp_s * 1e9)
            bag.write("/wheel_odom", "nav_msgs/msg/Odometry", messages.odometry(stamp_ns, told.state[k]), stamp_ns)
            bag.write("/imu/data", "sensor_msgs/msg/Imu", messages.imu(stamp_ns, 0.0, (0.0, 0.0, 9.81)), stamp_ns)
            if k % 5 == 0:
                at = pose(point(x=told.state[k, X], y=0.0, z=0.0), quaternion(0.0, 0.0, 0.0, 1.0))
                fix = types["geometry_msgs/msg/PoseWithCovarianceStamped"](
                    messages.header(stamp_ns, "odom"), with_covariance(at, 1e-4 * np.eye(6).ravel())
                )
                bag.write("/pose_fix", "geometry_msgs/msg/PoseWithCovarianceStamped", fix, stamp_ns)
            if k % 2 == 0:
                bag.write("/drive_feedback", ACKERMANN, messages.ackermann(stamp_ns, 0.0), stamp_ns)
                bag.write("/drive", ACKERMANN, messages.ackermann(stamp_ns, 0.0), stamp_ns)
    path = str(tmp_path / "bag")
    found = recorded(path, playback(path, estimate=True), StateEstimator.for_vehicle(CAR))
    assert len(found.state_s) > 0.9 * len(told.state_s)
    late = found.state_s > START_S + 1.0
    np.testing.assert_allclose(found.state[late, X], 2.0 * (found.state_s[late] - START_S), atol=0.05)
    np.testing.assert_allclose(found.state[late, VX], 2.0, atol=0.05)


def test_states_of_another_point_are_refused(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/drive", ACKERMANN, messages.ackermann(10**9, 0.0), 10**9)
        state = messages.vehicle_state(10**9, np.ones(8), "rear_axle")
        bag.write("/vehicle_state", "mbrl_ros/msg/VehicleState", state, 10**9)
    with pytest.raises(DataError, match="/vehicle_state describes the rear_axle"):
        recorded("bag", playback(tmp_path / "bag"))
