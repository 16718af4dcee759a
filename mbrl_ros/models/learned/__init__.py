"""Models with networks in them: a base that is physics, or nothing but inertia, and a residual learned from driving."""

from mbrl_ros.models.learned.config import REGIME_PARAMETERS, Base, Config, Guard, Network, Regimes
from mbrl_ros.models.learned.model import LearnedModel, Prepared
from mbrl_ros.models.learned.saving import build_base, kind_of

__all__ = [
    "REGIME_PARAMETERS",
    "Base",
    "Config",
    "Guard",
    "LearnedModel",
    "Network",
    "Prepared",
    "Regimes",
    "build_base",
    "kind_of",
]
