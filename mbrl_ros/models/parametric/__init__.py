"""Vehicle models with physical parameters, and building them by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mbrl_ros.core.errors import ModelError
from mbrl_ros.models.parametric import kinematic
from mbrl_ros.models.parametric.kinematic import KinematicBicycle
from mbrl_ros.models.parametric.model import Config, Equations, ParametricModel
from mbrl_ros.models.parametric.parameters import ParameterSpec

KINDS: dict[str, Equations] = {equations.kind: equations for equations in (kinematic.EQUATIONS,)}
"""The parametric kinds by name."""


def build(kind: str, parameters: Mapping[str, float] | None = None, **config: Any) -> ParametricModel:
    """A model of ``kind`` with ``parameters`` (others at their default) and the fields of `Config`.

    Raises:
        ModelError: the kind, a parameter or a configuration value is unknown or out of bounds.
    """
    if kind not in KINDS:
        raise ModelError(f"no parametric model of kind '{kind}'; there are {', '.join(KINDS)}")
    return ParametricModel(KINDS[kind], parameters, **config)


__all__ = ["KINDS", "Config", "Equations", "KinematicBicycle", "ParameterSpec", "ParametricModel", "build"]
