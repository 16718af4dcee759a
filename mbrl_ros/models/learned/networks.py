"""Small networks for several members at once: one batched product per layer instead of a loop over members.

Everything works on ``[M, F, N]``: M members, F entries, N columns, one for each input. So neighbouring rollouts are
neighbours in memory, as they are in a planner. Members share nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

Cell = Literal["gru", "lstm"]


class MemberLinear(torch.nn.Module):
    """An affine map for each member.

    Args:
        members: M.
        inputs, outputs: sizes.
        zero: begin with zero instead of uniformly within ``1 / sqrt(inputs)`` (LeCun et al. 1998).
    """

    def __init__(self, members: int, inputs: int, outputs: int, *, zero: bool = False) -> None:
        super().__init__()
        reach = 0.0 if zero else 1 / math.sqrt(inputs)
        self.weight = torch.nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-reach, reach))
        self.bias = torch.nn.Parameter(torch.empty(members, 1, outputs).uniform_(-reach, reach))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[M, inputs, N] -> [M, outputs, N]."""
        return torch.baddbmm(self.bias.mT, self.weight.mT, x)


class Perceptron(torch.nn.Module):
    """Fully connected layers with SiLU between them.

    Args:
        members: M.
        sizes: of the input, the hidden layers and the output.
        zero: the last layer begins with zero.
    """

    def __init__(self, members: int, sizes: Sequence[int], *, zero: bool = False) -> None:
        super().__init__()
        last = len(sizes) - 2
        self.layers = torch.nn.ModuleList(
            MemberLinear(members, sizes[k], sizes[k + 1], zero=zero and k == last) for k in range(last + 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[M, sizes[0], N] -> [M, sizes[-1], N]."""
        for k, layer in enumerate(self.layers):
            x = layer(torch.nn.functional.silu(x) if k else x)
        return x


class RecurrentCell(torch.nn.Module):
    """One step of a GRU (Cho et al. 2014) or an LSTM (Hochreiter and Schmidhuber 1997).

    Its entries begin with forgetting within two to ``span`` steps, at random (chrono initialisation, Tallec and
    Ollivier 2018). Gates that begin half open forget within two steps, be these of 0.04 s or of 0.01 s.

    Args:
        kind: which.
        members: M.
        inputs: size of the input.
        hidden: size of the output h.
        span: steps that are to be remembered.
    """

    def __init__(self, kind: Cell, members: int, inputs: int, hidden: int, span: int) -> None:
        super().__init__()
        self.kind = kind
        self.hidden = hidden
        self.memory = hidden if kind == "gru" else 2 * hidden
        """Entries of the memory: h, and for an LSTM its cell's state behind it."""
        gates = 3 if kind == "gru" else 4
        self.from_input = MemberLinear(members, inputs, gates * hidden)
        self.from_output = MemberLinear(members, hidden, gates * hidden)
        keep, store = slice(hidden, 2 * hidden), slice(0, hidden)
        times = torch.empty(members, 1, hidden).uniform_(1.0, max(1.0, span - 1.0)).log()
        with torch.no_grad():
            self.from_input.bias[..., keep] = times
            self.from_output.bias[..., keep] = 0.0
            if kind == "lstm":
                self.from_input.bias[..., store] = -times
                self.from_output.bias[..., store] = 0.0

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Memory [M, memory, N] after the input [M, inputs, N]; its first ``hidden`` entries are the output."""
        output = memory[:, : self.hidden]
        given, recalled = self.from_input(x), self.from_output(output)
        if self.kind == "gru":
            reset, update = (given + recalled)[:, : 2 * self.hidden].sigmoid().chunk(2, dim=1)
            fresh = torch.tanh(given[:, 2 * self.hidden :] + reset * recalled[:, 2 * self.hidden :])
            return fresh + update * (output - fresh)
        store, keep, fresh, show = (given + recalled).chunk(4, dim=1)
        inside = keep.sigmoid() * memory[:, self.hidden :] + store.sigmoid() * fresh.tanh()
        return torch.cat([show.sigmoid() * inside.tanh(), inside], dim=1)
