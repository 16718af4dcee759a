"""The model server beside a bag that is being played: live prediction errors."""

from launch import LaunchDescription

from mbrl_ros.bringup.graph import ReplayOptions, replay_graph
from mbrl_ros.cli.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch mbrl_ros replay.launch.py` starts; `--show-args` lists the arguments."""
    return launch_description(ReplayOptions, replay_graph)
