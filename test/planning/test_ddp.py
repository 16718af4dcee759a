"""DDP against closed forms and against itself: Riccati, limits, gaps, constraints, and why it stops."""

import functools

import numpy as np
import pytest
import torch
from ddp_toys import HORIZON, cartpole, hanging, unicycle
from planning_toys import DoubleIntegrator, Regulate, cost_along, optimal_gains

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.planning.ddp import DDP, DDPSettings, OptimalControlProblem, scattered, solve_from_several
from mbrl_ros.planning.ddp.compiled import CompiledPasses
from mbrl_ros.planning.ddp.passes import Passes
from mbrl_ros.planning.ddp.table import iteration_table

SWING_UP_COST = 363.4218
"""Crocoddyl's cartpole from rest, to which it converges, too: benchmarks/ddp_crocoddyl.py."""


def solve(problem, start, actions=None, states=None, horizon=HORIZON, **settings):
    if actions is None:
        actions = torch.zeros(len(start), horizon, problem.action_size, dtype=start.dtype)
    return DDP(problem, DDPSettings(**settings)).solve(start, actions, states, keep_states=True)


@functools.cache
def in_cpp(limit, second_order):
    """Cartpole's passes in C++, which test_ddp_compiled.py holds equal to plain torch: a hundred times quicker."""
    settings = DDPSettings(second_order=second_order)
    passes = CompiledPasses(Passes(cartpole(limit), settings), HORIZON)
    passes.warm_up()
    assert passes.backend == "compiled", passes.note
    return passes


def swing_up(limit, start, second_order=True, **settings):
    passes, actions = in_cpp(limit, second_order), torch.zeros(len(start), HORIZON, 1, dtype=start.dtype)
    solver = DDP(passes.problem, DDPSettings(second_order=second_order, **settings), passes)
    return solver.solve(start, actions, keep_states=True)


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@pytest.fixture
def regulated():
    model, task = DoubleIntegrator(), Regulate(limit=1e3)
    return model, task, OptimalControlProblem.from_task(model, task)


@pytest.mark.parametrize("second_order", [True, False])
def test_a_linear_quadratic_problem_takes_one_iteration_and_equals_riccati(regulated, second_order):
    model, task, problem = regulated
    problem.low = problem.high = None
    start = tensor([1.0, -0.5])
    found = solve(problem, start, horizon=30, second_order=second_order, first_regularisation=0.0)
    assert found.reasons == ["converged"]
    assert int(found.iterations) == 1
    gains = optimal_gains(model, task, 30)
    tolerance = 1e-9 if second_order else 1e-7  # the first-order method's Hessians are differences
    np.testing.assert_allclose(found.gains[0].numpy(), -gains, atol=tolerance)
    state = start[0].numpy()
    a, b = model.matrices()
    for action, gain in zip(found.actions[0].numpy(), gains, strict=True):
        np.testing.assert_allclose(action, -gain @ state, atol=tolerance)
        state = a @ state + b @ action
    assert float(found.cost) == pytest.approx(cost_along(model, task, [1.0, -0.5], found.actions[0].numpy()))


def test_regularisation_slows_but_does_not_bend_the_result(regulated):
    # Were V updated from the regularised Q, the iterations would end elsewhere or not at all.
    model, task, problem = regulated
    found = solve(problem, tensor([1.0, -0.5]), horizon=30, first_regularisation=1e3, tolerance=1e-14)
    assert found.reasons == ["converged"]
    assert int(found.iterations) > 3
    np.testing.assert_allclose(found.gains[0].numpy(), -optimal_gains(model, task, 30), atol=1e-6)


def test_a_bilinear_problem_has_its_closed_form_in_one_newton_step():
    # x' = x u from x = 1 over one step, cost (u^2 + (x' - 3)^2) / 2: a parabola in u whose minimum is 3 / 2.
    problem = OptimalControlProblem(
        lambda x, u: x * u,
        lambda x, u, _: (u[..., 0] ** 2) / 2,
        lambda x: (x[..., 0] - 3) ** 2 / 2,
        state_size=1,
        action_size=1,
    )
    found = solve(problem, tensor([1.0]), horizon=1, first_regularisation=0.0)
    assert float(found.actions) == pytest.approx(1.5, abs=1e-12)
    assert float(found.cost) == pytest.approx(1.5**2)
    # Over two steps from u = (1, 2): u1 x1 = x2 curves the problem, which iLQR does not see. Newton's first step in
    # (u0, u1) of J = (u0^2 + u1^2 + (u0 u1 - 3)^2) / 2 is what DDP's linear term must agree with at the optimum.
    found = solve(problem, tensor([1.0]), actions=tensor([[1.0], [2.0]]).view(1, 2, 1), tolerance=1e-14)
    u = found.actions.flatten()
    np.testing.assert_allclose(u.numpy(), np.sqrt([2.0, 2.0]), atol=1e-6)  # u (1 + (u^2 - 3)) = 0


