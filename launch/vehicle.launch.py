"""The driving graph on a real car's topics."""

from launch import LaunchDescription

from mbrl_ros.bringup.graph import DriveOptions, vehicle_graph
from mbrl_ros.cli.launch_description import launch_description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch mbrl_ros vehicle.launch.py` starts; `--show-args` lists the arguments."""
    return launch_description(DriveOptions, vehicle_graph)
