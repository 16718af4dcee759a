"""DDP compiled to C++ against DDP in plain torch, decision by decision; and what is said where it is not compiled."""

import math

import pytest
import torch
from ddp_toys import cartpole, hanging

from mbrl_ros.core.errors import LayoutError
from mbrl_ros.models.learned.networks import Perceptron
from mbrl_ros.planning.ddp import DDP, DDPSettings, OptimalControlProblem
from mbrl_ros.planning.ddp.compiled import CompiledPasses, _Pass
from mbrl_ros.planning.ddp.derivatives import expand
from mbrl_ros.planning.ddp.passes import Passes

HORIZON = 20

pytestmark = pytest.mark.timeout(600)  # it compiles, which takes minutes on a busy machine


def constrained_cartpole():
    """Limited in force and, softly, in position."""
    plain = cartpole(10.0)
    return OptimalControlProblem(
        plain.dynamics,
        plain.cost,
        plain.terminal_cost,
        state_size=4,
        action_size=1,
        bounds=(plain.low, plain.high),
        constraints=lambda state, action, following: following[..., :1].abs() - 1.0,
    )


@pytest.fixture(scope="module")
def problem():
    return constrained_cartpole()


@pytest.fixture(scope="module")
def compiled(problem):
    passes = CompiledPasses(Passes(problem, DDPSettings(step_sizes=4)), HORIZON)
    passes.warm_up()
    assert passes.backend == "compiled", passes.note
    return passes


def both(problem, compiled, start, actions=None, states=None, **settings):
    """The solutions of compiled and of plain passes, which must agree in all that they decided."""
    if actions is None:
        actions = torch.zeros(len(start), HORIZON, 1, dtype=torch.float64)
    settings = DDPSettings(step_sizes=4, **settings)
    fast, plain = (DDP(problem, settings, passes).solve(start, actions, states) for passes in (compiled, None))
    assert fast.reasons == plain.reasons
    assert fast.iterations.tolist() == plain.iterations.tolist()
    assert len(fast.log) == len(plain.log)
    for ours, theirs in zip(fast.log, plain.log, strict=True):
        for name in ("step_size", "mu", "positive", "running"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name))
        for name in ("cost", "expected", "gap"):
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), equal_nan=True)
    for name in ("states", "actions", "gains", "transitions", "cost", "violation"):
        torch.testing.assert_close(getattr(fast, name), getattr(plain, name), rtol=1e-6, atol=1e-6, equal_nan=True)
    return fast


def test_a_batch_follows_the_same_course_whatever_its_size_and_the_threads(problem, compiled):
    starts = hanging(5, seed=1)
    starts[3, 1] = math.nan
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    found = both(problem, compiled, starts, max_iterations=6)
    torch.set_num_threads(before)
    assert found.reasons[3] == "non-finite start"
    assert bool(found.actions.isfinite().all())
    assert any(not bool(entry.positive.all()) for entry in found.log)  # some backward passes had to be mended
    alone = both(problem, compiled, starts[2:3], max_iterations=6)
    assert torch.equal(alone.actions[0], found.actions[2])


def test_guesses_with_gaps_and_growing_penalties_too(problem, compiled):
    start = hanging(2, seed=2)
    guess = start[:, None] * torch.linspace(1, 0, HORIZON + 1, dtype=torch.float64)[:, None]
    found = both(problem, compiled, start, states=guess, max_iterations=12, penalty_rounds=2)
    assert float(found.log[0].gap.max()) > 0.1


def test_reasons_to_stop_are_the_same(problem, compiled):
    upright = torch.zeros(1, 4, dtype=torch.float64)
    assert both(problem, compiled, upright, first_regularisation=0.0).reasons == ["converged"]
    assert both(problem, compiled, upright).reasons == ["regularisation limit"]  # nothing is left to gain
    assert both(problem, compiled, hanging(), max_iterations=1).reasons == ["iteration limit"]


