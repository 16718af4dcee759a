"""The picture of an optimisation: a path for every iteration, and what each of them cost."""

import numpy as np
import pytest
import torch

from mbrl_ros.core.errors import DataError
from mbrl_ros.evaluation.iteration_pictures import draw_iterations
from mbrl_ros.planning.ddp import DDP, DDPSettings, OptimalControlProblem


@pytest.fixture(scope="module")
def solver():
    """A point that is pushed to the origin past a hill, whose cost is bent so that regularisation has work."""
    return DDP(
        OptimalControlProblem(
            lambda x, u: x + 0.2 * u,
            lambda x, u, _: 0.01 * (u**2).sum(-1) + 2 * torch.exp(-4 * ((x - 0.5) ** 2).sum(-1)),
            lambda x: 10 * (x**2).sum(-1),
            state_size=2,
            action_size=2,
        ),
        DDPSettings(max_iterations=30),
    )


def solve(solver, **settings):
    start = torch.tensor([[2.0, 2.0], [1.0, 1.1]], dtype=torch.float64)
    return solver.solve(start, torch.zeros(2, 10, 2, dtype=torch.float64), **settings)


def test_every_iteration_is_drawn_and_its_figures_beside_it(solver):
    solution = solve(solver, keep_states=True)
    figure = draw_iterations(solution, "a hill", problem=1)
    ways, cost, *_ = figure.axes
    took_part = [entry for entry in solution.log if bool(entry.running[1])]
    assert len(took_part) > 2
    assert len(ways.lines) == len(took_part) + 1  # what was found once more, bold
    np.testing.assert_array_equal(ways.lines[-1].get_xydata(), solution.states[1].numpy())
    np.testing.assert_array_equal(cost.lines[0].get_ydata(), [float(entry.cost[1]) for entry in took_part])
    assert cost.get_title(loc="left") == f"converged after {int(solution.iterations[1])} iterations"


def test_states_that_were_not_kept_cannot_be_drawn(solver):
    with pytest.raises(DataError, match="keep_states=True"):
        draw_iterations(solve(solver), "a hill")
