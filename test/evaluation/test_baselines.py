"""Baselines and models against motions on which their answer is known."""

import math

import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import delayed
from mbrl_ros.core.errors import DataError, LayoutError, ModelError
from mbrl_ros.core.layout import STATE, VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.evaluation import baselines
from mbrl_ros.evaluation.open_loop import cut_windows, scores
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build

DT = 0.02


def error(predictor, drive, horizon_s=1.0, **options):
    windows = cut_windows(drive, horizons_s=(horizon_s,), past_s=max(predictor.past_s, 0.0), **options)
    (score,) = scores(predictor.name, predictor.predict(windows), windows, (horizon_s,))
    return score


def turning(count=300, vx=6.0, vy=0.3, yaw_rate=0.5):
    """Points of a true circle, with the constant body velocity that drives it."""
    t = DT * np.arange(count)
    yaw = yaw_rate * t
    state = np.zeros((count, 8))
    state[:, X] = (vx * np.sin(yaw) + vy * (np.cos(yaw) - 1)) / yaw_rate
    state[:, Y] = (vx * (1 - np.cos(yaw)) + vy * np.sin(yaw)) / yaw_rate
    state[:, YAW] = (yaw + np.pi) % (2 * np.pi) - np.pi
    state[:, [VX, VY, YAW_RATE]] = vx, vy, yaw_rate
    return state


def test_ctrv_on_a_constant_turn_errs_only_by_eulers_chords(drive_of):
    state = turning()
    score = error(baselines.ctrv(), drive_of(state))
    speed = math.hypot(6.0, 0.3)
    assert score.fde_m == pytest.approx(0.5 * speed * 0.5 * DT * 1.0, rel=0.03)  # half a step of turning, all the way
    assert score.rmse["yaw"] < 1e-12


def test_ctrv_is_exact_on_a_turn_of_chords(drive_of):
    assert error(baselines.ctrv(), drive_of(turning(), integrate=True)).fde_m < 1e-9


def test_ctrv_is_wrong_once_the_car_does_something(weaving):
    assert error(baselines.ctrv(), weaving).fde_m > 0.1


def test_persistence_errs_by_the_distance_driven(drive_of):
    state = np.zeros((200, 8))
    state[:, VX] = 5.0
    state[:, X] = 5.0 * DT * np.arange(200)
    score = error(baselines.persistence(), drive_of(state))
    assert score.fde_m == pytest.approx(5.0)
    assert score.ade_m == pytest.approx(5.0 * DT * (1 + 50) / 2)


def test_floor_is_zero_where_velocities_and_poses_agree(weaving):
    assert error(baselines.floor(), weaving).fde_m < 1e-9


def test_floor_is_what_a_wrong_velocity_costs(weaving, drive_of):
    state = weaving.segments[0].state.copy()
    state[:, VX] *= 1.02
    score = error(baselines.floor(), drive_of(state))
    assert score.fde_m == pytest.approx(0.02 * 8, rel=0.2)


def test_unrecorded_lateral_velocity_counts_as_zero(drive_of):
    state = turning(vy=0.0)
    state[:, VY] = math.nan
    assert error(baselines.ctrv(), drive_of(state)).fde_m < 0.05


def test_unrecorded_yaw_rate_is_an_error(drive_of):
    state = turning()
    state[:, YAW_RATE] = math.nan
    with pytest.raises(DataError, match="no yaw rate"):
        error(baselines.ctrv(), drive_of(state))


def linear_car(count, seed, drive_of, source="made"):
    """A car whose body velocities and actuators follow a stable linear system of their own and the commands."""
    rng = np.random.default_rng(seed)
    A = np.diag([0.99, 0.9, 0.92, 0.9, 0.8])
    A[0, 1], A[0, 4], A[1, 2], A[1, 3], A[2, 1], A[2, 3] = 0.01, 0.02, -0.05, 0.1, 0.02, 0.3
    B = np.array([[0, 0], [0, 0], [0, 0], [0.1, 0], [0, 0.2]])
    c = np.array([0.08, 0.0, 0.001, 0.0, 0.0])
    action = np.cumsum(rng.normal(size=(count, 2)), axis=0) * 0.01
    z = np.zeros((count, 5))
    z[0, 0] = 8.0
    for k in range(count - 1):
        z[k + 1] = A @ z[k] + B @ action[k] + c
    state = np.zeros((count, 8))
    state[:, 3:] = z
    return drive_of(state, action, source=source, integrate=True)


