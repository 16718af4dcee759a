"""Whether the filter knows how wrong it is: NEES and NIS over Monte Carlo runs, the model being the truth."""

from collections import defaultdict

import numpy as np
import pytest
from scipy.stats import chi2

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.layout import YAW
from mbrl_ros.core.sensing import EstimatorSettings, MeasurementNoise, ProcessNoise, UnmodelledNoise
from mbrl_ros.estimation import GYRO_BIAS, Measurement, StateEstimator
from mbrl_ros.estimation.ekf import process_noise
from mbrl_ros.estimation.process import Process
from mbrl_ros.models.parametric import build_for

STEP_S, STEPS, RUNS, SETTLED = 0.02, 80, 12, 30
NOISE = MeasurementNoise()


def settings_with(scale=1.0):
    """No gates and no margins: what is assumed is what is drawn."""
    process = ProcessNoise()
    return EstimatorSettings(
        process=ProcessNoise(**{name: scale * value for name, value in process}),
        unmodelled=UnmodelledNoise(wheel_speed_mps=0.0),
        gate_probability=1.0 - 1e-12,
        command_timeout_s=10.0,
        step_s=STEP_S,
        initial_gyro_bias_std_radps=0.01,
    )


def simulate(model, settings, seed):
    """NEES at the end of every settled step, and squared innovations by part, of one run."""
    generator = np.random.default_rng(seed)
    process, estimator = Process(model, settings.discrepancy_time_s), StateEstimator(model, settings)
    half = np.sqrt(0.5 * process_noise(ProcessNoise(), STEP_S).diagonal())
    truth = np.array([1.0, 2.0, 3.0, 3.0, 0.0, 0.0, 0.0, 0.0, generator.normal(0.0, 0.01)])
    errors, distances = [], defaultdict(list)
    for step in range(STEPS):
        now_s = step * STEP_S
        command = np.array([0.2 * np.sin(0.05 * step + seed), np.cos(0.03 * step + seed)])
        estimator.add_command(now_s, command)
        observed = [("gyro", truth[[5]] + truth[GYRO_BIAS], [NOISE.gyro_radps])]
        if step % 2 == 0:
            observed += [
                ("wheel_speed", truth[[3]], [NOISE.wheel_speed_mps]),
                ("steering", truth[[6]], [NOISE.steering_rad]),
            ]
        if step % 5 == 0:
            observed.append(("pose", truth[:3], [NOISE.position_m, NOISE.position_m, NOISE.yaw_rad]))
        for source, true, std in observed:
            outcome = estimator.add(Measurement(source, now_s, now_s, true + generator.normal(size=len(std)) * std))
            if step > SETTLED:
                for part, distance in outcome.distances.items():
                    distances[part].append(distance)
        if step >= SETTLED:
            estimate = estimator.predict(now_s)
            error = estimate.mean - truth
            error[YAW] = wrap_angle(error[YAW])
            errors.append(error @ np.linalg.solve(estimate.covariance, error))
        truth += generator.normal(size=9) * half
        truth[:8], _ = process.predicted(truth[:8], command, STEP_S)
        truth += generator.normal(size=9) * half
    return errors, distances


def monte_carlo(vehicle, kind, scale=1.0):
    model = build_for(vehicle("f1tenth"), kind, dt=STEP_S, integrator="euler").with_parameters(
        {"steering_delay": 0.0, "drive_delay": 0.0}
    )
    runs = [simulate(model, settings_with(scale), seed) for seed in range(RUNS)]
    nees = np.array([errors for errors, _ in runs])
    nis = defaultdict(list)
    for _, distances in runs:
        for part, values in distances.items():
            nis[part] += values
    return nees, nis


@pytest.mark.parametrize("kind", ["single_track", "kinematic_bicycle"])
def test_errors_and_innovations_are_as_large_as_the_filter_says(vehicle, kind):
    nees, nis = monte_carlo(vehicle, kind)
    # Runs are independent: at any one instant the sum over them is chi-square with 9 degrees of freedom each.
    low, high = chi2.ppf([0.0005, 0.9995], 9 * RUNS)
    for instant in (0, 16, 32, 49):
        assert low < nees[:, instant].sum() < high
    # Innovations are white: they sum up over time as well.
    assert set(nis) == {"gyro", "wheel_speed", "steering", "position", "yaw"}
    for part, values in nis.items():
        low, high = chi2.ppf([0.0005, 0.9995], (2 if part == "position" else 1) * len(values))
        assert low < sum(values) < high, part


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_a_filter_with_the_wrong_noise_is_told_from_a_right_one(vehicle, scale):
    """Negative control."""
    nees, nis = monte_carlo(vehicle, "single_track", scale)
    sums = nees[:, [0, 16, 32, 49]].sum(axis=0)
    gyro, steering = np.mean(nis["gyro"]), np.mean(nis["steering"])
    if scale < 1.0:
        assert np.all(sums > chi2.ppf(0.9995, 9 * RUNS))
        assert min(gyro, steering) > 1.5
    else:
        assert np.mean(sums) < 0.8 * 9 * RUNS
        assert max(gyro, steering) < 0.5
