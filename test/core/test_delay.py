import numpy as np
import pytest
import torch

from mbrl_ros.core.delay import CommandHistory, delayed
from mbrl_ros.core.errors import LayoutError


def commands(past, horizon):
    """[P + H, 2]: entry k of the first action is k - P (its time in steps), of the second 10 times that."""
    time = torch.arange(past + horizon, dtype=torch.float64) - past
    return torch.stack([time, 10 * time], dim=-1)


def steps(first, second):
    return torch.tensor([first, second], dtype=torch.float64)


def test_whole_steps_shift_each_action_by_its_own_delay():
    applied = delayed(commands(3, 5), steps(2, 0), past=3)
    torch.testing.assert_close(applied[:, 0], torch.arange(5, dtype=torch.float64) - 2)
    torch.testing.assert_close(applied[:, 1], 10 * torch.arange(5, dtype=torch.float64))


def test_a_fraction_is_the_mean_of_what_acts_during_the_step():
    """Held commands, delayed by 1.25 steps: each step sees the older command for its first quarter."""
    sequence = torch.tensor([[0.0], [4.0], [8.0], [0.0]], dtype=torch.float64)
    applied = delayed(sequence, torch.tensor([1.25], dtype=torch.float64), past=2)
    fine = sequence[:, 0].repeat_interleave(4)
    expected = torch.stack([fine[8 - 5 + 4 * k : 8 - 5 + 4 * k + 4].mean() for k in range(2)])
    torch.testing.assert_close(applied[:, 0], expected)


def test_batches_keep_their_shape_and_values():
    batch = torch.randn(3, 4, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    delay = steps(1.5, 0.2)
    applied = delayed(batch, delay, past=2)
    assert applied.shape == (3, 4, 5, 2)
    torch.testing.assert_close(applied[2, 3], delayed(batch[2, 3], delay, past=2))


def test_time_may_be_any_dimension_but_the_last():
    sequence = commands(3, 6)
    across = sequence[..., None].expand(*sequence.shape, 5)  # [P + H, A, K]
    delay = steps(1.5, 0.25)
    applied = delayed(across, delay, past=3, dim=-3)
    torch.testing.assert_close(applied[..., 4], delayed(sequence, delay, past=3))


def test_it_is_differentiable_in_the_fraction_and_the_commands():
    delay = torch.tensor([1.3, 0.6], dtype=torch.float64, requires_grad=True)
    sequence = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d, u: delayed(u, d, past=3), (delay, sequence))


@pytest.mark.parametrize(("delay", "needed"), [(2.0, 2), (2.1, 3), (0.5, 1)])
def test_a_past_shorter_than_the_delay_is_refused(delay, needed):
    delayed(commands(needed, 4), steps(delay, 0), past=needed)
    with pytest.raises(LayoutError, match=f"needs {needed} past commands, got {needed - 1}"):
        delayed(commands(needed - 1, 4), steps(delay, 0), past=needed - 1)


def test_a_fraction_of_a_short_delay_asks_for_no_more_past_than_the_longest():
    applied = delayed(commands(2, 4), steps(2.0, 0.5), past=2)
    torch.testing.assert_close(applied, commands(0, 4) - torch.tensor([2.0, 5.0]))


def history():
    sent = CommandHistory(np.array([0.0, 0.0]), keep_s=1.0)
    for stamp, command in ((1.0, [1.0, 10.0]), (1.1, [2.0, 20.0]), (1.3, [3.0, 30.0])):
        sent.append(stamp, np.array(command))
    return sent


def test_each_command_holds_until_the_next():
    sent = history()
    found = [sent.at(stamp)[0] for stamp in (0.5, 1.0, 1.05, 1.1, 1.29, 1.3, 9.0)]
    assert found == [0, 1, 1, 2, 2, 3, 3]


def test_the_mean_weights_commands_by_how_long_they_held():
    mean = history().mean(0.95, 0.1, 4)
    np.testing.assert_allclose(mean, np.outer([0.5, 1.5, 2.0, 2.5], [1, 10]))


def test_a_mean_over_held_commands_is_the_delayed_sequence():
    """The two faces of delay agree: averages over shifted intervals equal ``delayed`` on the sampled sequence."""
    generator = np.random.default_rng(0)
    values, dt, delay = generator.normal(size=(12, 1)), 0.05, 0.12
    sent = CommandHistory(np.zeros(1), keep_s=10.0)
    for index, value in enumerate(values):
        sent.append(index * dt, value)
    applied = delayed(torch.tensor(values), torch.tensor([delay / dt], dtype=torch.float64), past=4)
    np.testing.assert_allclose(sent.mean(4 * dt - delay, dt, 8), applied.numpy(), atol=1e-12)


def test_a_stamp_in_the_past_overrides_what_follows():
    sent = history()
    sent.append(1.05, np.array([7.0, 70.0]))
    assert [sent.at(stamp)[0] for stamp in (1.04, 1.05, 1.2, 2.0)] == [1, 7, 7, 7]


def test_what_is_kept_stays_answered_and_what_is_older_is_dropped():
    sent = CommandHistory(np.zeros(1), keep_s=0.5)
    for index in range(100):
        sent.append(0.1 * index, np.array([float(index)]))
    assert [sent.at(stamp)[0] for stamp in (9.41, 9.65, 9.95)] == [94, 96, 99]
    assert len(sent._stamps) < 10


def test_the_history_does_not_change_with_the_callers_array():
    sent, command = CommandHistory(np.zeros(2)), np.array([1.0, 2.0])
    sent.append(0.0, command)
    command[:] = 9.0
    assert sent.at(0.0).tolist() == [1.0, 2.0]
