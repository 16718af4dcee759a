import numpy as np
import pytest
from scipy.stats import chi2

from mbrl_ros.core.sensing import ProcessNoise
from mbrl_ros.estimation.ekf import Gaussian, gate_threshold, process_noise, propagated, squared_distance, updated


def random_prior(generator, size=9):
    factor = generator.normal(size=(size, size))
    return Gaussian(generator.normal(size=size), factor @ factor.T + 0.1 * np.eye(size))


def test_update_is_the_conditional_gaussian():
    generator = np.random.default_rng(0)
    prior = random_prior(generator)
    jacobian, noise = generator.normal(size=(3, 9)), np.diag([0.1, 0.2, 0.3])
    measured = generator.normal(size=3)
    posterior = updated(prior, measured - jacobian @ prior.mean, jacobian, noise)
    information = np.linalg.inv(prior.covariance) + jacobian.T @ np.linalg.inv(noise) @ jacobian
    np.testing.assert_allclose(posterior.covariance, np.linalg.inv(information), rtol=1e-8, atol=1e-10)
    score = np.linalg.inv(prior.covariance) @ prior.mean + jacobian.T @ np.linalg.inv(noise) @ measured
    np.testing.assert_allclose(posterior.mean, np.linalg.solve(information, score), rtol=1e-8)


def test_joseph_form_stays_symmetric_and_positive_where_the_short_form_does_not():
    generator = np.random.default_rng(1)
    joseph = Gaussian(np.zeros(9), np.diag(np.logspace(8, -8, 9)))
    short = joseph.covariance
    for _ in range(300):
        jacobian = generator.normal(size=(2, 9))
        noise = 1e-10 * np.eye(2)
        joseph = updated(joseph, np.zeros(2), jacobian, noise)
        gain = short @ jacobian.T @ np.linalg.inv(jacobian @ short @ jacobian.T + noise)
        short = (np.eye(9) - gain @ jacobian) @ short
        added = 1e-9 * np.eye(9)
        joseph, short = propagated(joseph, joseph.mean, np.eye(9), added), short + added
        assert np.array_equal(joseph.covariance, joseph.covariance.T)
        assert np.linalg.eigvalsh(joseph.covariance).min() > 0.0
    assert np.abs(short - short.T).max() > 0.0 or np.linalg.eigvalsh(short).min() <= 0.0


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 3])
def test_gate_thresholds_are_chi_square_quantiles(degrees_of_freedom):
    for probability in (0.9, 0.99, 0.999):
        assert gate_threshold(probability, degrees_of_freedom) == pytest.approx(
            chi2.ppf(probability, degrees_of_freedom)
        )


def test_squared_distances_of_good_innovations_are_chi_square():
    generator = np.random.default_rng(2)
    prior = random_prior(generator)
    jacobian, noise = generator.normal(size=(2, 9)), np.diag([0.5, 2.0])
    spread = np.linalg.cholesky(jacobian @ prior.covariance @ jacobian.T + noise)
    distances = [squared_distance(prior, spread @ generator.normal(size=2), jacobian, noise) for _ in range(4000)]
    passed = np.mean(np.array(distances) < gate_threshold(0.95, 2))
    assert passed == pytest.approx(0.95, abs=0.015)


def test_process_noise_adds_up_to_the_same_whatever_the_step():
    noise = ProcessNoise()
    whole = process_noise(noise, 0.1)
    np.testing.assert_allclose(whole, 10 * process_noise(noise, 0.01), rtol=1e-12)
    assert whole[3, 3] == pytest.approx(noise.longitudinal_velocity_mps_rts**2 * 0.1)


def test_noise_on_a_rate_reaches_its_integral_within_the_step():
    """An angle and its rate: van Loan's integral is q^2 [[h^3 / 3, h^2 / 2], [h^2 / 2, h]]."""
    step_s, density = 0.01, 3.0
    transition, noise = np.array([[1.0, step_s], [0.0, 1.0]]), np.diag([0.0, density**2 * step_s])
    spread = propagated(Gaussian(np.zeros(2), np.zeros((2, 2))), np.zeros(2), transition, noise).covariance
    assert spread[0, 1] == pytest.approx(density**2 * step_s**2 / 2)
    assert spread[1, 1] == pytest.approx(density**2 * step_s)
    # So a measured rate takes from the angle what a wrongly predicted one gave it: half a step's worth.
    believed = updated(Gaussian(np.zeros(2), spread), np.array([0.2]), np.array([[0.0, 1.0]]), np.diag([1e-9]))
    assert believed.mean[0] == pytest.approx(0.2 * step_s / 2, rel=1e-3)


def test_validity():
    good = Gaussian(np.zeros(2), np.eye(2))
    assert good.is_valid()
    assert not Gaussian(np.array([0.0, np.nan]), np.eye(2)).is_valid()
    assert not Gaussian(np.zeros(2), np.array([[1.0, np.inf], [np.inf, 1.0]])).is_valid()
    assert not Gaussian(np.zeros(2), np.diag([1.0, -1e-9])).is_valid()


def test_sliding_and_silence_make_that_less_sure_which_they_act_on_and_nothing_else():
    noise = ProcessNoise(sliding_rts=3.0, sliding_radpm_rts=10.0)
    rolling, sliding = process_noise(noise, 0.01), process_noise(noise, 0.01, -2.0)
    heard, unheard = process_noise(noise, 0.01), process_noise(ProcessNoise(unheard_mps2_rts=20.0), 0.01, unheard=True)
    np.testing.assert_allclose((unheard - heard).diagonal() / 0.01, [0, 0, 0, 0, 0, 0, 0, 400.0, 0], atol=1e-9)
    added = (sliding - rolling).diagonal() / 0.01
    np.testing.assert_allclose(added, [0, 0, 0, 6.0**2, 6.0**2, 20.0**2, 0, 0, 0], rtol=1e-12, atol=1e-12)
