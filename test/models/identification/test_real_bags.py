"""Fits of real logs, held to what least squares on the yaw rate reaches on the same logs.

First four fifths of the time to fit, the last fifth to score, starts every 0.2 s where vx > 3 m/s, recorded steering
and acceleration as known actions.
"""

import pytest

from mbrl_ros.data import read_drive
from mbrl_ros.evaluation.comparison import compare
from mbrl_ros.evaluation.fitting import start_model
from mbrl_ros.evaluation.splits import folds
from mbrl_ros.models import passport
from mbrl_ros.models.identification import Options, identify

SPLIT = "time:0.8"
PUBLISHED = {  # (ADE, FDE) [m] of a kinematic bicycle whose wheelbase and delay were fitted, by horizon [s]
    "genesis_fast_lap": {1.0: (0.073, 0.170), 2.0: (0.202, 0.512)},
    "genesis_medium_laps": {1.0: (0.093, 0.197), 2.0: (0.211, 0.472)},
    "indy_putnam": {1.0: (0.158, 0.380), 2.0: (0.508, 1.407)},
}
COMMANDED = {"f1tenth_ds3": (0.311, 0.12), "f1tenth_ds5": (0.327, 0.14)}  # wheelbase [m], delay [s]


def fit(shared_data, bag, kind, options=None):
    drive = read_drive(shared_data / "bags" / bag, mean_commands=True)
    (fold,) = folds([drive], SPLIT)
    return drive, identify(fold.train, start_model(kind, drive), options)


def scored(drive, found):
    loaded = passport.in_memory(found.model)
    (comparison,) = compare({"fitted": loaded}, [drive], split=SPLIT, horizons_s=(1.0, 2.0), min_speed=3.0)
    return {s.horizon_s: (s.ade_m, s.fde_m) for s in comparison.scores if s.model == "fitted"}


@pytest.mark.parametrize("kind", ["kinematic_bicycle", "single_track"])
@pytest.mark.parametrize("bag", PUBLISHED)
def test_every_cell_of_the_table_is_reached(shared_data, bag, kind):
    errors = scored(*fit(shared_data, bag, kind))
    for horizon_s, published in PUBLISHED[bag].items():
        assert errors[horizon_s][0] <= published[0], (bag, kind, horizon_s)
        assert errors[horizon_s][1] <= published[1], (bag, kind, horizon_s)


@pytest.mark.parametrize("bag", COMMANDED)
def test_wheelbase_and_delay_from_commands(shared_data, bag):
    _, found = fit(shared_data, bag, "kinematic_bicycle")
    wheelbase, delay_s = COMMANDED[bag]
    assert found.estimates["wheelbase"].value == pytest.approx(wheelbase, rel=0.15)
    assert found.delay_s["steering"] == pytest.approx(delay_s, rel=0.15)
    assert found.estimates["steering_delay"].identifiable


def test_slow_driving_tells_of_driving_twice_as_fast(shared_data):
    """Gentle driving shows neither friction nor what a commanded speed beyond the limit does; neither is guessed."""
    slow, fast = (read_drive(shared_data / "bags" / bag, mean_commands=True) for bag in COMMANDED)
    found = identify([slow], start_model("single_track", slow), Options(max_windows=200))
    assert not {"friction_front", "friction_rear"} & {n for n, e in found.estimates.items() if e.identifiable}
    assert found.estimates["speed_limit"].value == pytest.approx(1.28, abs=0.05)
    loaded = passport.in_memory(found.model)
    (comparison,) = compare({"fitted": loaded}, [fast], split="all", horizons_s=(1.0,))
    ade_m = {score.model: score.ade_m for score in comparison.scores}
    assert ade_m["fitted"] < 0.14  # of 0.21 with neither
    assert ade_m["fitted"] < 1.2 * ade_m["floor"]


@pytest.mark.parametrize(("bag", "wheelbase_m"), [("genesis_fast_lap", 2.843), ("indy_putnam", 2.97)])
def test_a_known_wheelbase_contradicts_the_recorded_angle(shared_data, bag, wheelbase_m):
    options = Options(priors={"wheelbase": (wheelbase_m, 0.03)}, max_windows=200)
    _, found = fit(shared_data, bag, "kinematic_bicycle", options)
    (sentence,) = [s for s in found.statements if "steering scale" in s]
    assert sentence.startswith(f"with wheelbase {wheelbase_m:.3f} ± 0.030 m the steering scale is ")
    scale = found.estimates["steering_scale"]
    assert "contradicts a recorded road wheel angle" in sentence
    assert abs(scale.value - 1.0) > 2 * scale.std
    assert scale.std < 0.05
