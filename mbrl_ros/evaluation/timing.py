"""How long a model takes to roll out as many plans as a planner looks at in one cycle."""

from __future__ import annotations

import copy
import time
from typing import cast

import numpy as np
import torch

from mbrl_ros.evaluation.baselines import beginning
from mbrl_ros.evaluation.open_loop import Windows
from mbrl_ros.models.model import DynamicsModel, rollout

ROLLOUTS, STEPS = 1024, 50

_REPEATS = 7


def rollout_time_s(name: str, model: DynamicsModel, windows: Windows) -> float:
    """Median wall time [s] of `ROLLOUTS` rollouts over `STEPS` steps, from driven states along driven commands.

    Plain torch in single precision with as many threads as torch has; planners compile the same code.

    Args:
        name: of the model, for errors.
        model: a torch module.
        windows: driving to begin in.

    Raises:
        LayoutError, ModelError: the model is of another car or rate than the driving.
    """
    at_rate, begin, applied = beginning(name, model, windows)
    single = cast(DynamicsModel, copy.deepcopy(cast(torch.nn.Module, at_rate)).float())
    rows, steps = torch.arange(ROLLOUTS) % len(begin), torch.arange(STEPS) % applied.shape[1]
    state, actions = begin[rows].float(), applied[rows][:, steps].float()
    times_s = []
    with torch.inference_mode():
        for _ in range(1 + _REPEATS):
            before_s = time.perf_counter()
            rollout(single, state, actions)
            times_s.append(time.perf_counter() - before_s)
    return float(np.median(times_s[1:]))
