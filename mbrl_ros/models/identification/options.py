"""What to identify, and with which knowledge beforehand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mbrl_ros.core.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Settings of `identify`; the defaults serve every car.

    Args:
        only: names of the parameters to fit; None for those that driving usually determines, see
            `identification.parameters`.
        free: names of further parameters to fit.
        fixed: values that are known and not fitted, by name.
        priors: (value, standard deviation) of what is known beforehand, by name. A prior on the wheelbase also
            frees the steering scale, since driving determines only their ratio.
        bounds: (low, high) instead of the parameter table's, by name.
        horizon_s: how far ahead predictions are held to the recording [s].
        start_every_s: spacing of the starts of predictions [s].
        max_windows: predictions at most; more are thinned at random, evenly over the driving.
        min_speed: starts where vx is above this [m/s]; None for 3, or a fifth of the speed that a small car
            exceeds one twentieth of the time.
        max_delay_s: longest transport delay looked for [s].
        seed: of the thinning.

    Raises:
        ConfigError: a value makes no sense.
    """

    only: tuple[str, ...] | None = None
    free: tuple[str, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)
    priors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    horizon_s: float = 1.0
    start_every_s: float = 0.2
    max_windows: int = 400
    min_speed: float | None = None
    max_delay_s: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("horizon_s", "start_every_s", "max_delay_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} is {getattr(self, name)}, must be positive")
        if self.max_windows < 10:
            raise ConfigError(f"max_windows is {self.max_windows}, must be at least 10")
        for name, (value, std) in self.priors.items():
            if not (math.isfinite(value) and std > 0):
                raise ConfigError(f"prior on {name}: {value} ± {std}; the standard deviation must be positive")
        for name, (low, high) in self.bounds.items():
            if not low < high:
                raise ConfigError(f"bounds of {name}: {low} is not below {high}")
        if both := self.fixed.keys() & (self.priors.keys() | {*self.free, *(self.only or ())}):
            raise ConfigError(f"{', '.join(sorted(both))}: cannot be fixed and fitted at once")

    @property
    def asked(self) -> frozenset[str]:
        """Names of parameters of which it was said what to do with them."""
        return frozenset((*self.fixed, *self.priors, *self.free, *(self.only or ())))