@pytest.mark.timeout(600)  # compiles, where nothing is kept from an earlier run
@pytest.mark.parametrize(("limit", "second_order"), [(None, True), (10.0, True), (3.0, True), (10.0, False)])
def test_the_pole_swings_up_inside_of_the_limits(limit, second_order):
    found = swing_up(limit, hanging(), second_order, tolerance=1e-5)
    if limit is not None:
        assert float(found.actions.abs().max()) <= limit
    if limit == 3.0:
        assert float(found.actions.abs().max()) == 3.0
        assert float(found.cost) > SWING_UP_COST
        held = found.actions.abs() == 3.0
        assert bool((found.gains[held] == 0).any())
    else:
        assert float(found.cost) == pytest.approx(SWING_UP_COST, rel=1e-3)
        angle = float(found.states[0, -1, 1])
        assert abs(np.sin(angle)) < 0.2 and np.cos(angle) > 0.9


def test_costs_fall_from_iteration_to_iteration_by_a_share_of_what_was_expected():
    found = swing_up(10.0, hanging())
    costs = torch.stack([entry.cost for entry in found.log])
    assert bool((costs.diff(dim=0) <= 1e-9).all())
    for before, entry in zip(found.log, found.log[1:], strict=False):
        if float(entry.step_size):
            assert float(before.cost - entry.cost) > -1e-9
            assert float(entry.expected) < 0
    assert any(not bool(entry.positive) for entry in found.log)  # Quu was indefinite on the way, and it went on
    assert found.log[-1].states.shape == (1, HORIZON + 1, 4)


def test_a_batch_gives_what_its_problems_give_alone():
    starts = hanging(3, seed=1)
    together = swing_up(10.0, starts, max_iterations=15)
    for row, start in enumerate(starts):
        alone = swing_up(10.0, start[None], max_iterations=15)
        assert int(together.iterations[row]) == int(alone.iterations)
        assert together.reasons[row] == alone.reasons[0]
        torch.testing.assert_close(together.actions[row], alone.actions[0], rtol=1e-7, atol=1e-7)


def test_a_guess_of_the_states_that_nothing_can_follow_is_made_feasible():
    start = tensor([-1.0, -1.0, 1.0])
    line = torch.linspace(1, 0, HORIZON + 1, dtype=torch.float64)
    guess = (start[0] * line[:, None])[None]
    found = solve(unicycle(), start, states=guess)
    assert float((guess[:, 1:] - guess[:, :-1]).abs().sum()) > 1.0  # without actions the car would stand still
    assert float(found.gap) < 1e-9
    assert found.reasons == ["converged"]
    plain = solve(unicycle(), start)
    assert float(found.cost) == pytest.approx(float(plain.cost), rel=1e-4)
    state = start
    for k in range(HORIZON):
        state = unicycle().dynamics(state, found.actions[:, k])
        torch.testing.assert_close(state, found.states[:, k + 1], rtol=1e-7, atol=1e-7)


def test_the_table_says_what_happened():
    found = solve(unicycle(), tensor([-1.0, -1.0, 1.0]))
    table = iteration_table(found)
    assert table.row_count == len(found.log)
    assert table.caption == f"converged after {int(found.iterations)}"
    costs = list(table.columns[1].cells)
    assert float(costs[-1]) == pytest.approx(float(found.cost), rel=1e-4)
    assert float(costs[0]) > float(costs[-1])


