"""A policy and a value that learn from the searches they guide (AlphaZero, with a given model)."""

from mbrl_ros.learning.alphazero.agent import Agent, Decision
from mbrl_ros.learning.alphazero.network import PolicyValue
from mbrl_ros.learning.alphazero.problem import Problem
from mbrl_ros.learning.alphazero.train import AlphaZeroSettings, Round, evaluate, train

__all__ = ["Agent", "AlphaZeroSettings", "Decision", "PolicyValue", "Problem", "Round", "evaluate", "train"]
