"""From the start of the planner's process to its first command that moves the car, with a warm cache and a cold one.

    python benchmarks/node_start.py [--planner mppi_f1tenth] [--times 5] [--json FILE]

Simulator, estimator, model server and gate run already; each time a planner is started beside them, timed from the
start of its process, imports included, and stopped. A cold start has an empty cache, so that nothing compiled is there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import rclpy
from ackermann_msgs.msg import AckermannDriveStamped
from mbrl_ros.msg import VehicleState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from mbrl_ros.bringup.graph import Graph, SimulationOptions, simulation_graph
from mbrl_ros.bringup.processes import Processes
from mbrl_ros.nodes.shared import quality

LONGEST_S = 180.0
MOVES_MPS = 0.05


class Listener:
    """When the car's state and the planner's commands are heard."""

    def __init__(self) -> None:
        self.node = Node("listener")
        self.states, self.moving = 0, 0
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.node.create_subscription(VehicleState, "/vehicle_state", self._on_state, quality.STATE)
        self.node.create_subscription(AckermannDriveStamped, "/planner/command", self._on_command, quality.COMMAND)

    def wait_for(self, name: str, processes: Processes) -> None:
        """Spin until the count ``name`` has grown."""
        before, begun = getattr(self, name), time.monotonic()
        while getattr(self, name) == before:
            self._executor.spin_once(timeout_sec=0.01)
            if ended := processes.ended():
                raise SystemExit(f"{ended.node} ended:\n{ended.log.read_text()}")
            if time.monotonic() - begun > LONGEST_S:
                raise SystemExit(f"nothing heard after {LONGEST_S:g} s")

    def _on_state(self, message: VehicleState) -> None:
        self.states += 1

    def _on_command(self, message: AckermannDriveStamped) -> None:
        self.moving += message.drive.speed > MOVES_MPS


def start_s(listener: Listener, planner: Graph, logs: Path, environment: dict[str, str]) -> float:
    """Seconds until the first command of one start."""
    begun = time.monotonic()
    with Processes(planner, logs, environment) as processes:
        listener.wait_for("moving", processes)
        return time.monotonic() - begun


def measured(planner: str, times: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of each start, by how the cache is."""
    nodes = simulation_graph(SimulationOptions(planner=planner)).nodes
    alone = Graph(tuple(spec for spec in nodes if spec.executable == "planner"))
    others = Graph(tuple(spec for spec in nodes if spec.executable != "planner"))
    listener, found = Listener(), {"warm": [], "cold": []}
    with Processes(others, folder / "others") as processes:
        listener.wait_for("states", processes)
        start_s(listener, alone, folder / "first", {})
        for number in range(times):
            cold = {"MBRL_CACHE": str(folder / f"cache_{number}")}
            for name, environment in (("warm", {}), ("cold", cold)):
                found[name].append(start_s(listener, alone, folder / f"{name}_{number}", environment))
    listener.node.destroy_node()
    return found


def main() -> None:
    """Measure, print, and write --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planner", default="mppi_f1tenth", help="name in config/planners or path")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("ROS_DOMAIN_ID", "97")
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    rclpy.init(args=[])
    with tempfile.TemporaryDirectory() as folder:
        found = measured(options.planner, options.times, Path(folder))
    rclpy.try_shutdown()
    for name, seconds in found.items():
        print(f"{name} cache: {median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})")
    if options.json:
        options.json.write_text(json.dumps({"planner": options.planner, **found}, indent=1))


if __name__ == "__main__":
    main()
