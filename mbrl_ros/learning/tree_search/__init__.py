"""A policy and a value that learn from the searches they guide: on given equations (AlphaZero) or on a learned latent
model (MuZero)."""

from mbrl_ros.learning.tree_search.agent import Agent, Decision
from mbrl_ros.learning.tree_search.latent import LatentModel
from mbrl_ros.learning.tree_search.model import GivenModel, SearchModel
from mbrl_ros.learning.tree_search.network import Judgement, PolicyValue
from mbrl_ros.learning.tree_search.problem import Problem
from mbrl_ros.learning.tree_search.settings import Algorithm, TreeSearchSettings
from mbrl_ros.learning.tree_search.train import Round, build, evaluate, train

__all__ = [
    "Agent",
    "Algorithm",
    "Decision",
    "GivenModel",
    "Judgement",
    "LatentModel",
    "PolicyValue",
    "Problem",
    "Round",
    "SearchModel",
    "TreeSearchSettings",
    "build",
    "evaluate",
    "train",
]
