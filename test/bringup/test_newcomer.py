"""A newcomer's proof on held-out driving, and the recipe that it is trained by."""

import numpy as np
import pytest
import torch

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.bringup.newcomer import proven, recipe_for
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.layout import ACTIONS
from mbrl_ros.core.recording import Drive, Segment
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build, build_for

DT, STEPS = 0.05, 600


def car(understeer):
    return build("kinematic_bicycle", {"wheelbase": 0.33, "understeer": understeer}, dt=DT)


def model(understeer):
    return passport.in_memory(car(understeer))


@pytest.fixture(scope="module")
def driven():
    """A car that weaves, with an understeer of 0.02 s^2/m."""
    time_s, true = DT * np.arange(STEPS), car(0.02)
    actions = np.stack([0.2 * np.sin(0.9 * time_s), np.sin(0.7 * time_s)], axis=1)
    states = [torch.zeros(8, dtype=torch.float64)]
    states[0][3] = 3.0
    with torch.no_grad():
        for action in actions[:-1]:
            states.append(true(states[-1], torch.from_numpy(action)))
    noise = np.random.default_rng(0).normal(size=(STEPS, 8)) * 0.002
    segment = Segment(1000 + time_s, torch.stack(states).numpy() + noise, actions, ACTIONS["acceleration"])
    return Drive((segment,), DT, "cg", "weaving")


def test_who_predicts_better_takes_over_and_who_predicts_worse_is_refused(driven):
    good, bad = model(0.02), model(0.0)
    taken, refused = proven(bad, good, driven), proven(good, bad, driven)
    assert taken.accepted
    assert f"{good.id}" in taken.words.partition(" takes over from ")[0]
    assert not refused.accepted
    assert f"is refused, being worse than {good.id}" in refused.words
    assert np.mean(taken.errors_m) == pytest.approx(np.mean(refused.errors_m))  # of the good one, in force after both
    assert np.mean(taken.errors_m) < 0.05


def test_physics_begins_with_the_vehicles_own_parameters():
    vehicle = read_settings(config_file("vehicles", "f1tenth", ".yaml"), Vehicle)
    recipe = recipe_for("sysid", vehicle, 5)
    assert recipe.training.seed == 5
    assert recipe.identification.parameters == build_for(vehicle, "single_track", dt=1.0).values()
    swapped = recipe_for("sysid", vehicle, 5, "kinematic_bicycle")
    assert swapped.physics == "kinematic_bicycle"
    assert swapped.identification.parameters["wheelbase"] == vehicle.parameters["wheelbase"]
    assert recipe_for("recurrent", vehicle, 0).identification.parameters == {}
