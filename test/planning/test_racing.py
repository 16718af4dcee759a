"""Which models a car can be driven with."""

import pytest

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models import passport
from mbrl_ros.models.parametric import build_for
from mbrl_ros.planning.racing import require_drivable


def loaded(model):
    return passport.from_bytes(*passport.to_bytes(model))


def test_a_model_of_the_cars_commands_and_its_cg_is_drivable(vehicle):
    require_drivable(loaded(build_for(vehicle, "single_track", dt=0.02)))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"drive": "speed"}, "planners command acceleration"), ({"reference_point": "rear_axle"}, "describes the rear")],
)
def test_other_models_are_refused_with_the_reason(vehicle, change, words):
    model = loaded(build_for(vehicle, "kinematic_bicycle", dt=0.02, **change))
    with pytest.raises(ModelError, match=words):
        require_drivable(model)