def test_changed_limits_count_at_once_and_programs_are_kept(problem, compiled):
    problem.high.fill_(2.0)
    problem.low.fill_(-2.0)
    found = both(problem, compiled, hanging(1, seed=4), max_iterations=5)
    problem.high.fill_(10.0)
    problem.low.fill_(-10.0)
    assert float(found.actions.abs().max()) == 2.0
    again = CompiledPasses(Passes(constrained_cartpole(), DDPSettings(step_sizes=4)), HORIZON)
    again.warm_up()
    assert (again.backend, again.note) == ("compiled", "")


class Corrected(torch.nn.Module):
    """The cartpole's step with an untaught network behind it."""

    def __init__(self, plain):
        super().__init__()
        torch.manual_seed(0)
        self.plain, self.network = plain, Perceptron(2, (5, 16, 16, 4)).double()

    def forward(self, state, action):
        seen = torch.cat([state, action], dim=-1)
        residual = self.network(seen.reshape(-1, 5).mT.expand(2, -1, -1)).mean(0).mT
        return self.plain(state, action) + 0.05 * residual.reshape(state.shape)


def test_networks_are_derived_twice_in_a_workspace_of_their_own(monkeypatch):
    monkeypatch.setattr("mbrl_ros.planning.native.program._MOST_ON_STACK", 1 << 16)
    plain = cartpole(10.0)
    problem = OptimalControlProblem(
        Corrected(plain.dynamics),
        plain.cost,
        plain.terminal_cost,
        state_size=4,
        action_size=1,
        bounds=(plain.low, plain.high),
    )
    passes = CompiledPasses(Passes(problem, DDPSettings(step_sizes=4)), HORIZON)
    passes.warm_up()
    assert passes.backend == "compiled", passes.note
    found = both(problem, passes, hanging(3, seed=7), max_iterations=4)
    assert bool((found.cost < found.first_cost).all())
    nothing = torch.zeros(1, 1, 0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    with torch.no_grad():
        derivatives = expand(problem, hanging()[None], torch.zeros(1, 1, 1, dtype=torch.float64), *nothing, True)
    assert not any(one.requires_grad for one in derivatives)
    assert "workspace" in passes._source("expand", _Pass(problem, passes.eager.expand))


def test_what_cannot_be_compiled_is_said_and_computed_in_torch():
    problem = OptimalControlProblem(
        lambda x, u: x + u,
        lambda x, u, _: (u**2).sum(-1) + torch.special.i0(x).sum(-1),
        None,
        state_size=1,
        action_size=1,
    )
    passes = CompiledPasses(Passes(problem, DDPSettings(second_order=False)), 3)
    passes.warm_up()
    assert passes.backend == "eager"
    assert passes.note.startswith("DDP is not compiled: MbrlError: operation aten.")
    start = torch.ones(1, 1, dtype=torch.float64)
    settings = DDPSettings(second_order=False, max_iterations=3)
    found = DDP(problem, settings, passes).solve(start, torch.zeros(1, 3, 1, dtype=torch.float64))
    assert float(found.cost) < float(found.first_cost)


def test_another_horizon_than_that_of_the_programs_is_computed_in_torch(problem, compiled):
    start, actions = hanging(1, seed=5), torch.zeros(1, 7, 1, dtype=torch.float64)
    both(problem, compiled, start, actions, max_iterations=2)


def test_memory_that_programs_were_not_made_for_is_refused(problem, compiled):
    actions = torch.zeros(1, HORIZON, 1)
    with pytest.raises(LayoutError, match=r"'states' of .*float64.* not of .*float32"):
        DDP(problem, DDPSettings(step_sizes=4), compiled).solve(hanging(1, seed=6).float(), actions)
    settings = DDPSettings(step_sizes=4, second_order=False)
    with pytest.raises(LayoutError, match="made for 'curvature'"):
        DDP(problem, settings, compiled).solve(hanging(1, seed=6), actions.double())
