"""Members side by side are what torch's own layers are one by one."""

import pytest
import torch

from mbrl_ros.models.learned.networks import MemberLinear, Perceptron, RecurrentCell


def test_members_share_nothing():
    torch.manual_seed(0)
    network = Perceptron(3, (4, 8, 2))
    x = torch.randn(3, 4, 5)
    together = network(x)
    x[1] += 1.0
    changed = network(x)
    assert torch.equal(together[[0, 2]], changed[[0, 2]])
    assert not torch.equal(together[1], changed[1])


@pytest.mark.parametrize(("kind", "cell"), [("gru", torch.nn.GRUCell), ("lstm", torch.nn.LSTMCell)])
def test_cells_are_torchs(kind, cell):
    torch.manual_seed(0)
    ours, theirs = RecurrentCell(kind, 2, 4, 6, span=10), cell(4, 6)
    with torch.no_grad():
        for layer, weight, bias in (
            (ours.from_input, theirs.weight_ih, theirs.bias_ih),
            (ours.from_output, theirs.weight_hh, theirs.bias_hh),
        ):
            layer.weight[1] = weight.T
            layer.bias[1] = bias
    x, h, c = torch.randn(5, 4), torch.randn(5, 6), torch.randn(5, 6)
    expected = theirs(x, h) if kind == "gru" else torch.cat(theirs(x, (h, c)), dim=-1)
    memory = h if kind == "gru" else torch.cat([h, c], dim=-1)
    found = ours(x.T.expand(2, -1, -1), memory.T.expand(2, -1, -1))
    torch.testing.assert_close(found[1], expected.T)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_what_is_remembered_fades_within_the_span(kind):
    """Without input and feedback a memory decays by a factor 1 - 1/T a step, T being from 2 steps to the span."""
    torch.manual_seed(0)
    cell = RecurrentCell(kind, 2, 4, 400, span=50)
    with torch.no_grad():
        cell.from_input.weight.zero_()
        cell.from_output.weight.zero_()
        for layer in (cell.from_input, cell.from_output):  # what is written anew is zero
            layer.bias[..., 800:1200] = 0.0
        memory = torch.ones(2, cell.memory, 1)
        steps = 1 / (1 - cell(torch.zeros(2, 4, 1), memory)[:, -400:, 0])  # of an LSTM the cell's own state
    assert float(steps.min()) >= 2.0
    assert float(steps.max()) <= 50.0
    assert float(steps.mean()) == pytest.approx(26.0, abs=2.0)  # evenly between


def test_a_layer_may_begin_with_zero():
    assert not any(p.any() for p in MemberLinear(2, 3, 4, zero=True).parameters())
