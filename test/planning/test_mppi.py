"""MPPI on systems with known answers, and the wrong forms that must fail."""

import numpy as np
import pytest
import torch
from planning_toys import FORCE, DoubleIntegrator, Indifferent, Regulate, cost_along, optimal_gains

from mbrl_ros.core.control_sequence import ControlSequence
from mbrl_ros.core.delay import CommandHistory
from mbrl_ros.core.errors import ConfigError, LayoutError
from mbrl_ros.planning.mppi import MPPI
from mbrl_ros.planning.mppi_settings import MPPISettings, standard_deviations
from mbrl_ros.planning.planner import PlanningError, Problem
from mbrl_ros.planning.weighting import effective_sample_size, weigh

HORIZON = 30


def settings(**changes):
    values = {
        "rollouts": 512,
        "horizon": HORIZON,
        "dt_s": 0.1,
        "knot_spacing_s": 0.0,
        "control_cost_share": 0.0,
        "backend": "eager",
    }
    return MPPISettings(**{**values, **changes})


def planner(model=None, task=None, seed=0, std=1.0, **changes):
    return MPPI(model or DoubleIntegrator(), task or Regulate(), settings(**changes), seed, noise_std=[std])


def quiet():
    return CommandHistory(np.zeros(1))


def drive(subject, plant, task, cycles, state=(2.0, 0.0), delay_steps=0):
    """Cost of a closed loop in steps of the plan, against ``plant`` whose commands act ``delay_steps`` later."""
    s, history, cost, waiting = torch.tensor(state, dtype=torch.float64), quiet(), 0.0, [0.0] * delay_steps
    with torch.no_grad():
        for cycle in range(cycles):
            stamp = cycle * plant.dt
            command = subject.plan(Problem(s.numpy(), stamp, history)).actions[0]
            history.append(stamp, command)
            waiting.append(float(command[0]))
            acting = torch.tensor([waiting.pop(0)], dtype=torch.float64)
            following = plant(s, acting)
            cost -= float(task.reward(s, acting, following))
            s = following
    return cost


def test_an_open_loop_plan_comes_near_the_riccati_optimum():
    model, task, start = DoubleIntegrator(), Regulate(limit=50.0), np.array([2.0, 0.0])
    s, actions = start, []
    for gain in optimal_gains(model, task, HORIZON):
        actions.append(-gain @ s)
        a, b = model.matrices()
        s = a @ s + b @ actions[-1]
    best = cost_along(model, task, start, np.array(actions))
    plan = planner(model, task, iterations=20, rollouts=1024, effective_share=0.02, knot_spacing_s=0.3).plan(
        Problem(start, 0.0, quiet())
    )
    assert best <= cost_along(model, task, start, plan.actions) <= 1.03 * best


def test_a_closed_loop_comes_near_the_riccati_optimum():
    model, task = DoubleIntegrator(), Regulate(limit=50.0)
    gain = optimal_gains(model, task, 200)[0]
    s, best = torch.tensor([2.0, 0.0], dtype=torch.float64), 0.0
    with torch.no_grad():
        for _ in range(40):
            action = torch.from_numpy(-gain) @ s
            following = model(s, action)
            best -= float(task.reward(s, action, following))
            s = following
    subject = planner(model, task, iterations=4, std=2.0, effective_share=0.02, knot_spacing_s=0.3)
    cost = drive(subject, model, task, cycles=40)
    assert cost <= 1.1 * best


def test_costs_of_the_plan_are_told_by_term():
    model, task, start = DoubleIntegrator(), Regulate(), np.array([1.0, 0.5])
    plan = planner(model, task).plan(Problem(start, 0.0, quiet()))
    terms = {name: plan.diagnostics[f"cost.{name}"] for name in task.term_names}
    assert plan.diagnostics["total_cost"] == pytest.approx(sum(terms.values()))
    assert plan.diagnostics["total_cost"] == pytest.approx(cost_along(model, task, start, plan.actions), rel=1e-4)
    effort = 0.1 * float(np.square(plan.actions).sum())
    assert terms["effort"] == pytest.approx(effort, rel=1e-4)
    assert plan.states.shape == (HORIZON + 1, 2)
    np.testing.assert_allclose(plan.states[0], start, atol=1e-6)
    assert plan.layout == FORCE


def test_an_offset_of_every_reward_changes_nothing():
    plain = planner(task=Regulate()).plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    offset = planner(task=Regulate(offset=8.0)).plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    np.testing.assert_allclose(offset.actions, plain.actions, atol=1e-4)


