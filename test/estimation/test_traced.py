import numpy as np
import pytest
import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.estimation.traced import NUMPY, Traced
from mbrl_ros.models.parametric import build


@pytest.mark.parametrize("kind", ["kinematic_bicycle", "single_track"])
@pytest.mark.parametrize("drive", ["acceleration", "speed", "duty"])
@pytest.mark.parametrize("lagging", [False, True])
def test_a_traced_model_is_the_model(kind, drive, lagging):
    optional = {
        "steering_lag": 0.05,
        "steering_rate_limit": 1.0,
        "drive_lag": 0.1,
        "rolling_resistance": 0.2,
        "drag": 0.1,
    }
    model = build(kind, optional if lagging else {}, dt=0.02, drive=drive, integrator="rk4", substeps=2)
    generator = torch.Generator().manual_seed(0)
    state = torch.rand(1, 8, dtype=torch.float64, generator=generator)
    traced = Traced(model.step, state, state[:, :2], torch.tensor(0.01, dtype=torch.float64))
    states = 4.0 * torch.rand(17, 8, dtype=torch.float64, generator=generator) - 1.0
    actions = torch.rand(17, 2, dtype=torch.float64, generator=generator) - 0.5
    for step_s in (0.01, 0.003):
        expected = model.step(states, actions, step_s).detach().numpy()
        result = traced(states.numpy(), actions.numpy(), np.float64(step_s))
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


def test_a_function_that_numpy_is_not_told_of_goes_through_torch():
    assert "logaddexp" not in NUMPY
    x, y = torch.rand(3, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    traced = Traced(lambda x, y: torch.logaddexp(x, y).sum() + torch.cat([x, y]).amax(), x, y)
    np.testing.assert_allclose(
        traced(x.numpy(), 2 * y.numpy()), torch.logaddexp(x, 2 * y).sum() + torch.cat([x, 2 * y]).amax()
    )


def test_what_does_not_depend_on_the_inputs_is_computed_once():
    constant = torch.tensor(2.0)
    traced = Traced(lambda x: x * torch.exp(constant).sqrt(), torch.ones(2))
    assert len(traced) == 1
    constant.fill_(0.0)
    np.testing.assert_allclose(traced(np.ones(2)), np.exp(1.0) * np.ones(2), rtol=1e-6)


def test_an_input_behind_a_keyword_is_refused():
    with pytest.raises(ModelError, match="by position"):
        Traced(lambda x: torch.clamp(x, max=x), torch.ones(2))