def test_of_several_guesses_the_best_is_kept_for_each_problem():
    # One step into a cost with two valleys, the deeper one at -1; which is found depends on the side of the guess.
    def valleys(x):
        return ((x[..., 0] ** 2 - 1) ** 2) + 0.1 * x[..., 0]

    problem = OptimalControlProblem(
        lambda x, u: x + u,
        lambda x, u, _: 1e-4 * u[..., 0] ** 2,
        valleys,
        state_size=1,
        action_size=1,
    )
    solver, start = DDP(problem, DDPSettings()), tensor([0.5], [-0.5])
    nothing = torch.zeros(2, 1, 1, dtype=torch.float64)
    alone = solver.solve(start, nothing)
    assert alone.states[:, -1, 0].sign().tolist() == [1.0, -1.0]
    guesses = scattered(nothing, tensor(2.0), 4, torch.Generator().manual_seed(0))
    assert not bool(guesses[0].any())
    found = solve_from_several(solver, start, guesses)
    assert found.states[:, -1, 0].sign().tolist() == [-1.0, -1.0]
    assert float(found.cost[0]) < float(alone.cost[0]) - 0.1
    assert bool((found.cost <= alone.cost + 1e-9).all())
    assert found.reasons == ["converged"] * 2
    np.testing.assert_array_equal(found.log[-1].cost, found.cost)
    with pytest.raises(LayoutError, match=r"guesses have shape \(4, 1, 1\), expected \[G, 2, N, A\]"):
        solve_from_several(solver, start, guesses[:, 0])
    with pytest.raises(LayoutError, match="a spread of shape"):
        scattered(nothing, tensor(1.0, 2.0), 4, torch.Generator())


def test_what_was_given_is_left_as_it_was():
    start, actions = tensor([-1.0, -1.0, 1.0]), torch.zeros(1, HORIZON, 2, dtype=torch.float64)
    solve(unicycle(), start, actions)
    assert not bool(actions.any())
    assert start.tolist() == [[-1.0, -1.0, 1.0]]


def test_constraints_hold_in_the_end(regulated):
    model, task, _ = regulated
    slow = OptimalControlProblem.from_task(model, task)
    slow.constraints = lambda state, action, following: following[..., 1:].abs() - 0.3
    start = tensor([1.0, 0.0])
    free = solve(OptimalControlProblem.from_task(model, task), start, horizon=40)
    assert float(free.states[..., 1].abs().max()) > 0.5
    once = solve(slow, start, horizon=40, penalty_rounds=1)
    found = solve(slow, start, horizon=40, penalty_rounds=6)
    assert float(found.violation) < 1e-3 < float(once.violation)
    assert float(found.cost) > float(free.cost)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("converged", {}),
        ("iteration limit", {"max_iterations": 2}),
    ],
)
def test_reasons_to_stop(reason, changes):
    found = solve(unicycle(), tensor([-1.0, -1.0, 1.0]), **changes)
    assert found.reasons == [reason]
    assert int(found.iterations) == changes.get("max_iterations", int(found.iterations))


def test_a_start_that_leads_to_nothing_finite_says_so_and_harms_no_other():
    found = solve(unicycle(), tensor([-1.0, -1.0, 1.0], [np.nan, 0.0, 0.0]))
    assert found.reasons == ["converged", "non-finite start"]
    assert bool(found.actions.isfinite().all())


def test_a_cost_without_a_minimum_ends_at_the_regularisation_limit():
    # The derivative that is handed out has the wrong sign: no step can bring what is promised.
    class Liar(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(context, inputs, output):
            pass

        @staticmethod
        def backward(context, gradient):
            return -gradient

    problem = OptimalControlProblem(
        lambda x, u: x + u,
        lambda x, u, _: 0.5 * Liar.apply(u[..., 0] + 1) ** 2,
        None,
        state_size=1,
        action_size=1,
    )
    found = solve(problem, tensor([0.0]), horizon=3, second_order=False)
    assert found.reasons == ["regularisation limit"]
    assert not bool(found.actions.any())


def test_shapes_and_bounds_are_checked():
    problem = unicycle()
    with pytest.raises(LayoutError, match=r"start has shape \(1, 2\), expected \[B, 3\]"):
        solve(problem, tensor([0.0, 0.0]))
    with pytest.raises(LayoutError, match="actions have shape"):
        solve(problem, tensor([0.0, 0.0, 0.0]), actions=torch.zeros(1, 5, 3))
    with pytest.raises(LayoutError, match="states have shape"):
        solve(problem, tensor([0.0, 0.0, 0.0]), states=torch.zeros(1, 5, 3))
    with pytest.raises(LayoutError, match="not below"):
        cartpole(-1.0)
    with pytest.raises(LayoutError, match="the model steps"):
        OptimalControlProblem.from_task(DoubleIntegrator(dt=0.1), Regulate(dt=0.2))
