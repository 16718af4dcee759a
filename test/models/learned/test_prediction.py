"""Predictions with what is uncertain of them: against members, the passport's intervals, and closed forms."""

from statistics import NormalDist

import pytest
import torch

from mbrl_ros.core.layout import STATE, X, Y
from mbrl_ros.models import passport
from mbrl_ros.models.learned.intervals import half_widths, in_heading, member_rollouts, spread
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build
from mbrl_ros.models.passport import HorizonIntervals, Provenance, Uncertainty
from mbrl_ros.models.prediction import predict

HORIZONS = tuple(
    HorizonIntervals(
        horizon_s=h,
        base_m=(h * 0.2, h * 0.1),
        along=(0.7, 1.7, 2.1),
        across=(0.6, 1.5, 2.4),
        along_weights=(0.8, 1.1, 0.2),
    )
    for h in (0.5, 1.0)
)
STATED = Uncertainty(levels=(0.5, 0.9, 0.95), horizons=HORIZONS, novelty=1.7)


@pytest.fixture
def loaded(make, tmp_path):
    def build_it(uncertainty=STATED, network="mlp", **options):
        passport.save(make(network=network, **options), tmp_path / "car", Provenance(uncertainty=uncertainty))
        return passport.load(tmp_path / "car")

    return build_it


@pytest.fixture
def batch(cars):
    state, action = cars(6)
    return state, action[:, None].expand(-1, 75, -1)  # 1.5 s


def test_states_are_the_models_own_rollout_and_physics_knows_no_uncertainty(loaded, batch, tmp_path):
    car = loaded()
    assert torch.equal(predict(car, *batch).states, rollout(car.model, *batch))
    passport.save(build("single_track", {"wheelbase": 0.33}, dt=0.02), tmp_path / "physics")
    physics = predict(passport.load(tmp_path / "physics"), *batch)
    assert (physics.covariance, physics.novelty) == (None, None)


def test_without_intervals_the_covariance_is_that_of_the_elites_trajectories(loaded, batch):
    car = loaded(None, members=3, elites=(0, 2))
    prediction = predict(car, *batch)
    members = member_rollouts(car.model, *batch)[[0, 2]]
    step = 40
    expected = torch.stack([torch.cov(members[:, row, step].T, correction=0) for row in range(6)])
    torch.testing.assert_close(prediction.covariance[:, step], expected)
    assert prediction.novelty is None


def test_a_position_lies_within_the_passports_interval_with_the_passports_share(loaded, batch):
    car = loaded()
    prediction = predict(car, *batch)
    members = member_rollouts(car.model, *batch)
    for interval in HORIZONS:
        step = round(interval.horizon_s / 0.02)
        novelty = car.model.novelty(batch[0], batch[1][:, 0])
        widths = half_widths(interval, spread(members)[:, step], novelty)[:, 1]
        block = prediction.covariance[:, step, X : Y + 1, X : Y + 1]
        yaw = prediction.states[:, step, 2]
        directions = (torch.stack([yaw.cos(), yaw.sin()], -1), torch.stack([-yaw.sin(), yaw.cos()], -1))
        own = members[:, :, step, X : Y + 1] - members[:, :, step, X : Y + 1].mean(dim=0)
        for axis, direction in enumerate(directions):
            total = torch.einsum("ni,nij,nj->n", direction, block, direction)
            members_own = in_heading(own, yaw)[axis].square().mean(dim=0)
            said = (widths[:, axis] / NormalDist().inv_cdf(0.95)) ** 2 - spread(members)[:, step, axis] ** 2
            torch.testing.assert_close(total, members_own + said.clamp_min(0.0), rtol=1e-6, atol=1e-12)


def test_uncertainty_begins_with_nothing_and_grows_beyond_the_longest_horizon(loaded, batch):
    covariance = predict(loaded(members=1), *batch).covariance
    assert covariance.shape == (6, 76, 8, 8)
    assert not covariance[:, 0].any()
    area = covariance[..., X, X] + covariance[..., Y, Y]
    assert (area.diff(dim=1) > 0).all()
    # One member and base errors that grow in proportion to time: so do standard deviations.
    torch.testing.assert_close(area[:, 75], area[:, 50] * 1.5**2)
    assert torch.linalg.eigvalsh(covariance).min() > -1e-12


def test_memory_takes_part_in_states_but_not_in_the_covariance(loaded, batch):
    car = loaded(network="gru")
    state = torch.cat([batch[0], torch.zeros(6, len(car.model.state_layout) - len(STATE))], dim=1).double()
    prediction = predict(car, state, batch[1])
    assert prediction.states.shape[-1] > 8
    assert prediction.covariance.shape[-2:] == (8, 8)


def test_the_score_is_the_largest_novelty_along_a_trajectory(loaded, batch):
    car = loaded()
    prediction = predict(car, *batch)
    with torch.no_grad():
        one = [car.model.novelty(prediction.states[2:3, k, :8], batch[1][2:3, k])[0] for k in range(75)]
    assert float(prediction.novelty[2]) == pytest.approx(float(max(one)) / 1.7)