def test_negative_control_weighting_by_raw_returns_depends_on_an_offset():
    returns = -torch.tensor([1.0, 2.0, 4.0])

    def raw(values):
        return values / values.sum()

    assert not torch.allclose(raw(returns), raw(returns + 8.0), atol=0.05)
    ours, shifted = (weigh(-values, torch.zeros(3), 1.0, None)[0] for values in (returns, returns + 8.0))
    torch.testing.assert_close(ours, shifted)
    assert ours[0] > ours[1] > ours[2]
    assert raw(returns)[0] < raw(returns)[2]  # and of penalties it prefers the largest


def test_where_every_plan_costs_the_same_the_plan_stays():
    subject = planner(task=Indifferent(), rollouts=4096, std=0.3, effective_share=None)
    stay = subject.plan(Problem(np.zeros(2), 0.0, quiet()))
    np.testing.assert_allclose(stay.actions, 0.0, atol=0.03)

    nominal, generator = 1.0, torch.Generator().manual_seed(0)
    noise = 0.3 * torch.randn(4096, generator=generator)
    weights = torch.full((4096,), 1 / 4096)
    right, wrong = nominal + weights @ noise, nominal + weights @ (nominal + noise)
    assert float(right) == pytest.approx(nominal, abs=0.03)
    assert float(wrong) == pytest.approx(2 * nominal, abs=0.03)  # averaging actions onto u doubles it


def test_noise_is_taken_after_clamping():
    """At a bound half of the noise is cut off: the mean of what is left pulls inwards by sigma / sqrt(2 pi)."""
    limit, std = 1.0, 0.5
    subject = planner(task=Indifferent(limit=limit), rollouts=8192, horizon=4, std=std, effective_share=None)
    subject._previous = subject.plan(Problem(np.zeros(2), 0.0, quiet()))
    subject._previous.actions[:] = limit
    plan = subject.plan(Problem(np.zeros(2), 0.0, quiet()))
    np.testing.assert_allclose(plan.actions, limit - std / np.sqrt(2 * np.pi), atol=0.02)
    assert plan.diagnostics["saturation_share"] == pytest.approx(0.5, abs=0.1)

    noise = std * torch.randn(8192, generator=torch.Generator().manual_seed(0))
    right, wrong = (limit + noise).clamp(-limit, limit).mean(), (limit + noise.mean()).clamp(-limit, limit)
    assert float(right) == pytest.approx(limit - std / np.sqrt(2 * np.pi), abs=0.02)
    assert float(wrong) > limit - 0.02  # noise before clamping averages what no rollout did


def test_plans_and_samples_stay_inside_of_the_bounds():
    subject = planner(task=Regulate(limit=0.7), std=5.0)
    plan = subject.plan(Problem(np.array([50.0, 0.0]), 0.0, quiet()))
    assert np.abs(plan.actions).max() <= 0.7 + 1e-6
    applied = subject._samples[1]
    assert float(applied.abs().max()) <= 0.7 + 1e-6
    assert plan.diagnostics["saturation_share"] > 0.7


def test_the_control_cost_alone_draws_the_plan_to_zero_in_one_step():
    """Weights ``exp(-u eps / sigma^2)`` tilt Gaussian noise to the mean -u, whatever the temperature."""
    for temperature in (0.1, 10.0):
        subject = planner(
            task=Indifferent(limit=50.0),
            rollouts=16384,
            horizon=3,
            std=2.0,
            control_cost_share=1.0,
            temperature=temperature,
            effective_share=None,
        )
        subject._previous = subject.plan(Problem(np.zeros(2), 0.0, quiet()))
        subject._previous.actions[:] = 1.5
        np.testing.assert_allclose(subject.plan(Problem(np.zeros(2), 0.0, quiet())).actions, 0.0, atol=0.15)


def test_derivative_noise_is_sampling_and_averaging_rates():
    """SMPPI by hand: rates are drawn, weighted and averaged, and commands are their integral from the one sent last."""
    subject = planner(sampler="derivative", rollouts=64, control_cost_share=1.0, effective_share=None, std=0.5)
    history, state, last = quiet(), np.array([1.0, 0.0]), 0.7
    history.append(-1.0, np.array([last]))
    subject.reset(ControlSequence(0.0, 0.1, np.linspace(0.6, -0.3, HORIZON)[:, None], FORCE))
    plan = subject.plan(Problem(state, 0.0, history)).actions[:, 0]
    _, applied, costs = subject._samples
    rates = np.diff(applied[..., 0].double().numpy(), axis=1, prepend=last) / 0.1  # [K, H]
    nominal = rates[0]  # of the sample without noise
    rate_std = 0.5 * np.sqrt(2.0 / (HORIZON + 1)) / 0.1  # its sum's mean square over the horizon is 0.5^2
    exponents = -costs.double().numpy() - ((rates - nominal) @ nominal) / rate_std**2
    weights = np.exp(exponents - exponents.max())
    rate = weights @ rates / weights.sum()
    np.testing.assert_allclose(plan, last + 0.1 * np.cumsum(rate), atol=1e-4)


