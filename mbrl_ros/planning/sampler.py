"""Drawing action sequences about a mean: the random numbers of sampling-based planners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mbrl_ros.planning.noise import NoiseShape


@dataclass(frozen=True)
class Distribution:
    """What action sequences are drawn from: Gaussian, of the sampler's shape along the horizon.

    Args:
        mean: [H, A] the nominal plan.
        std: [H, A] factor on the noise's shape.
    """

    mean: torch.Tensor
    std: torch.Tensor


class Sampler:
    """Draws action sequences; the same seed gives the same ones to the bit on a CPU.

    From the second draw on nothing is allocated but matrices of a few thousand numbers.

    Args:
        shapes: [A] of the noise on each action, all of one horizon.
        count: K, sequences per draw.
        antithetic: sequences 2 i and 2 i + 1 have the same noise with opposite signs; half as many random numbers are
            drawn, and the mean of the noise is zero.
        seed: of the random numbers.
    """

    def __init__(self, shapes: Sequence[NoiseShape], count: int, antithetic: bool, seed: int) -> None:
        self._bases = [torch.tensor(shape.basis, dtype=torch.float32) for shape in shapes]
        self.count = count
        self._seed = seed
        self._generator = torch.Generator()
        self._antithetic = antithetic
        numbers = max(basis.shape[1] for basis in self._bases)
        self._white = torch.empty(len(shapes), numbers, count)
        self._drawn = torch.empty(len(shapes), numbers, (count + 1) // 2) if antithetic else self._white
        self.reset()

    def reset(self) -> None:
        """Begin the random numbers anew."""
        self._generator.manual_seed(self._seed)

    def draw(
        self,
        source: Distribution,
        low: torch.Tensor,
        high: torch.Tensor,
        out: torch.Tensor,
        prior: torch.Tensor,
        prior_share: float,
    ) -> float:
        """Fill ``out`` with sequences from ``source``, held within bounds; returns the share of actions that met one.

        Args:
            source: what to draw from.
            low: [A] lowest actions.
            high: [A] highest actions.
            out: [H, A, K], each [K] contiguous.
            prior: [H, A, N] proposals, about which as many sequences lie as ``prior_share`` says, in equal parts. They
                are the last of ``out``.
            prior_share: share of the sequences; without proposals there are none.
        """
        self._draw_white()
        for action, basis in enumerate(self._bases):
            scaled = source.std[:, action, None] * basis
            mean = source.mean[:, action, None].expand(-1, out.shape[-1])
            torch.addmm(mean, scaled, self._white[action, : basis.shape[1]], out=out[:, action])
        if prior.shape[-1]:
            each = int(prior_share * out.shape[-1]) // prior.shape[-1]
            for number, proposal in enumerate(prior.unbind(-1), start=1):
                end = out.shape[-1] - (prior.shape[-1] - number) * each
                out[..., end - each : end] += (proposal - source.mean)[..., None]
        for action in range(len(self._bases)):  # with numbers for bounds this is ten times faster than with tensors
            out[:, action].clamp_(float(low[action]), float(high[action]))
        few = out[..., :128]  # samples are alike, and counting all of them takes longer than drawing
        return float(((few <= low[:, None]) | (few >= high[:, None])).float().mean())

    def _draw_white(self) -> None:
        torch.randn(self._drawn.shape, generator=self._generator, out=self._drawn)
        if self._antithetic:
            self._white[..., 0::2] = self._drawn
            torch.neg(self._drawn[..., : self._white.shape[-1] // 2], out=self._white[..., 1::2])
