"""MPPI drives a lap of a small track from standstill; the plant is the planner's model, integrated finer."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.lap import LapTimer
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import Problem

pytestmark = [
    pytest.mark.timeout(900),  # the first test on a machine compiles
    pytest.mark.parametrize("backend", ["compiled", "fused"]),
]

CONTROL_PERIOD_S = 0.02
PLANT_STEP_S = 0.01


def planner(car, race, backend, seed=3):
    values = {
        "rollouts": 512,
        "horizon": 30,
        "dt_s": car.dt,
        "steering_std_rad": 0.06,
        "acceleration_std_mps2": 1.5,
        "effective_share": 0.02,
        "control_cost_share": 0.0,
        "backend": backend,
    }
    subject = MPPI(car, race, MPPISettings(**values), seed=seed)
    subject.warm_up()
    assert subject.backend == backend, subject.note
    return subject


def drive(subject, vehicle, track, duration_s):
    """The lap timer after a drive that ends with the first lap, and the commands sent [N, 2]."""
    plant = build_for(vehicle, "kinematic_bicycle", dt=PLANT_STEP_S)
    delays = plant.delay.tolist()
    section, history = track.at(0.0), CommandHistory(np.zeros(2))
    state = torch.tensor([*section.position, float(section.heading), 0.0, 0.0, 0.0, 0.0, 0.0])
    timer, commands = LapTimer(track.length_m, vehicle.width_m), []
    for step in range(round(duration_s / PLANT_STEP_S)):
        now = step * PLANT_STEP_S
        if step % round(CONTROL_PERIOD_S / PLANT_STEP_S) == 0:
            commands.append(subject.plan(Problem(state.numpy(), now, history)).at(now))
            history.append(now, commands[-1])
        acting = [history.mean(now - delay, PLANT_STEP_S, 1)[0, k] for k, delay in enumerate(delays)]
        with torch.no_grad():
            state = plant(state, torch.tensor(acting))
        place = track.project(state[:2].numpy())
        widths = place.section.width_left, place.section.width_right
        timer.add(now + PLANT_STEP_S, float(place.s), float(place.lateral), *map(float, widths))
        if timer.laps:
            break
    return timer, np.stack(commands)


def test_a_lap_without_leaving_the_track(car, race, vehicle, track, backend):
    timer, commands = drive(planner(car, race, backend), vehicle, track, duration_s=30.0)
    assert len(timer.laps) == 1
    assert timer.exits == 0
    assert track.length_m / timer.laps[0].time_s > 2.5  # not by creeping
    limits = vehicle.limits
    assert np.abs(commands[:, 0]).max() <= limits.steering_angle_rad + 1e-6
    assert -limits.braking_mps2 - 1e-6 <= commands[:, 1].min() < 0 < commands[:, 1].max()


def test_the_same_drive_twice_is_the_same_to_the_bit(car, race, vehicle, track, backend):
    first, second = (drive(planner(car, race, backend), vehicle, track, duration_s=1.5)[1] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert drive(planner(car, race, backend, seed=4), vehicle, track, duration_s=1.5)[1].tobytes() != first.tobytes()