def test_effective_sample_size():
    assert effective_sample_size(torch.full((50,), 1 / 50)) == pytest.approx(50)
    assert effective_sample_size(torch.tensor([1.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_sample_size(torch.tensor([0.5, 0.5, 0.0])) == pytest.approx(2)


def test_weights_are_exponential_in_cost_over_temperature():
    costs, pull = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0.5, 0.0, -1.0])
    weights, temperature = weigh(costs, pull, 0.7, None)
    expected = torch.exp(-costs / 0.7 - pull)
    torch.testing.assert_close(weights, expected / expected.sum())
    assert temperature == 0.7


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e5])
def test_the_temperature_is_adapted_to_the_wanted_sample_size(scale):
    costs = scale * torch.randn(1000, generator=torch.Generator().manual_seed(0)) ** 2
    for share in (0.01, 0.1, 0.5):
        weights, _ = weigh(costs, torch.zeros(1000), 1.0, share)
        assert effective_sample_size(weights) == pytest.approx(1000 * share, rel=0.1)


def test_equal_costs_leave_the_temperature_alone():
    weights, temperature = weigh(torch.full((100,), 3.0), torch.zeros(100), 2.5, 0.1)
    assert temperature == 2.5
    torch.testing.assert_close(weights, torch.full((100,), 0.01))


def test_what_is_not_finite_gets_no_weight():
    costs = torch.tensor([3.0, float("nan"), float("inf"), 4.0, -float("inf")])
    weights, _ = weigh(costs, torch.zeros(5), 1.0, None)
    assert weights[[1, 2, 4]].tolist() == [0.0, 0.0, 0.0]
    assert float(weights.sum()) == pytest.approx(1.0)


def test_rollouts_that_are_not_finite_are_counted_and_avoided():
    class Cliff(DoubleIntegrator):
        def forward(self, state, action):
            return torch.where(action > 0.3, torch.nan, super().forward(state, action))

    subject = planner(model=Cliff(), task=Regulate(), horizon=2)
    plan = subject.plan(Problem(np.array([-1.0, 0.0]), 0.0, quiet()))  # the way home leads over the cliff
    assert 0.3 < plan.diagnostics["non_finite_share"] < 0.8
    assert (plan.actions <= 0.3).all()
    assert np.isfinite(plan.states).all()


def test_no_finite_rollout_is_an_error_that_names_the_cycle_and_keeps_the_plan():
    subject = planner()
    before = subject.plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    with pytest.raises(PlanningError, match=r"at 0\.100 s: of 512 rollouts none"):
        subject.plan(Problem(np.array([np.nan, 0.0]), 0.1, quiet()))
    assert subject._previous is before


def test_same_seed_same_bits():
    def three(seed):
        subject = planner(seed=seed)
        return np.stack([subject.plan(Problem(np.array([1.0, 0.1 * k]), 0.05 * k, quiet())).actions for k in range(3)])

    assert three(1).tobytes() == three(1).tobytes()
    assert three(1).tobytes() != three(2).tobytes()


def test_reset_begins_anew():
    subject = planner()
    first = subject.plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    second = subject.plan(Problem(np.array([1.0, 0.0]), 0.1, quiet()))
    subject.reset()
    again = subject.plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    assert again.actions.tobytes() == first.actions.tobytes() != second.actions.tobytes()


def test_the_nominal_plan_is_the_previous_one_shifted_by_the_elapsed_time():
    subject = planner()
    previous = subject.plan(Problem(np.array([1.0, 0.0]), 10.0, quiet()))
    subject.plan(Problem(np.array([1.0, 0.0]), 10.04, quiet()))
    nominal = subject._samples[1][0]  # the sample without noise
    np.testing.assert_allclose(nominal, previous.shifted(10.04).actions, atol=1e-6)
    by_one_step = np.concatenate([previous.actions[1:], previous.actions[-1:]])
    assert np.abs(nominal.numpy() - by_one_step).max() > 0.05


def test_the_shifted_previous_plan_stays_among_the_samples_of_every_iteration():
    subject = planner(iterations=3)
    previous = subject.plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    plan = subject.plan(Problem(np.array([1.0, 0.0]), 0.1, quiet()))
    np.testing.assert_allclose(subject._samples[1][1], previous.shifted(0.1).actions, atol=1e-6)
    assert plan.diagnostics["iterations"] == 3


