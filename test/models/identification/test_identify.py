"""Parameters and delays of cars whose truth is known, and what is said about those that driving cannot tell."""

import numpy as np
import pytest

from mbrl_ros.core.errors import ConfigError, DataError, LayoutError
from mbrl_ros.core.layout import VX, YAW_RATE, X
from mbrl_ros.models.identification import Options, identify
from mbrl_ros.models.parametric import build

SHORT = {"max_windows": 80}


def within(found, truth, deviations=3.5):
    """Assert that each estimate is its truth give or take its own interval, and that the interval means something."""
    for name, value in truth.items():
        estimate = found.estimates[name]
        assert abs(estimate.value - value) < deviations * estimate.std + 1e-6, f"{name}: {estimate}, truth {value}"


@pytest.fixture(scope="module")
def of_bicycle(driven, bicycle, nominal):
    return identify([driven(bicycle)], nominal(bicycle))


@pytest.fixture(scope="module")
def of_tyres(driven, tyres, nominal):
    """A car on tyres, driven up to half a g."""
    return identify([driven(tyres, speed=12.0, seconds=60.0)], nominal(tyres, cornering_drag=1.0), Options(**SHORT))


# -- recovery --------------------------------------------------------------------------------------------------


def test_a_kinematic_car_is_recovered(of_bicycle):
    found = of_bicycle
    within(found, {"wheelbase": 2.7, "understeer": 0.002, "steering_offset": 0.004, "acceleration_scale": 0.9})
    assert found.estimates["wheelbase"].value == pytest.approx(2.7, rel=0.02)
    assert found.estimates["rear_fraction"].value == pytest.approx(0.45, abs=0.03)
    assert found.delay_s["steering"] == pytest.approx(0.11, abs=0.01)
    assert found.converged
    assert all(found.estimates[name].identifiable for name in ("wheelbase", "steering_delay", "acceleration_scale"))
    assert all(found.errors_after[name] < found.errors_before[name] for name in ("across", "yaw", "yaw_rate"))


def test_what_is_not_fitted_keeps_its_value(of_bicycle):
    """A well mounted sensor is left alone, and so is whatever was not asked for."""
    values = of_bicycle.model.values()
    assert "heading_offset" not in values
    assert "velocity_scale" not in values
    assert values["steering_scale"] == 1.0


def test_tyres_are_recovered_as_far_as_they_show(of_tyres):
    found = of_tyres
    within(found, {"wheelbase": 2.7, "stiffness_front": 12.0, "stiffness_rear": 18.0})
    assert found.estimates["stiffness_front"].value == pytest.approx(12.0, rel=0.15)
    assert found.estimates["stiffness_rear"].value == pytest.approx(18.0, rel=0.2)
    assert found.estimates["wheelbase"].value == pytest.approx(2.7, rel=0.03)
    assert found.delay_s["steering"] == pytest.approx(0.06, abs=0.015)


def test_load_transfer_is_found_of_a_car_that_is_braked_in_its_turns(driven, nominal):
    """Without it a yaw inertia that is three times too large makes up for it."""
    truth = {"wheelbase": 0.33, "rear_fraction": 0.52, "yaw_inertia_ratio": 0.46, "cg_height_ratio": 0.22}
    tyres = {"stiffness_front": 5.0, "stiffness_rear": 5.7, "friction_front": 1.05, "friction_rear": 1.05}
    car = build("single_track", {**truth, **tyres, "steering_delay": 0.08, "drive_delay": 0.1}, dt=0.03)
    hard = driven(car, speed=4.5, steering=0.12, hold_s=0.4, seconds=40.0)
    found = identify([hard], nominal(car), Options(**SHORT))
    assert found.estimates["cg_height_ratio"].value == pytest.approx(0.22, abs=0.03)
    assert found.estimates["cg_height_ratio"].identifiable
    assert found.estimates["yaw_inertia_ratio"].value == pytest.approx(0.46, rel=0.15)
    assert found.estimates["wheelbase"].value == pytest.approx(0.33, rel=0.05)


def test_load_transfer_that_does_not_show_is_left_out(of_tyres):
    assert "cg_height_ratio" not in of_tyres.estimates
    assert "cg_height_ratio" not in of_tyres.model.values()


