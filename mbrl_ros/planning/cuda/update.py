"""One MPPI update by the fused kernels: random numbers, rollouts, costs, weights and the weighted mean; and traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mbrl_ros.core.errors import ConfigError
from mbrl_ros.core.layout import STATE
from mbrl_ros.planning.cuda.kernels import MOST_THREADS, THREADS, Kernels, Launch
from mbrl_ros.planning.cuda.problem import MOST_PAST, KernelProblem

_LANES = 16  # arrays are padded to whole vectors of the widest kind
_SHOWN = 16  # sequences that are traced at a time


@dataclass(frozen=True)
class Guess:
    """What an update begins with.

    Args:
        state: [S] at the present, of which all rollouts share what stands behind the car's own.
        nominal: [H, 2] commands that noise is added to; the first sample.
        previous: [H, 2] the second sample.
        past: [P, 2] commands that were sent before the present and may still act, in steps of the plan.
        pull: [H, 2] ``share Sigma^-1 u``: control cost over lambda, per command.
        temperature: lambda, or where the search for it begins.
        effective_share: effective sample size that lambda is chosen for, per finite rollout; 0 keeps lambda.
    """

    state: np.ndarray
    nominal: np.ndarray
    previous: np.ndarray
    past: np.ndarray
    pull: np.ndarray
    temperature: float
    effective_share: float


@dataclass(frozen=True)
class Updated:
    """What an update found.

    Args:
        nominal: [H, 2] weighted mean of the sampled commands.
        temperature: lambda that was used.
        effective_size: ``1 / sum w^2``; 0 where no rollout was finite, and ``nominal`` means nothing.
        finite_share: of the rollouts.
        saturation_share: of the commands sampled, those at a bound.
    """

    nominal: np.ndarray
    temperature: float
    effective_size: float
    finite_share: float
    saturation_share: float


class FusedUpdate:
    """The kernels and their arrays, for one problem and number of rollouts.

    The same seed and number of updates since `restart` give the same random numbers, on a GPU and elsewhere.

    Args:
        problem: model, task and shape of the noise.
        kernels: compiled from ``problem.source()``.
        rollouts: K.
        std: [2] standard deviations of the noise.
        seed: of the noise.
        antithetic: rollouts 2 i and 2 i + 1 have the same noise with opposite signs.
    """

    def __init__(
        self,
        problem: KernelProblem,
        kernels: Kernels,
        rollouts: int,
        std: np.ndarray,
        seed: int,
        antithetic: bool = False,
    ) -> None:
        self._problem, self._kernels, self._rollouts = problem, kernels, rollouts
        self._values = np.zeros((), dtype=problem.inputs)
        self._values["std"], self._values["antithetic"] = std, antithetic
        self._values["seed_low"], self._values["seed_high"] = seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF
        self._versions: tuple[int, ...] = ()
        stride = rollouts + -rollouts % _LANES
        rows = MOST_PAST + problem.horizon
        self._arrays = {name: kernels.array(values) for name, values in problem.arrays().items()}
        self._arrays |= {
            "inputs": kernels.array(self._values),
            "outcome": kernels.array(np.zeros((), dtype=problem.outcome)),
            "basis": kernels.array(problem.basis),
            "commands": kernels.array(np.zeros((rows, 2, stride), dtype=np.float32)),
            **{name: kernels.array(np.zeros(stride, dtype=np.float32)) for name in ("costs", "pulls", "weights")},
            "actions": kernels.array(np.zeros((problem.horizon, 2, _SHOWN), dtype=np.float32)),
            "states": kernels.array(np.zeros((problem.horizon, len(STATE), _SHOWN), dtype=np.float32)),
            "terms": kernels.array(np.zeros((len(problem.task.term_names), _SHOWN), dtype=np.float32)),
        }
        blocks = -(-rollouts // THREADS)
        self._program = kernels.program(
            [
                self._launch("sample", ("inputs", "basis", "commands"), blocks, stride),
                self._launch(
                    "rollouts",
                    ("inputs", "table", "nearest", "network", "commands", "costs", "pulls"),
                    blocks,
                    stride,
                ),
                self._launch(
                    "weigh", ("inputs", "costs", "pulls", "commands", "weights", "outcome"), 1, stride, MOST_THREADS
                ),
                self._launch("combine", ("inputs", "weights", "commands", "outcome"), 2 * problem.horizon, stride),
            ]
        )
        traced = ("inputs", "table", "nearest", "network", "actions", "states", "terms")
        self._trace = kernels.program([Launch("trace", (*self._named(traced), _SHOWN, _SHOWN), 1)])

    def restart(self) -> None:
        """Begin the random numbers anew."""
        self._values["update"] = 0

    def __call__(self, guess: Guess) -> Updated:
        """Sample around ``guess``, roll out and weigh.

        Raises:
            ConfigError: a delay is longer than the kernels have room for.
        """
        if len(guess.past) > MOST_PAST:
            raise ConfigError(f"a delay of {len(guess.past)} steps is longer than {MOST_PAST}; use longer steps (dt_s)")
        self._refresh()
        values = self._values
        self._problem.begin(values, guess.state)
        for name in ("nominal", "previous", "pull", "temperature", "effective_share"):
            values[name] = getattr(guess, name)
        values["past"][: len(guess.past)] = guess.past
        values["past_count"] = len(guess.past)
        self._kernels.write(self._arrays["inputs"], values)
        self._program()
        values["update"] += 1
        outcome = self._kernels.read(self._arrays["outcome"])
        figures = ("temperature", "effective_size", "finite_share", "saturation_share")
        return Updated(outcome["nominal"].copy(), *(float(outcome[name]) for name in figures))

    def trace(self, state: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [K, H + 1, 8] and costs by term [K, T] of ``actions`` [K, H, 2], as they act, from ``state`` [S]."""
        self._refresh()
        self._problem.begin(self._values, state)
        self._kernels.write(self._arrays["inputs"], self._values)
        parts = [self._traced(actions[first : first + _SHOWN]) for first in range(0, len(actions), _SHOWN)]
        states, costs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        begin = np.broadcast_to(np.asarray(state[: len(STATE)], dtype=np.float32), (len(actions), 1, len(STATE)))
        return np.concatenate([begin, states], axis=1), costs

    def costs(self) -> np.ndarray:
        """[K] costs of the last update's samples; not finite where a rollout was not."""
        return self._kernels.read(self._arrays["costs"])[: self._rollouts]

    def weights(self) -> np.ndarray:
        """[K] weights of the last update's samples."""
        return self._kernels.read(self._arrays["weights"])[: self._rollouts]

    def commands(self) -> np.ndarray:
        """[P + H, 2, K] commands of the last update's samples, those of the past in front."""
        rows = int(self._values["past_count"]) + self._problem.horizon
        return self._kernels.read(self._arrays["commands"])[:rows, :, : self._rollouts]

    def _launch(self, name: str, arrays: tuple[str, ...], blocks: int, stride: int, threads: int = THREADS) -> Launch:
        return Launch(name, (*self._named(arrays), self._rollouts, stride), blocks, threads)

    def _named(self, arrays: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(self._arrays[array] for array in arrays)

    def _traced(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [K, H, 8] after each step and costs by term [K, T] of no more sequences than there is room for."""
        padded = np.zeros((self._problem.horizon, 2, _SHOWN), dtype=np.float32)
        padded[..., : len(actions)] = np.moveaxis(actions, 0, -1)
        self._kernels.write(self._arrays["actions"], padded)
        self._trace()
        states, terms = (self._kernels.read(self._arrays[name])[..., : len(actions)] for name in ("states", "terms"))
        return np.moveaxis(states, -1, 0).copy(), terms.T.copy()

    def _refresh(self) -> None:
        """Parameters, weights, limits and tables as they are now."""
        versions = self._problem.versions()
        if versions == self._versions:
            return
        self._problem.fill(self._values)
        for name, values in self._problem.arrays().items():
            self._kernels.write(self._arrays[name], values)
        self._versions = versions
