"""Planning with the true model swings Gymnasium's pendulum up."""

import gymnasium
import numpy as np
import pytest

from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings
from mbrl_ros.planning.planner import Problem
from mbrl_ros.simulation.pendulum_planning import DT_S, PendulumModel, PendulumTask


@pytest.mark.parametrize(
    ("kind", "bar"),
    [({"sampler": "spline", "knot_spacing_s": 0.2}, -200.0), ({"update": "cem", "sampler": "coloured"}, -200.0)],
)
def test_pendulum(kind, bar):
    settings = MPPISettings(
        rollouts=128, horizon=25, dt_s=DT_S, effective_share=0.05, control_cost_share=0.0, backend="eager", **kind
    )
    returns = []
    for seed in (0, 1):
        subject = MPPI(PendulumModel(), PendulumTask(), settings, noise_std=[1.0])
        environment, history = gymnasium.make("Pendulum-v1").unwrapped, CommandHistory(np.zeros(1))
        environment.reset(seed=seed)
        returns.append(0.0)
        for step in range(200):
            torque = subject.plan(Problem(environment.state, step * DT_S, history)).actions[0]
            history.append(step * DT_S, torque)
            returns[-1] += float(environment.step(torque)[1])
    assert np.mean(returns) > bar