def test_a_small_car_from_commanded_speed(driven, nominal):
    truth = {"wheelbase": 0.33, "understeer": 0.02, "steering_delay": 0.13, "speed_gain": 4.0, "speed_scale": 0.9}
    car = build("kinematic_bicycle", truth, dt=0.02, drive="speed")
    found = identify([driven(car, speed=2.5, steering=0.25)], nominal(car), Options(**SHORT))
    assert found.estimates["wheelbase"].value == pytest.approx(0.33, rel=0.05)
    assert found.delay_s["steering"] == pytest.approx(0.13, abs=0.01)
    assert found.estimates["speed_scale"].value == pytest.approx(0.9, rel=0.03)
    within(found, {"wheelbase": 0.33, "understeer": 0.02, "speed_gain": 4.0})


def test_a_limit_on_commanded_speed_is_found_and_does_not_hide_the_controller(driven, nominal):
    truth = {"wheelbase": 0.33, "speed_gain": 4.0, "speed_limit": 2.3}
    car = build("kinematic_bicycle", truth, dt=0.02, drive="speed")
    limited = driven(car, speed=2.5, steering=0.25)
    limited.segments[0].action[:, 1] *= np.where(limited.segments[0].action[:, 1] > 2.3, 1.6, 1.0)
    found = identify([limited], nominal(car), Options(**SHORT))
    assert found.estimates["speed_limit"].value == pytest.approx(2.3, rel=0.02)
    assert found.estimates["speed_gain"].value == pytest.approx(4.0, rel=0.1)
    assert found.estimates["speed_scale"].value == pytest.approx(1.0, rel=0.05)
    free = identify([driven(nominal(car), speed=2.5, steering=0.25)], nominal(car), Options(**SHORT))
    assert "speed_limit" not in free.estimates


def test_a_speed_controller_unlike_the_models_does_not_bend_the_wheelbase(driven, nominal):
    """The car's speed lags by a second, which the fitted model does not have a parameter for."""
    truth = {"wheelbase": 0.33, "understeer": 0.02, "drive_lag": 0.8, "speed_gain": 1.5}
    car = build("kinematic_bicycle", truth, dt=0.02, drive="speed")
    found = identify([driven(car, speed=2.5, steering=0.25)], nominal(car), Options(**SHORT))
    assert found.estimates["wheelbase"].value == pytest.approx(0.33, rel=0.05)


def test_mounting_of_sensors_is_found_where_it_matters(driven, bicycle, nominal):
    turned = bicycle.with_parameters({"heading_offset": 0.02, "velocity_scale": 1.06})
    found = identify([driven(turned)], nominal(bicycle), Options(**SHORT))
    assert found.estimates["heading_offset"].value == pytest.approx(0.02, abs=0.003)
    assert found.estimates["velocity_scale"].value == pytest.approx(1.06, abs=0.01)
    assert any("heading is turned by +1.1" in sentence for sentence in found.statements)


def test_several_drives_are_fitted_together(driven, bicycle, nominal):
    parts = [driven(bicycle, seconds=15, seed=seed, source=f"part {seed}") for seed in (1, 2, 3)]
    found = identify(parts, nominal(bicycle), Options(**SHORT))
    within(found, {"wheelbase": 2.7})


# -- intervals -------------------------------------------------------------------------------------------------


def test_intervals_cover_the_truth(driven, bicycle, nominal):
    """Over seeds of driving and noise, two standard deviations hold the truth about as often as they should."""
    truth = {"wheelbase": 2.7, "understeer": 0.002, "steering_offset": 0.004, "steering_delay": 0.11}
    options = Options(only=tuple(truth), max_windows=50)
    start = nominal(bicycle, rear_fraction=0.45, acceleration_scale=0.9, acceleration_offset=0.05)
    covered, widths = [], []
    for seed in range(8):
        found = identify([driven(bicycle, seconds=20, seed=seed, noise=2.0)], start, options)
        errors = {name: abs(found.estimates[name].value - value) for name, value in truth.items()}
        covered += [errors[name] < 2 * found.estimates[name].std for name in truth]
        widths += [found.estimates["wheelbase"].std]
    assert np.mean(covered) >= 0.85
    assert np.max(widths) < 0.1  # and not by being so wide that they say nothing


def test_more_noise_means_wider_intervals(driven, bicycle, nominal):
    quiet, loud = (
        identify([driven(bicycle, seconds=20, noise=noise)], nominal(bicycle), Options(max_windows=50))
        for noise in (0.5, 4.0)
    )
    for name in ("wheelbase", "steering_delay"):
        assert loud.estimates[name].std > 2 * quiet.estimates[name].std


