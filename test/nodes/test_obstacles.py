"""The planner stops before what is published as being in its way, drives on once it is not, and stops at silence."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from mbrl_ros.bringup.graph import Graph, SimulationOptions, config_file, simulation_graph
from mbrl_ros.core.track import Track

pytestmark = [pytest.mark.ros, pytest.mark.timeout(500)]

AHEAD_M = 9.0
"""Just beyond what the planner looks ahead: into what appears within its plan it may go on following that plan."""


def avoiding(planner: Path) -> Graph:
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"] |= {"rollouts": 128, "horizon": 30, "dt_s": 0.06, "backend": "eager"}
    settings["task"] |= {"obstacles": 1}
    planner.write_text(yaml.safe_dump(settings))
    return simulation_graph(SimulationOptions(planner=str(planner), use_sim_time=True, real_time_factor=0.2))


def test_the_car_stops_before_a_wall_drives_on_without_it_and_stops_when_nothing_is_heard(ros_domain, tmp_path):
    from diagnostic_msgs.msg import DiagnosticArray
    from harness import Car, running
    from mbrl_ros.msg import Obstacle, Obstacles, PlannerStatus
    from nav_msgs.msg import Odometry

    from mbrl_ros.nodes.shared import quality

    track = Track.from_csv(config_file("tracks", "demo", ".csv"))
    with running(avoiding(tmp_path / "planner.yaml"), tmp_path / "logs") as (processes, bench):
        bench.listen("/ground_truth", Odometry, quality.STATE)
        bench.listen("/planner/status", PlannerStatus, quality.STATE)
        bench.listen("/diagnostics", DiagnosticArray, quality.STATE)
        publisher = bench.node.create_publisher(Obstacles, "/planner/obstacles", quality.SENSOR)
        car = Car(processes, bench)
        car.wait_for_speed(1.5, timeout_s=240.0)

        def truth():
            return bench.latest("/ground_truth")

        def driven():
            stamps, speeds = car.truth()[begun:].T
            return np.sum(np.diff(stamps) * speeds[1:])

        def position():
            return np.array([truth().pose.pose.position.x, truth().pose.pose.position.y])

        def cost():
            status = bench.latest("/planner/status")
            return dict(zip(status.cost_names, status.costs, strict=True))["obstacles"]

        def publish(*obstacles, frame="odom"):
            message = Obstacles(obstacles=list(obstacles))
            message.header.stamp, message.header.frame_id = truth().header.stamp, frame
            publisher.publish(message)

        def said():
            heard = (status for _, m in reversed(bench.received["/diagnostics"]) for status in m.status)
            return next((status.message for status in heard if status.name == "planner: planning"), "")

        assert cost() < 1e-3
        begun = len(car.truth()) - 1
        place = track.at(float(track.project(position()).s) + AHEAD_M)
        x, y = (float(value) for value in place.position)
        wall = Obstacle(x=x, y=y, yaw=float(place.heading), length=0.2, width=4.0, radius=0.0)
        broken, elsewhere = Obstacle(x=float("nan")), Obstacle(x=position()[0], y=position()[1], radius=3.0)
        publish(broken)
        publish(elsewhere, frame="map")
        timer = bench.node.create_timer(0.1, lambda: publish(wall))
        bench.spin_until(lambda: truth().twist.twist.linear.x < 0.3, 120.0, "stopped before the wall")
        car.drive_for(2.0)  # in which it may creep up to the wall
        assert 0.5 < driven() < AHEAD_M - 0.2  # not a lap further on, either
        assert cost() > 0.0

        bench.node.destroy_timer(timer)
        timer = bench.node.create_timer(0.1, publish)
        bench.spin_until(lambda: cost() < 1e-3, 60.0, "the way is free")
        car.wait_for_speed(1.0)

        bench.node.destroy_timer(timer)
        bench.spin_until(lambda: truth().twist.twist.linear.x < 0.1, 60.0, "stopped for want of obstacles")
        silence = "obstacles are not heard of for more than 0.5 s"
        bench.spin_until(lambda: said() == silence, 60.0, "diagnostics say why")
