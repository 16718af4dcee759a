"""A model at another step than its own."""

from __future__ import annotations

import math

import torch

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models.model import DynamicsModel
from mbrl_ros.models.parametric import ParametricModel


class Held(torch.nn.Module):
    """Several steps of a model as one, with the action held; a `models.model.DynamicsModel`.

    Args:
        model: what is stepped; a torch module.
        steps: of it per step.
    """

    def __init__(self, model: DynamicsModel, steps: int) -> None:
        super().__init__()
        self.model, self.steps = model, steps
        self.kind = model.kind
        self.state_layout, self.action_layout = model.state_layout, model.action_layout
        self.reference_point = model.reference_point
        self.dt = steps * model.dt

    @property
    def delay(self) -> torch.Tensor:
        """[A] transport delay of each action [s]."""
        return self.model.delay

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """[..., S], [..., A] -> [..., S] state after ``dt``."""
        for _ in range(self.steps):
            state = self.model(state, action)
        return state


def stepped(model: DynamicsModel) -> DynamicsModel:
    """What is stepped several times per step of ``model``, or ``model`` itself."""
    return model.model if isinstance(model, Held) else model


def at_dt(model: DynamicsModel, dt: float, substeps: int | None = None) -> DynamicsModel:
    """``model``, stepping ``dt`` seconds.

    Physics is integrated over any step. A learned model is right for the step that it was trained at, and its memory
    counts in such steps, so it makes whole steps of its own with the action held.

    Args:
        model: any.
        dt: step wanted [s].
        substeps: integration steps of physics per step; None for as many as it has.

    Raises:
        ModelError: ``dt`` is no multiple of a learned model's step.
    """
    if isinstance(model, ParametricModel):
        return model.with_dt(dt, substeps)
    steps = round(dt / model.dt)
    if steps < 1 or not math.isclose(steps * model.dt, dt, rel_tol=1e-6):
        raise ModelError(
            f"the {model.kind} model steps {model.dt:g} s, which {dt:g} s is no multiple of; set the planner's dt_s to "
            f"one, or train the model with --rate {1 / dt:g}"
        )
    return model if steps == 1 else Held(model, steps)
