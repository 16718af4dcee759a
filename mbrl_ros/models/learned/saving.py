"""Learned models from their passports."""

from __future__ import annotations

import torch
from pydantic import TypeAdapter, ValidationError

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models import passport
from mbrl_ros.models.learned.config import Config
from mbrl_ros.models.learned.inertia import Inertia
from mbrl_ros.models.learned.model import OUTPUTS, SURPRISES, LearnedModel
from mbrl_ros.models.parametric import ParametricModel, build

_KINDS = ("semiparametric", "nonparametric")


def build_base(config: Config, parameters: dict[str, float]) -> ParametricModel | Inertia:
    """The base that ``config`` describes, in float64; physics has ``parameters``.

    Raises:
        ModelError: the kind or a parameter is unknown or out of bounds.
    """
    base = config.base
    if base.kind == "inertia":
        return Inertia(base.drive, base.delay_s, config.dt, config.reference_point)
    return build(
        base.kind,
        parameters,
        dt=config.dt,
        drive=base.drive,
        reference_point=config.reference_point,
        integrator=base.integrator,
        substeps=base.substeps,
    )


def kind_of(config: Config) -> str:
    """The kind that a passport names."""
    return "nonparametric" if config.base.kind == "inertia" else "semiparametric"


def _load(stated: passport.Passport, weights: passport.Weights) -> LearnedModel:
    apart = {"dt": stated.dt_s, "reference_point": stated.reference_point}
    try:
        config = TypeAdapter(Config).validate_python({**stated.config, **apart})
    except ValidationError as error:
        reasons = "; ".join(f"'{'.'.join(map(str, e['loc']))}': {e['msg']}" for e in error.errors())
        raise ModelError(f"{passport.PASSPORT_FILE}: config: {reasons}") from error
    if kind_of(config) != stated.kind:
        raise ModelError(f"{passport.PASSPORT_FILE}: kind '{stated.kind}' has no base '{config.base.kind}'")
    parameters = {name: record.value for name, record in stated.parameters.items()}
    model = LearnedModel(build_base(config, parameters), config, *_normaliser(stated, config)).double()
    expected = {name: value.shape for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))
        raise ModelError(f"{passport.WEIGHTS_FILE}: does not fit the config, at '{wrong[0][0]}' of shape {wrong[0][1]}")
    model.load_state_dict(weights)
    return model


def _normaliser(stated: passport.Passport, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    surprises = 0 if config.network.kind == "mlp" else len(SURPRISES)
    needed = len(OUTPUTS) + 2 + len(stated.action) + surprises
    normaliser = stated.normaliser
    if normaliser is None or not len(normaliser.mean) == len(normaliser.std) == needed:
        raise ModelError(f"{passport.PASSPORT_FILE}: normaliser: needs mean and std of {needed} inputs")
    mean, std = torch.tensor([normaliser.mean, normaliser.std], dtype=torch.float64)
    return mean, std


for _kind in _KINDS:
    passport.register(_kind, _load)
