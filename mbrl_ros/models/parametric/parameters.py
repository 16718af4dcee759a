"""Physical parameters: named scalars with a unit, physical bounds and a meaning."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mbrl_ros.core.errors import ModelError


@dataclass(frozen=True)
class ParameterSpec:
    """One physical parameter.

    Args:
        name: name in tables, passports and reports.
        unit: SI unit, "1" for a ratio.
        default: value where none is given.
        low, high: physical bounds, wide enough for 1:43 to full size cars.
        meaning: one sentence.
        optional: at its default (no lag, no rate limit, no drag) the parameter is not part of the model
            at all, so that it costs nothing in a rollout; any other value brings it in.
    """

    name: str
    unit: str
    default: float
    low: float
    high: float
    meaning: str
    optional: bool = False


Table = dict[str, ParameterSpec]


def table(*specs: ParameterSpec) -> Table:
    """The specs by name."""
    return {spec.name: spec for spec in specs}


def resolve(specs: Table, given: Mapping[str, float], owner: str) -> dict[str, float]:
    """Values of the parameters in force: ``given`` over the defaults, optional ones at their default left out.

    Args:
        specs: every parameter that ``owner`` can have.
        given: values by name.
        owner: whose parameters, for error messages.

    Raises:
        ModelError: a name is unknown, or a value is not finite or out of bounds.
    """
    require_known(given, specs, owner)
    values: dict[str, float] = {}
    for name, spec in specs.items():
        value = float(given.get(name, spec.default))
        if spec.optional and value == spec.default:
            continue
        if not math.isfinite(value) or not spec.low <= value <= spec.high:
            raise ModelError(
                f"{owner}: {name} = {value:g} {spec.unit} is outside of [{spec.low:g}, {spec.high:g}] "
                f"({spec.meaning}); check its unit"
            )
        values[name] = value
    return values


def require_known(names: Iterable[str], specs: Table, owner: str) -> None:
    """Raise ModelError at the first of ``names`` that ``specs`` lacks, with the nearest name or the whole list."""
    for name in names:
        if name not in specs:
            near = difflib.get_close_matches(name, specs, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(specs)}"
            raise ModelError(f"{owner} has no parameter '{name}'; {hint}")
