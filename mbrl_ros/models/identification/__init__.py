"""Fitting a parametric model to recorded driving: which parameters, how well, and what the data cannot tell."""

from mbrl_ros.models.identification.identify import identify
from mbrl_ros.models.identification.options import Options
from mbrl_ros.models.identification.result import Estimate, Identification

__all__ = ["Estimate", "Identification", "Options", "identify"]
