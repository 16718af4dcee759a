"""planner: the executable of `shared.planner_node`, which other nodes get to know while it is still being loaded."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import rclpy

from mbrl_ros.nodes.shared.run import run

if TYPE_CHECKING:
    from mbrl_ros.nodes.shared.planner_node import PlannerNode


def _make() -> PlannerNode:
    # Processes take a second or more to discover each other, and torch as long to be imported; a node makes the first
    # begin, and those that follow in its process are then known at once.
    herald = rclpy.create_node(
        "_planner", use_global_arguments=False, start_parameter_services=False, enable_rosout=False
    )
    gc.disable()  # all of it stays, and looking through it for garbage takes a tenth of the time
    try:
        from mbrl_ros.nodes.shared.planner_node import PlannerNode

        gc.freeze()
        gc.enable()
        return PlannerNode()
    finally:
        herald.destroy_node()


def main() -> None:
    """Run the node."""
    run("planner", _make)


if __name__ == "__main__":
    main()
