"""The parts of DDP: derivatives against differences, box programs against brute force."""

import itertools

import pytest
import torch
from ddp_toys import cartpole

from mbrl_ros.planning.ddp.box_qp import box_qp
from mbrl_ros.planning.ddp.derivatives import convex, expand
from mbrl_ros.planning.ddp.problem import OptimalControlProblem
from mbrl_ros.planning.ddp.small_matrices import Cholesky


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def definite(count, size, seed=0):
    root = random(count, size, size, seed=seed)
    return root @ root.transpose(-1, -2) + 0.1 * torch.eye(size, dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_cholesky_solves_and_tells_what_is_not_positive(size):
    matrices, right = definite(50, size), random(50, size, 3, seed=1)
    torch.testing.assert_close(Cholesky(matrices).solve(right), torch.linalg.solve(matrices, right))
    assert bool(Cholesky(matrices).positive.all())
    matrices[7] -= 1.01 * torch.linalg.eigvalsh(matrices[7])[0] * torch.eye(size, dtype=torch.float64)
    matrices[9, 0, 0] = torch.nan
    positive = Cholesky(matrices).positive
    assert positive.logical_not().nonzero().flatten().tolist() == [7, 9]


def brute_force(hessian, gradient, low, high):
    """The best of all ways to hold entries at a limit that satisfy the limits."""
    best, least = None, torch.inf
    for held in itertools.product((None, low, high), repeat=len(gradient)):
        x = torch.stack([torch.zeros(()).double() if h is None else h[k] for k, h in enumerate(held)])
        free = [k for k, h in enumerate(held) if h is None]
        if free:
            rest = (gradient + hessian @ x)[free]
            x[free] = -torch.linalg.solve(hessian[free][:, free], rest)
        value = x @ hessian @ x / 2 + gradient @ x
        if bool((x >= low - 1e-12).all() and (x <= high + 1e-12).all()) and value < least:
            best, least = x, value
    return best


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_box_programs_equal_brute_force(size):
    count = 100
    hessian, gradient = definite(count, size, seed=2), 3 * random(count, size, seed=3)
    low, high = -random(count, size, seed=4).abs(), random(count, size, seed=5).abs()
    found = box_qp(hessian, gradient, low, high)
    exact = torch.stack([brute_force(*one) for one in zip(hessian, gradient, low, high, strict=True)])
    torch.testing.assert_close(found.x, exact, rtol=1e-6, atol=1e-6)
    on_limit = (exact == low) | (exact == high)
    assert bool(found.free[~on_limit].all())
    assert 0 < int(found.free.logical_not().sum()) < found.free.numel()


def transition_cost(state, action, following):
    return (following[..., 0] * state[..., 1]) ** 2 + torch.cos(action[..., 0]) * following[..., 1]


@pytest.fixture
def curved():
    """The cartpole with a residual as of a network, and a cost that mixes state, action and next state."""
    plain, weight = cartpole(), random(5, 4, seed=7)

    def dynamics(state, action):
        hidden = torch.nn.functional.silu(torch.cat([state, action], dim=-1) @ weight)
        return plain.dynamics(state, action) + 0.1 * hidden

    return OptimalControlProblem(dynamics, transition_cost, plain.terminal_cost, state_size=4, action_size=1)


def test_derivatives_equal_finite_differences(curved):
    states, actions = random(2, 2, 4), random(2, 2, 1, seed=1)
    unconstrained = torch.zeros(2, 2, 0).double(), torch.ones(2).double()
    with torch.no_grad():  # as solvers do
        jacobians, gradient, hessian, curvature = expand(curved, states, actions, *unconstrained, True)
        first = expand(curved, states, actions, *unconstrained, False)
    h = 1e-4
    y = torch.cat([states, actions], dim=-1)

    def joint(y):
        state, action = y[..., :4], y[..., 4:]
        following = curved.dynamics(state, action)
        return torch.cat([following, transition_cost(state, action, following)[..., None]], dim=-1)

    steps = h * torch.eye(5, dtype=torch.float64)
    jacobian = torch.stack([(joint(y + e) - joint(y - e)) / (2 * h) for e in steps], dim=-1)
    torch.testing.assert_close(jacobians, jacobian[..., :4, :], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, jacobian[..., 4, :], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(first[0], jacobians)
    torch.testing.assert_close(first[1], gradient)
    for i, e in enumerate(steps):
        for j, d in enumerate(steps):
            second = (joint(y + e + d) - joint(y + e - d) - joint(y - e + d) + joint(y - e - d)) / (4 * h**2)
            torch.testing.assert_close(curvature[..., i, j], second[..., :4], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(hessian[..., i, j], second[..., 4], rtol=1e-4, atol=1e-4)
    # The first-order method's Hessian lacks exactly what the dynamics' curvature adds through the next state.
    following = curved.dynamics(states, actions)
    pull = torch.stack([2 * following[..., 0] * states[..., 1] ** 2, torch.cos(actions[..., 0])], dim=-1)
    added = (pull[..., :, None, None] * curvature[..., :2, :, :]).sum(-3)
    torch.testing.assert_close(first[2] + added, hessian)
    assert first[3].shape[2] == 0


def test_a_convex_cost_has_the_curvature_of_the_other_sign_and_what_is_not_finite_stays():
    turned, _ = torch.linalg.qr(random(3, 3))

    def bent(*values):
        return turned @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ turned.T

    nothing = torch.full((3, 3), torch.nan, dtype=torch.float64)
    given, wanted = torch.stack([bent(2.0, -5.0, 0.0), nothing]), torch.stack([bent(2.0, 5.0, 0.0), nothing])
    torch.testing.assert_close(convex(given), wanted, equal_nan=True)