def test_the_plan_predicts_what_a_delayed_actuator_does():
    """Commands act 2.5 steps late: simulate them on a fine grid, where the delay is a whole number of steps."""
    subject = planner(model=DoubleIntegrator(delay=0.25))
    history = quiet()
    for k, force in enumerate((1.0, -2.0, 0.5, 1.5)):
        history.append(-0.4 + 0.1 * k, np.array([force]))
    plan = subject.plan(Problem(np.array([1.0, 0.0]), 0.0, history))
    fine, s, states = DoubleIntegrator(dt=0.05), torch.tensor([1.0, 0.0], dtype=torch.float64), []
    for k in range(20):
        stamp = 0.05 * k - 0.25 + 1e-9
        force = history.at(stamp) if stamp < 0 else plan.actions[int(stamp / 0.1)]
        s = fine(s, torch.tensor(force, dtype=torch.float64))
        states.append(s.detach().numpy())
    # Over a step the mean of the two forces acts instead of one after the other: exact in velocity.
    np.testing.assert_allclose(plan.states[1:11, 1], np.stack(states)[1::2, 1], atol=1e-5)
    np.testing.assert_allclose(plan.states[1:11, 0], np.stack(states)[1::2, 0], atol=0.05)


def test_ignoring_the_delay_makes_the_closed_loop_worse():
    task = Regulate(weights=(1.0, 0.0, 0.001), limit=10.0)
    options = {"cycles": 40, "state": (2.0, 0.0), "delay_steps": 4}

    def cost(model):
        return drive(planner(model, task, std=2.0, knot_spacing_s=0.3), DoubleIntegrator(), task, **options)

    aware, ignorant = cost(DoubleIntegrator(delay=0.4)), cost(DoubleIntegrator())
    assert ignorant > 1.5 * aware


def test_candidates_are_spread_from_the_best_to_the_worst():
    subject = planner(model=DoubleIntegrator(delay=0.1))
    with pytest.raises(PlanningError):
        subject.candidates(5)
    subject.plan(Problem(np.array([1.0, 0.0]), 0.0, quiet()))
    states, costs = subject.candidates(5)
    assert states.shape == (5, HORIZON + 1, 2)
    assert (np.diff(costs) > 0).all()
    everything = subject._samples[2]
    assert costs[[0, -1]] == pytest.approx([float(everything.min()), float(everything.max())])


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ConfigError, match=r"'dt_s' is 0\.2 s, but the model steps 0\.1 s"):
        planner(dt_s=0.2)
    with pytest.raises(LayoutError, match=r"the task 0\.05 s"):
        planner(task=Regulate(dt=0.05))
    with pytest.raises(ConfigError, match="no standard deviation for action 'force'"):
        standard_deviations(settings(), FORCE)


def test_a_planner_goes_on_from_the_plan_of_another_one_with_other_steps():
    other = ControlSequence(10.0, 0.05, np.linspace(0.0, 2.0, 61)[:, None], FORCE)
    subject = planner(task=Indifferent(), std=1e-6)
    subject.reset(other)
    plan = subject.plan(Problem(np.zeros(2), 10.0, quiet()))
    middles = 10.0 + 0.1 * (np.arange(HORIZON) + 0.5)
    np.testing.assert_allclose(plan.actions, other.at(middles), atol=1e-4)


def test_a_speed_cap_that_the_task_knows_nothing_of_is_an_error():
    with pytest.raises(PlanningError, match=r"1\.5 m/s cannot be kept"):
        planner().plan(Problem(np.zeros(2), 0.0, quiet(), speed_cap_mps=1.5))


def test_a_mean_that_leads_nowhere_finite_is_no_plan():
    class Split(DoubleIntegrator):
        """Only great forces lead anywhere; the mean of those to either side is small."""

        def forward(self, state, action):
            return super().forward(state, action) + torch.where(action.abs() > 2.9, 0.0, torch.nan)

    subject = planner(Split(), Indifferent(), std=100.0, sampler="white", horizon=2, effective_share=None)
    with pytest.raises(PlanningError, match="the mean of finite rollouts leads to what is not finite"):
        subject.plan(Problem(np.zeros(2), 0.0, quiet()))


@pytest.mark.parametrize("steps", [1e-10, 1.0 + 1e-10, 7.000000000000001])
def test_delays_that_are_a_rounding_more_than_whole_steps_are_planned_with(steps):
    subject = planner(DoubleIntegrator(delay=0.1 * steps))
    assert len(subject.plan(Problem(np.ones(2), 0.0, quiet())).actions) == HORIZON
