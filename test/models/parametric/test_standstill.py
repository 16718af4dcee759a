import pytest
import torch

from mbrl_ros.core.layout import VX, X
from mbrl_ros.models.model import rollout
from mbrl_ros.models.parametric import KINDS, build


@pytest.mark.parametrize("kind", KINDS)
def test_braking_ends_at_rest_and_never_drives_backwards(kind):
    model = build(kind, {"drive_lag": 0.05}, dt=0.04)
    state = torch.zeros(8, dtype=torch.float64)
    state[VX] = 1.0
    states = rollout(model, state, torch.tensor([[0.1, -6.0]], dtype=torch.float64).expand(50, 2))
    assert float(states[:, VX].detach().min()) >= -1e-3
    assert float(states[-1, VX].detach()) == pytest.approx(0.0, abs=1e-3)
    assert float((states[-1, X] - states[-10, X]).detach().abs()) < 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_driving_off_from_rest_works(kind):
    model = build(kind, dt=0.04)
    states = rollout(model, torch.zeros(8, dtype=torch.float64), torch.tensor([[0.0, 2.0]]).double().expand(25, 2))
    assert float(states[-1, VX].detach()) == pytest.approx(2.0, rel=0.01)
