import math

import pytest
import torch

from mbrl_ros.models.parametric.tyres import magic_formula

SLIP = torch.linspace(-1.2, 1.2, 481, dtype=torch.float64)
B, C, D = (torch.tensor(value, dtype=torch.float64) for value in (8.0, 1.5, 0.9))


@pytest.mark.parametrize("e", [None, -2.0, 0.5, 0.97])
def test_equals_the_scalar_formula(e):
    force = magic_formula(SLIP, B, C, D, None if e is None else torch.tensor(e))
    for slip, value in zip(SLIP.tolist(), force.tolist(), strict=True):
        bent = 8.0 * slip - (e or 0.0) * (8.0 * slip - math.atan(8.0 * slip))
        assert value == pytest.approx(0.9 * math.sin(1.5 * math.atan(bent)), abs=1e-7)


def test_slope_at_the_origin_is_bcd_and_the_peak_is_d():
    def force(slip):
        return magic_formula(slip, B, C, D, torch.tensor(-1.0))

    assert torch.func.grad(force)(torch.tensor(0.0).double()).item() == pytest.approx(8.0 * 1.5 * 0.9)
    assert force(SLIP).max().item() == pytest.approx(0.9, abs=1e-4)
    torch.testing.assert_close(force(-SLIP), -force(SLIP))
