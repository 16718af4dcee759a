"""What was driven, and predictions compared with it: against models that are the truth, and by hand."""

import numpy as np
import pytest
import torch
from serving_toys import PERIOD_S, VEHICLE, ScriptedDrive, learned

from mbrl_ros.core.layout import STATE, VX
from mbrl_ros.evaluation.driven import Driven
from mbrl_ros.evaluation.live import live_errors
from mbrl_ros.models.parametric import build, build_for


def driven_by(model, seconds=8.0, dt=0.02, gap=(0.0, 0.0), rest=(0.0, 0.0)) -> Driven:
    """The driving of a car that ``model`` is the truth of; states are lost in ``gap``, the car brakes in ``rest``."""
    driven, state = Driven(keep_s=60.0), torch.tensor([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    sent = [torch.zeros(2, dtype=torch.float64)] * round(float(model.delay.detach()[0]) / dt)
    for k in range(round(seconds / dt)):
        now = k * dt
        acceleration = -3.0 if rest[0] <= now < rest[1] else 0.3 * np.cos(3 * now) + 0.5
        sent.append(torch.tensor([0.2 * np.sin(now), acceleration], dtype=torch.float64))
        driven.command(now, np.array([*sent[-1].tolist(), 99.0]))
        if not gap[0] <= now < gap[1]:
            driven.observe(now, state.numpy().copy())
        with torch.no_grad():
            state = model(state, sent[k])
    return driven


@pytest.fixture(scope="module")
def truth():
    values = {"wheelbase": 0.33, "steering_delay": 0.04, "drive_delay": 0.04}
    return build("single_track", values, dt=0.02)


def test_the_truth_has_no_error_and_another_model_has_one(truth):
    driven = driven_by(truth)
    errors = live_errors(driven, truth, (0.5, 1.0))
    assert errors.starts > 20
    assert np.abs([errors.position_m, errors.yaw_rad, errors.speed_mps, errors.yaw_rate_radps]).max() < 1e-6
    other = live_errors(driven, build("single_track", {"wheelbase": 0.5}, dt=0.02), (0.5, 1.0))
    assert other.position_m[1] > other.position_m[0] > 0.01


def test_neither_lost_states_nor_standing_spoil_what_was_driven(truth):
    for spoilt in (driven_by(truth, gap=(3.0, 5.0)), driven_by(truth, 48.0, rest=(4.0, 44.0))):
        starts = spoilt.starts(truth, 1.0, np.inf)
        assert len(starts) > 5
        assert live_errors(spoilt, truth, (1.0,)).position_m[0] < 1e-6
    # Four seconds before the brakes, one to stop in, one of standing, a seam, and four after.
    assert spoilt.driven_s == pytest.approx(4.0 + 1.3 + 1.0 + 0.3 + 4.0, abs=0.7)


def test_only_the_last_seconds_are_asked_about(truth):
    driven = driven_by(truth, 10.0)
    starts = driven.starts(truth, 1.0, 3.0)
    assert starts[0] + 1.0 >= driven.stamp_s - 3.0 - 1e-9
    assert len(starts) == pytest.approx(3.0 / 0.2, abs=1)


def test_a_copy_stays_as_it_was_and_a_stamp_in_the_past_starts_anew(truth):
    driven = driven_by(truth, 4.0)
    twin = driven.copy()
    before = live_errors(twin, truth, (1.0,)).starts
    driven.observe(1.0, np.array([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]))
    assert live_errors(driven, truth, (1.0,)) is None
    assert live_errors(twin, truth, (1.0,)).starts == before


def test_a_model_that_takes_speeds_is_told_speeds():
    driven = Driven(keep_s=60.0)
    for k in range(200):
        driven.command(0.02 * k, np.array([0.0, -77.0, 3.0]))
        driven.observe(0.02 * k, np.array([0.06 * k, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0]))
    model = build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02, drive="speed")
    assert live_errors(driven, model, (1.0,)).position_m[0] < 1e-6
    duty = build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02, drive="duty")
    assert live_errors(driven, duty, (1.0,)) is None


def test_memory_of_the_present_is_what_the_model_makes_of_the_driving_itself(tmp_path):
    model = learned(tmp_path / "car").model
    drive = ScriptedDrive()
    drive.drive(0.2, 3.0)
    assert drive.driven.now(model) is None
    driven = drive.drive(3.0, 3.0)
    present = driven.now(model)
    assert present.shape == (len(model.state_layout),)
    np.testing.assert_allclose(present[: len(STATE)], driven.at(np.array([driven.stamp_s]))[0], atol=1e-9)
    # Other driving before the same present leaves another memory.
    still = ScriptedDrive()
    still.drive(3.2, 3.0, steering=0.05)
    assert (present - still.driven.now(model))[len(STATE) :].abs().max() > 1e-3


def test_the_plants_own_single_track_beats_the_kinematic_bicycle_on_it():
    driven = ScriptedDrive().drive(8.0, 3.0)
    errors = [
        live_errors(driven, build_for(VEHICLE, kind, dt=PERIOD_S), (1.0,)).position_m[0]
        for kind in ("single_track", "kinematic_bicycle")
    ]
    assert 0.0 < errors[0] < 0.5 * errors[1]
    assert driven.at(np.array([driven.stamp_s]))[0, VX] > 2.5
