"""The trainer, which fits models to recordings as an action."""

from launch import LaunchDescription

from mbrl_ros.bringup.graph import TrainOptions, train_graph
from mbrl_ros.cli.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch mbrl_ros train.launch.py` starts; `--show-args` lists the arguments."""
    return launch_description(TrainOptions, train_graph)