def test_the_same_seed_gives_the_same_fit(driven, bicycle, nominal):
    drive, start = driven(bicycle, seconds=20), nominal(bicycle)
    one, same, other = (identify([drive], start, Options(max_windows=40, seed=seed)) for seed in (3, 3, 4))
    assert one.estimates == same.estimates
    assert one.statements == same.statements
    assert one.estimates != other.estimates
    assert one.estimates["wheelbase"].value == pytest.approx(other.estimates["wheelbase"].value, rel=0.02)


# -- what driving cannot tell ----------------------------------------------------------------------------------


def test_tyres_far_from_their_limit_show_only_their_stiffness(driven, tyres, nominal):
    gentle = driven(tyres, speed=10.0, steering=0.02, seconds=40.0)
    found = identify([gentle], nominal(tyres, cornering_drag=1.0), Options(max_windows=100))
    for name in ("friction_front", "friction_rear"):
        assert not found.estimates[name].identifiable
        assert found.model.values()[name] == 1.0  # as it was
    (sentence,) = [s for s in found.statements if "the product B C D" in s]
    assert sentence.startswith("friction_front")
    assert "drive nearer to the limit" in sentence


def test_a_known_wheelbase_gives_the_steering_scale(driven, bicycle, nominal):
    """The recorded angle is a tenth too small: with the wheelbase known, that is what the fit says."""
    drive = driven(bicycle.with_parameters({"steering_scale": 1.1}))
    found = identify([drive], nominal(bicycle), Options(priors={"wheelbase": (2.7, 0.02)}, **SHORT))
    assert found.estimates["steering_scale"].value == pytest.approx(1.1, abs=0.03)
    assert found.estimates["wheelbase"].value == pytest.approx(2.7, abs=0.02)
    (sentence,) = [s for s in found.statements if "steering scale" in s]
    assert "contradicts a recorded road wheel angle" in sentence


def test_a_known_wheelbase_that_fits_is_confirmed(driven, bicycle, nominal):
    found = identify([driven(bicycle)], nominal(bicycle), Options(priors={"wheelbase": (2.7, 0.02)}, **SHORT))
    (sentence,) = [s for s in found.statements if "steering scale" in s]
    assert "the recorded angle is that of the road wheels" in sentence


def test_a_prior_that_the_driving_denies_is_said_to(driven, bicycle, nominal):
    options = Options(priors={"acceleration_scale": (1.3, 0.02)}, **SHORT)
    found = identify([driven(bicycle)], nominal(bicycle), options)
    (sentence,) = [s for s in found.statements if s.startswith("the prior acceleration_scale")]
    assert "contradicts the driving, which by itself says 0.89" in sentence


def test_without_a_prior_the_ratio_is_all_that_is_determined(of_bicycle):
    (sentence,) = [s for s in of_bicycle.statements if "only as a ratio" in s]
    assert "give a prior on the wheelbase" in sentence


def test_straight_driving_determines_no_wheelbase(driven, bicycle, nominal):
    straight = bicycle.with_parameters({"steering_offset": 0.0})
    found = identify([driven(straight, steering=1e-5)], nominal(bicycle), Options(**SHORT))
    assert not found.estimates["wheelbase"].identifiable
    assert not found.estimates["steering_delay"].identifiable
    assert any("not determined" in sentence for sentence in found.statements)


def test_a_late_measurement_is_not_taken_for_a_command(driven, bicycle, nominal):
    drive = driven(bicycle.with_parameters({"steering_delay": 0.0}))
    (segment,) = drive.segments
    late = round(0.3 / drive.dt)
    segment.action[late:, 0] = segment.action[:-late, 0].copy()
    found = identify([drive], nominal(bicycle), Options(**SHORT))
    assert found.delay_s["steering"] == 0.0
    (sentence,) = [s for s in found.statements if s.startswith("the yaw rate comes 0.2")]
    assert "no command" in sentence


