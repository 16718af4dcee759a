"""What a training lowers: errors of predictions over the horizon, of each member by itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mbrl_ros.core.angles import wrap_angle
from mbrl_ros.core.layout import VX, VY, YAW, YAW_RATE, X, Y
from mbrl_ros.learning.examples import Examples
from mbrl_ros.learning.group import ALONE, Group
from mbrl_ros.learning.unrolling import Predict, predictions
from mbrl_ros.models.learned import LearnedModel

_HELD_TO = (YAW, VX, VY, YAW_RATE)
_SMALLEST_M = 1e-3  # position errors below this count quadratically
_BOUNDS_WEIGHT = 0.01  # of the distance between the learned bounds of the log-variance
_SPAN_S = 0.2  # over which the base's rates of error are taken: shorter ones are noise
_ROWS = 512  # predicted at once where no gradient is needed


@dataclass(frozen=True)
class Losses:
    """Of M members and N predictions.

    Args:
        loss: [M, N] what is lowered.
        error: [M, N] what members are stopped and compared by.
    """

    loss: torch.Tensor
    error: torch.Tensor


class MultiStep:
    """Mean position error over the horizon, heading and velocities beside it, as shares of what the base errs.

    The position's error is its distance, not the square of it, and the others are bent alike beyond their usual size
    (pseudo-Huber): sensors jump.

    Args:
        model: untrained, so that it errs as its base does.
        examples: the driving.
        velocity_weight: weight of heading and of each velocity, beside the position's 1.
        predict: how the model predicts.
    """

    def __init__(
        self, model: LearnedModel, examples: Examples, velocity_weight: float, predict: Predict = predictions
    ) -> None:
        self.examples = examples
        self._predict = predict
        self._weight = velocity_weight
        with torch.no_grad():
            parts = examples.sample.split(_ROWS)
            errors = torch.cat([self._errors(model, 0, rows)[:1] for rows in parts], dim=1)
        self._distance = max(float(_distance(errors).mean()), _SMALLEST_M)
        observed = examples.observed.any(dim=0)
        self._held_to = [column for column in _HELD_TO if bool(observed[column])]
        self.usual = _usual(model, errors[0], observed)
        usual = errors.abs().flatten(0, 2).median(dim=0).values
        self._scale = 2 * usual + 1e-4

    def losses(self, model: LearnedModel, view: int, rows: torch.Tensor) -> Losses:
        """Of the predictions from the windows ``rows`` [n], seen in the mirror or not."""
        errors = self._errors(model, view, rows)
        position = _distance(errors).mean(dim=-1)
        loss = position / self._distance
        for column in self._held_to:
            bent = torch.sqrt(1 + (errors[..., column] / self._scale[column]) ** 2) - 1
            loss = loss + self._weight * bent.mean(dim=-1)
        return Losses(loss, position)

    def held_out(self, model: LearnedModel, group: Group = ALONE) -> torch.Tensor:
        """[M] position error of each member on what it did not learn from [m]."""
        return _held_out_error(self, model, group)

    def _errors(self, model: LearnedModel, view: int, rows: torch.Tensor) -> torch.Tensor:
        """[M, n, H, 8] predicted less driven."""
        errors = self._predict(model, self.examples, view, rows) - self.examples.driven[view, rows]
        columns = [wrap_angle(e) if k == YAW else e for k, e in enumerate(errors.unbind(dim=-1))]
        return torch.stack(columns, dim=-1)


class SingleStep:
    """Likelihood of recorded single steps under members that say how uncertain they are (Chua et al. 2018).

    The rate of change that the base lacks, as a share of the outputs' limits, is taken to be normally distributed.

    Args:
        examples: the driving, a single step from each start.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self.usual = torch.ones(())  # of single steps the usual output is noise
        self._observed = examples.observed[:, VX : YAW_RATE + 1].float()

    def losses(self, model: LearnedModel, view: int, rows: torch.Tensor) -> Losses:
        """Of the steps from the windows ``rows`` [n], seen in the mirror or not."""
        examples, model = self.examples, model.mirrored() if view else model
        memory = model.recall(examples.inputs[view, rows], examples.shares[view, rows])
        mean, log_variance, predicted = model.outputs(examples.car[view, rows], memory, examples.applied[view, rows, 0])
        lacking = (examples.driven[view, rows, 0] - predicted)[..., VX : YAW_RATE + 1]
        wanted = lacking / (model.held_s * model.limits)
        seen = self._observed[rows]
        squares = ((mean - wanted) ** 2 * seen).sum(dim=-1)
        loss = (((mean - wanted) ** 2 * torch.exp(-log_variance) + log_variance) * seen).sum(dim=-1)
        spread = (model.highest - model.lowest).sum(dim=-1)
        return Losses(loss + _BOUNDS_WEIGHT * spread, squares)

    def held_out(self, model: LearnedModel, group: Group = ALONE) -> torch.Tensor:
        """[M] mean squared error of each member, as a share of the limits, on what it did not learn from."""
        return _held_out_error(self, model, group)


def _usual(model: LearnedModel, errors: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
    """[3] what the base lacks on average, as a share of the outputs' limits, from its errors [n, H, 8].

    Of a velocity that is not recorded nothing is known but the largest share of the others.
    """
    span = min(max(1, round(_SPAN_S / model.dt)), errors.shape[1])
    rates = errors[:, span - 1, VX : YAW_RATE + 1].abs().mean(dim=0) / (span * model.dt)
    shares = (rates / model.limits).clamp(max=1.0)
    seen = observed[VX : YAW_RATE + 1]
    return torch.where(seen, shares, shares[seen].max() if bool(seen.any()) else 1.0)


def _held_out_error(objective: MultiStep | SingleStep, model: LearnedModel, group: Group) -> torch.Tensor:
    held_out, wanted = objective.examples.held_out, objective.examples.judging
    mine = group.share(wanted)
    with torch.no_grad():
        parts = [objective.losses(model, 0, rows).error for rows in mine.split(_ROWS)]
    errors = group.sum((torch.cat(parts, dim=1) * held_out[:, mine]).sum(dim=1))
    return errors / held_out[:, wanted].sum(dim=1)


def _distance(errors: torch.Tensor) -> torch.Tensor:
    return torch.sqrt(errors[..., X] ** 2 + errors[..., Y] ** 2 + _SMALLEST_M**2)
