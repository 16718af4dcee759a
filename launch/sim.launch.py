"""The driving graph with the simulator in the place of the car."""

from launch import LaunchDescription

from mbrl_ros.bringup.graph import SimulationOptions, simulation_graph
from mbrl_ros.cli.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch mbrl_ros sim.launch.py` starts; `--show-args` lists the arguments."""
    return launch_description(SimulationOptions, simulation_graph)
