"""A model of another car is noticed before it drives."""

import pytest

from mbrl_ros.bringup.graph import config_file
from mbrl_ros.core.config import read_settings
from mbrl_ros.core.errors import ModelError
from mbrl_ros.core.vehicle import Vehicle
from mbrl_ros.models.parametric import build, build_for
from mbrl_ros.models.passport import from_bytes, to_bytes
from mbrl_ros.models.plausibility import require_same_car


def vehicle(name):
    return read_settings(config_file("vehicles", name, ".yaml"), Vehicle)


def loaded(model):
    return from_bytes(*to_bytes(model))


@pytest.mark.parametrize("kind", ["kinematic_bicycle", "single_track"])
def test_a_full_size_model_is_refused_on_a_small_car(kind):
    big, small = vehicle("bmw_320i"), vehicle("f1tenth")
    of_big = loaded(build_for(big, kind, dt=0.02))
    require_same_car(of_big, big)
    with pytest.raises(ModelError, match=r"wheelbase of 2\.58 m, .* has 0\.33 m; choose the vehicle"):
        require_same_car(of_big, small)


def test_what_a_fit_may_be_off_by_is_allowed():
    for wheelbase in (0.30, 0.36):
        require_same_car(loaded(build("kinematic_bicycle", {"wheelbase": wheelbase}, dt=0.02)), vehicle("f1tenth"))
