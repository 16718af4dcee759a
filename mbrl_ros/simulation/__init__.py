"""The plant: a published car model, its actuators and its sensors, on simulated time."""

from mbrl_ros.simulation.sensors import Reading
from mbrl_ros.simulation.simulator import Simulator

__all__ = ["Reading", "Simulator"]