def test_linear_is_exact_on_a_linear_car(drive_of):
    predictor = baselines.linear([linear_car(1000, 0, drive_of)])
    score = error(predictor, linear_car(600, 1, drive_of), horizon_s=2.0)
    assert score.fde_m < 1e-6
    assert all(rmse < 1e-6 for rmse in score.rmse.values())


def test_linear_uses_the_commands(drive_of):
    drive = linear_car(600, 1, drive_of)
    predictor = baselines.linear([linear_car(1000, 0, drive_of)])
    idle = drive_of(drive.segments[0].state, np.zeros((600, 2)))
    assert error(predictor, idle, horizon_s=2.0).fde_m > 0.05


def test_linear_needs_driving_of_one_kind(drive_of, weaving):
    with pytest.raises(DataError, match="no driving to be fitted to"):
        baselines.linear([])
    slower = drive_of(weaving.segments[0].state, dt=0.04)
    with pytest.raises(DataError, match="at one rate"):
        baselines.linear([weaving, slower])
    with pytest.raises(DataError, match="fitted at 50 Hz"):
        error(baselines.linear([weaving]), slower)


def driven_by(model, drive_of, count=500, measured_actuators=True, seed=0):
    """A drive that ``model`` makes of wandering commands sent through its own delay."""
    rng = np.random.default_rng(seed)
    commands = np.cumsum(rng.normal(size=(count, 2)), axis=0) * [0.01, 0.05]
    commands = np.clip(commands, [-0.3, -1.0], [0.3, 1.0])
    past = math.floor(float(model.delay.detach().max()) / DT) + 1
    applied = delayed(torch.from_numpy(commands), model.delay.detach() / DT, past)
    start = torch.zeros(8, dtype=torch.float64)
    start[VX] = 8.0
    with torch.no_grad():
        state = rollout(model, start, applied[:-1]).numpy()
    if not measured_actuators:
        state[:, [VY, STATE.index("steering_angle"), STATE.index("acceleration")]] = math.nan
    state[:, YAW] = (state[:, YAW] + np.pi) % (2 * np.pi) - np.pi
    return drive_of(state, commands[past:])


def bicycle(**changes):
    parameters = {"wheelbase": 2.8, "steering_delay": 0.07, "drive_delay": 0.12, "steering_lag": 0.1} | changes
    return build("kinematic_bicycle", parameters, dt=DT)


def test_the_model_that_drove_predicts_itself(drive_of):
    model = bicycle()
    assert error(baselines.of_model("self", model), driven_by(model, drive_of)).fde_m < 1e-9


def test_what_is_not_recorded_settles_from_history(drive_of):
    model = bicycle()
    drive = driven_by(model, drive_of, measured_actuators=False)
    assert error(baselines.of_model("self", model), drive).fde_m < 0.01


@pytest.mark.parametrize("change", [{"steering_delay": 0.0, "drive_delay": 0.0}, {"wheelbase": 3.3}])
def test_a_wrong_model_is_seen(drive_of, change):
    drive = driven_by(bicycle(), drive_of)
    assert error(baselines.of_model("wrong", bicycle(**change)), drive).fde_m > 0.02


def test_a_model_of_another_step_is_run_at_the_recordings_rate(drive_of):
    drive = driven_by(bicycle(), drive_of)
    coarse = build("kinematic_bicycle", bicycle().values(), dt=0.04, substeps=2)
    assert error(baselines.of_model("coarse", coarse), drive).fde_m < 0.01


def test_model_and_recording_must_mean_the_same(drive_of):
    drive = driven_by(bicycle(), drive_of)
    other_actions = build("kinematic_bicycle", {}, dt=DT, drive="speed")
    with pytest.raises(LayoutError, match="actions of made for model 'm'"):
        error(baselines.of_model("m", other_actions), drive)
    other_point = build("kinematic_bicycle", {}, dt=DT, reference_point="rear_axle")
    with pytest.raises(ModelError, match="describes the rear_axle, made the cg"):
        error(baselines.of_model("m", other_point), drive)
