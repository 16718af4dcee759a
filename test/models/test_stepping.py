"""Models at other steps than their own."""

import pytest
import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models.learned import Base, Config, Guard, LearnedModel, Network, build_base
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import build
from mbrl_ros.models.stepping import at_dt

STATE = torch.tensor([0.0, 0.0, 0.3, 3.0, 0.1, 0.4, 0.05, 0.5], dtype=torch.float64)
ACTION = torch.tensor([0.1, 1.0], dtype=torch.float64)


@pytest.fixture
def learned():
    torch.manual_seed(0)
    config = Config(
        0.02,
        "cg",
        Base("kinematic_bicycle", "acceleration"),
        Network("gru", members=2, hidden=4),
        Guard(residual=(3.0, 3.0, 5.0), longitudinal=12.0, lateral=12.0, sideslip=1.0),
    )
    model = LearnedModel(build_base(config, {"wheelbase": 0.33}), config, torch.zeros(13), torch.ones(13)).double()
    torch.nn.init.normal_(model.head.layers[-1].weight)
    return model


def test_a_learned_model_makes_whole_steps_with_the_action_held(learned):
    slower = at_dt(learned, 0.06)
    state = torch.cat([STATE, 0.1 * torch.ones(8, dtype=torch.float64)])
    with torch.no_grad():
        expected = rollout(learned, state, ACTION.expand(3, 2))[-1]
        torch.testing.assert_close(slower(state, ACTION), expected)
    assert slower.dt == pytest.approx(0.06)
    assert at_dt(learned, 0.02) is learned


@pytest.mark.parametrize("dt", [0.05, 0.01])
def test_a_step_that_is_no_multiple_is_refused_with_the_fix(learned, dt):
    with pytest.raises(
        ModelError, match=f"no multiple of; set the planner's dt_s to one, or train .* --rate {1 / dt:g}"
    ):
        at_dt(learned, dt)


def test_physics_is_integrated_over_any_step():
    model = build("kinematic_bicycle", {"wheelbase": 0.33}, dt=0.02)
    with torch.no_grad():
        found = at_dt(model, 0.05, substeps=10)(STATE, ACTION)
        fine = rollout(model.with_dt(0.001), STATE, ACTION.expand(50, 2))[-1]
    torch.testing.assert_close(found, fine, rtol=1e-3, atol=1e-3)
