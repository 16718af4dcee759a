"""Plans keep away from obstacles, also in compiled rollouts that know nothing of where they are."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.tasks.obstacles import Obstacle, ObstacleField
from mbrl_ros.core.tasks.racing import RacingSettings, RacingTask
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.control_loop import ControlLoop, LoopSettings
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import PlanningError, Problem, heed
from mbrl_ros.planning.rollouts import Rollouts

DT = 0.05


@pytest.fixture
def cluttered(track, vehicle):
    return RacingTask(track, vehicle, RacingSettings(acceleration_limit_mps2=5.5, obstacles=2), dt=DT)


def drive(car, task, vehicle, track, obstacles=(), seconds=2.0):
    """[N, 8] states of a drive; the plant is the planner's model."""
    settings = MPPISettings(
        rollouts=96, horizon=20, dt_s=DT, steering_std_rad=0.08, acceleration_std_mps2=1.5, effective_share=0.02,
        control_cost_share=0.0, backend="eager",
    )  # fmt: skip
    subject, plant = MPPI(car, task, settings, seed=3), build_for(vehicle, "kinematic_bicycle", dt=DT)
    section, history = track.at(0.0), CommandHistory(np.zeros(2))
    states = [torch.tensor([*section.position, float(section.heading), 2.0, 0.0, 0.0, 0.0, 0.0])]
    with torch.no_grad():
        for step in range(round(seconds / DT)):
            now = step * DT
            plan = subject.plan(Problem(states[-1].numpy(), now, history, obstacles=obstacles))
            history.append(now, plan.at(now))
            acting = [history.mean(now - delay, DT, 1)[0, k] for k, delay in enumerate(plant.delay.tolist())]
            states.append(plant(states[-1], torch.tensor(acting)))
    return torch.stack(states)


def test_the_car_drives_round_what_is_in_its_way(car, cluttered, vehicle, track):
    way = drive(car, cluttered, vehicle, track)
    x, y = way[len(way) * 3 // 4, :2].tolist()
    lying = Obstacle(x, y, radius_m=0.15)
    field = ObstacleField(1, vehicle, torch.float64)
    field.set([lying])
    round_it = drive(car, cluttered, vehicle, track, (lying,))
    assert float(field.clearances(way)[0].min()) < -0.1
    assert float(field.clearances(round_it)[0].min()) > 0.0
    beyond = [float(track.project(states[-1, :2].numpy()).s) for states in (way, round_it)]
    assert beyond[1] > 0.8 * beyond[0]  # it did not just wait before it


@pytest.mark.timeout(900)  # the first test on a machine compiles
def test_compiled_rollouts_take_obstacles_as_they_come(car, cluttered, start, actions):
    compiled, eager = (Rollouts(car, cluttered, backend) for backend in ("compiled", "eager"))
    compiled.warm_up()
    assert compiled.backend == "compiled", compiled.note
    x, y = (float(value) for value in start[:2])
    costs = []
    for obstacles in ((), (Obstacle(x + 1.0, y, radius_m=0.3), Obstacle(x, y + 1.0, 0.1, 0.5, 1.0, 0.4))):
        cluttered.set_obstacles(obstacles)
        costs.append(compiled.evaluate(start, actions))
        torch.testing.assert_close(costs[-1], eager.evaluate(start, actions), rtol=1e-4, atol=1e-3)
    assert float((costs[1] - costs[0]).max()) > 1.0
    assert compiled.term_names[-1] == "obstacles"


def test_the_loop_hands_on_what_was_seen_lately(vehicle):
    loop = ControlLoop(vehicle.limits, LoopSettings(obstacle_silence="drive"), obstacles=2)
    lying = Obstacle(3.0, 0.0, radius_m=0.2)
    loop.seen.observe([lying], 10.0, 10.0)
    loop.observe(np.zeros(8), 10.1, 10.1, 0.0)
    assert loop.problem().obstacles == (lying,)
    loop.observe(np.zeros(8), 10.6, 10.6, 0.0)
    assert loop.problem().obstacles == ()
    assert loop.counters["obstacles stale"] == 1


def test_obstacles_that_the_task_knows_nothing_of_are_an_error():
    class Blind:
        pass

    problem = Problem(np.zeros(8), 0.0, CommandHistory(np.zeros(2)), obstacles=(Obstacle(1.0, 1.0, radius_m=1.0),))
    with pytest.raises(PlanningError, match="Blind knows no obstacles, 1 cannot be avoided"):
        heed(Blind(), problem)
