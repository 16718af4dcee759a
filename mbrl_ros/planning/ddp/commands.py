"""From what acts to what is to be commanded, a transport delay earlier."""

from __future__ import annotations

import torch

from mbrl_ros.planning.interpolation import read_at


def commanded(applied: torch.Tensor, delay_steps: torch.Tensor) -> torch.Tensor:
    """[H, A] commands of which ``applied`` [H, A] comes: read a delay later, the last ones held.

    The inverse of `core.delay.delayed` for delays of whole steps. In between, the share of two commands in an action is
    read back by interpolating once more, which smooths; to undo it exactly would amplify changes from step to step.

    Args:
        applied: actions from the present on.
        delay_steps: [A] delay of each action in steps.
    """
    places = torch.arange(len(applied))
    columns = zip(applied.unbind(-1), delay_steps.tolist(), strict=True)
    return torch.stack([read_at(column, places + steps) for column, steps in columns], dim=-1)


def commanded_gains(gains: torch.Tensor, transitions: torch.Tensor, delay_steps: torch.Tensor) -> torch.Tensor:
    """[H, A, S] gains of commands on the state when they are sent: ``K_j+n A_j+n-1 ... A_j`` for a delay of n steps.

    What is in flight cannot be changed, so a deviation grows by the open-loop transitions until a command acts. Of
    delays in between, the gains of the two whole numbers of steps around them are mixed; beyond the end there are none.

    Args:
        gains: [H, A, S] K of what acts.
        transitions: [H, S, S] A, derivatives of the next state by the state.
        delay_steps: [A] delay of each action in steps.
    """
    rows = []
    for action, steps in enumerate(delay_steps.tolist()):
        whole = int(steps)
        row = gains[:, action]
        mixed = torch.zeros_like(row)
        for late, share in ((whole, 1 - (steps - whole)), (whole + 1, steps - whole)):
            moved = torch.cat([row[late:], torch.zeros_like(row[:late])])
            for ahead in reversed(range(late)):
                along = torch.cat([transitions[ahead:], torch.zeros_like(transitions[:ahead])])
                moved = (moved[:, None] @ along)[:, 0]
            mixed = mixed + share * moved
        rows.append(mixed)
    return torch.stack(rows, dim=1)