def test_a_yaw_rate_that_trails_the_heading_is_not_used(driven, bicycle, nominal):
    drive = driven(bicycle)
    (segment,) = drive.segments
    late = round(0.3 / drive.dt)
    segment.state[late:, YAW_RATE] = segment.state[:-late, YAW_RATE].copy()
    found = identify([drive], nominal(bicycle), Options(**SHORT))
    assert any("the recorded yaw rate is behind the heading's own rate by 0.30 s" in s for s in found.statements)
    assert found.delay_s["steering"] == pytest.approx(0.11, abs=0.02)  # and so the delay is not too long


# -- options and errors ----------------------------------------------------------------------------------------


def test_fixed_freed_and_bounded_parameters(driven, bicycle, nominal):
    options = Options(
        fixed={"rear_fraction": 0.45}, free=("steering_lag",), bounds={"wheelbase": (2.75, 4.0)}, max_windows=60
    )
    found = identify([driven(bicycle, seconds=30)], nominal(bicycle), options)
    assert found.model.values()["rear_fraction"] == 0.45
    assert "rear_fraction" not in found.estimates
    assert found.estimates["steering_lag"].value < 0.01  # the car has none
    assert found.estimates["steering_lag"].identifiable
    assert found.estimates["wheelbase"].value == 2.75
    assert not found.estimates["wheelbase"].identifiable
    assert any("wheelbase ended at its bound of 2.75" in s for s in found.statements)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("wheelbse",)}, "no parameter 'wheelbse'"),
        ({"fixed": {"lag": 1.0}}, "no parameter 'lag'"),
        ({"only": ("wheelbase",), "fixed": {"wheelbase": 2.7}}, "fixed and fitted at once"),
        ({"bounds": {"wheelbase": (1.0, 20.0)}}, "exceed"),
        ({"bounds": {"wheelbase": (3.0, 2.0)}}, "not below"),
        ({"priors": {"wheelbase": (2.7, 0.0)}}, "must be positive"),
        ({"priors": {"wheelbase": (2700.0, 30.0)}}, "check its unit"),
        ({"horizon_s": -1.0}, "horizon_s"),
        ({"max_windows": 1}, "max_windows"),
    ],
)
def test_options_that_make_no_sense(driven, bicycle, nominal, options, message):
    with pytest.raises(ConfigError, match=message):
        identify([driven(bicycle, seconds=10)], nominal(bicycle), Options(**options))


def test_a_standing_car_tells_nothing(driven, bicycle, nominal):
    drive = driven(bicycle, seconds=20)
    drive.segments[0].state[:, VX] = 0.01
    with pytest.raises(DataError, match=r"never reaches .* a standing car tells nothing"):
        identify([drive], nominal(bicycle))


def test_too_little_driving(driven, bicycle, nominal):
    with pytest.raises(DataError, match=r"driving above .*identification needs 5 s at least"):
        identify([driven(bicycle, seconds=4)], nominal(bicycle))
    with pytest.raises(DataError, match="shorten the horizon or record longer"):
        identify([driven(bicycle, seconds=4)], nominal(bicycle), Options(horizon_s=5.0))


def test_rows_that_are_not_finite_are_named(driven, bicycle, nominal):
    drive = driven(bicycle, seconds=20)
    drive.segments[0].state[100:103, X] = np.nan
    stamp = drive.segments[0].time_s[100]
    with pytest.raises(DataError, match=f"driven: 3 rows have a non-finite state, the first at {stamp:.3f} s"):
        identify([drive], nominal(bicycle))


def test_drives_that_differ_are_refused(driven, bicycle, nominal):
    slow = driven(bicycle.with_dt(0.04), seconds=20, source="slow")
    with pytest.raises(DataError, match=r"slow is sampled every 0.04 s but driven every 0.02 s"):
        identify([driven(bicycle, seconds=20), slow], nominal(bicycle))
    with pytest.raises(DataError, match="no driving to identify from"):
        identify([], nominal(bicycle))


def test_a_model_of_other_actions_is_refused(driven, bicycle):
    with pytest.raises(LayoutError, match="actions of driven"):
        identify([driven(bicycle, seconds=20)], build("kinematic_bicycle", dt=0.02, drive="speed"))
    with pytest.raises(LayoutError, match="rear_axle"):
        identify([driven(bicycle, seconds=20)], build("kinematic_bicycle", dt=0.02, reference_point="rear_axle"))


def test_progress_runs_from_nothing_to_all(driven, bicycle, nominal):
    told = []
    identify([driven(bicycle, seconds=15)], nominal(bicycle), Options(max_windows=30), lambda *now: told.append(now))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
