"""A grip drop in mid-drive on simulated time: the level of trust rises and falls, and the car obeys."""

import numpy as np
import pytest
from serving_toys import VEHICLE

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.layout import ACTIONS, STATE, VX
from mbrl_ros.core.track import Track
from mbrl_ros.core.trust import TrustLevel, TrustSettings
from mbrl_ros.estimation import StateEstimator
from mbrl_ros.evaluation.closed_loop import ClosedLoop
from mbrl_ros.evaluation.watch import Watch
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.models.passport import Provenance, Score
from mbrl_ros.planning.control_loop import LoopSettings
from mbrl_ros.simulation.simulator import Simulator

HORIZON, DT = 50, 0.02
CAP_MPS = 0.5 * VEHICLE.limits.speed_mps


class Circle:
    """Drives in a circle at 5 m/s, or slower where it is told to."""

    def __init__(self):
        self.plans, self.resets = 0, 0

    def plan(self, problem):
        self.plans += 1
        speed = min(5.0, problem.speed_cap_mps)
        acceleration = float(np.clip(4.0 * (speed - problem.state[VX]), -4.0, 4.0))
        states = np.zeros((HORIZON + 1, len(STATE)))
        states[:, VX] = problem.state[VX] + acceleration * DT * np.arange(HORIZON + 1)
        actions = np.tile([0.1, acceleration], (HORIZON, 1))
        return ControlSequence(problem.stamp_s, DT, actions, ACTIONS["acceleration"], states=states)

    def reset(self, plan=None):
        self.resets += 1


def car(rate_hz=3.0, **settings):
    """The car on the demo track with a tyre model that is right for full grip, and its watch."""
    score = Score(bag="made", horizon_s=1.0, ade_m=0.05, fde_m=0.1, starts=9)
    model = passport.in_memory(build_for(VEHICLE, "single_track", dt=DT), Provenance(scores=(score,)))
    nominal = Circle()
    watch = Watch(model, VEHICLE.limits.speed_mps, lambda: nominal, TrustSettings(**settings), rate_hz)
    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    estimator, settings = StateEstimator.for_vehicle(VEHICLE), LoopSettings()
    loop = ClosedLoop(VEHICLE, track, Simulator(VEHICLE), estimator, Circle(), settings, watch=watch)
    return loop, nominal


def fastest(loop, last_s):
    return max(state[VX] for stamp_s, state in loop.log.truth if stamp_s > loop.simulator.now_s - last_s)


def test_without_a_drop_the_model_stays_trusted():
    loop, nominal = car()
    loop.run(laps=99, timeout_s=6.0)
    assert len(loop.watch.levels) == pytest.approx(18, abs=1)
    assert set(loop.watch.levels) == {TrustLevel.TRUSTED}
    assert loop.log.summary().distrusted == 0.0
    assert fastest(loop, 1.0) > 4.8
    assert (nominal.plans, loop.planner.resets) == (0, 0)


def test_grip_that_drops_in_mid_drive_slows_the_car_and_trust_comes_back_with_it():
    loop, nominal = car(nominal_residual=50.0, stop_residual=100.0, recovery_dwell_s=1.0)
    loop.run(laps=99, timeout_s=4.0)
    assert loop.watch.standing.level is TrustLevel.TRUSTED
    loop.simulator.set_friction_scale(0.3)
    loop.run(laps=99, timeout_s=3.0)
    assert loop.watch.standing.level is TrustLevel.CAUTIOUS
    assert "residual is" in loop.watch.standing.reason
    assert 0.0 < loop.log.summary().distrusted < 3.0 / 7.0
    loop.simulator.set_friction_scale(1.0)
    loop.run(laps=99, timeout_s=1.0)
    assert fastest(loop, 0.2) < CAP_MPS + 0.2
    loop.run(laps=99, timeout_s=4.0)
    assert loop.watch.standing.level is TrustLevel.TRUSTED
    assert fastest(loop, 0.2) > 4.5
    assert nominal.plans == 0


def test_a_slide_is_seen_before_the_path_is_wrong():
    found = {}
    for name, settings in (("residual", {}), ("slip", {"cautious_slip_rad": 0.06})):
        loop, _ = car(10.0, nominal_residual=50.0, stop_residual=100.0, **settings)
        loop.run(laps=99, timeout_s=4.0)
        assert set(loop.watch.levels) == {TrustLevel.TRUSTED}
        judged = len(loop.watch.levels)
        loop.simulator.set_friction_scale(0.3)
        loop.run(laps=99, timeout_s=3.0)
        found[name] = loop.watch.levels[judged:].index(TrustLevel.CAUTIOUS)
        assert name in loop.watch.standing.reason
    assert found["slip"] < 0.7 * found["residual"]


def test_distrust_plans_with_the_nominal_model():
    loop, nominal = car(cautious_residual=1.0, nominal_residual=1.5, stop_residual=100.0)
    loop.run(laps=99, timeout_s=3.0)
    loop.simulator.set_friction_scale(0.3)
    loop.run(laps=99, timeout_s=3.0)
    assert loop.watch.standing.level is TrustLevel.NOMINAL
    assert nominal.resets == 1
    planned, of_nominal = loop.planner.plans, nominal.plans
    loop.run(laps=99, timeout_s=0.5)
    assert (loop.planner.plans, nominal.plans) == (planned, of_nominal + 25)


def test_a_model_that_fails_altogether_stops_the_car():
    loop, _ = car(cautious_residual=0.8, nominal_residual=0.9, stop_residual=1.0, stop_dwell_s=1.0)
    loop.run(laps=99, timeout_s=3.0)
    loop.simulator.set_friction_scale(0.5)
    loop.run(laps=99, timeout_s=5.0)
    assert loop.watch.standing.level is TrustLevel.STOP
    assert "not trusted: residual" in loop.loop.reason
    assert fastest(loop, 0.2) < 0.1
