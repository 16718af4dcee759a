"""The planner does what trust in the model allows: slower, with the nominal model, not at all."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mbrl_ros.bringup.graph import Graph, SimulationOptions, config_file, simulation_graph

pytestmark = [pytest.mark.ros, pytest.mark.timeout(500)]


def distrustful(planner: Path) -> Graph:
    """The simulated car, its planner told of trust by the test instead of the server."""
    settings = yaml.safe_load(Path(config_file("planners", "mppi_f1tenth", ".yaml")).read_text())
    settings["mppi"] |= {"rollouts": 128, "horizon": 30, "dt_s": 0.06, "backend": "eager"}
    planner.write_text(yaml.safe_dump(settings))
    graph = simulation_graph(SimulationOptions(planner=str(planner), use_sim_time=True, real_time_factor=0.2))
    told = {"/dynamics_server/trust": "/told/trust"}
    return Graph(
        tuple(
            replace(spec, remappings={**spec.remappings, **told}) if spec.executable == "planner" else spec
            for spec in graph.nodes
        )
    )


def test_slower_then_with_the_nominal_model_then_not_at_all(ros_domain, tmp_path):
    from ackermann_msgs.msg import AckermannDriveStamped
    from harness import Car, running
    from mbrl_ros.msg import ModelTrust, PlannerStatus
    from nav_msgs.msg import Odometry

    from mbrl_ros.nodes.shared import quality

    with running(distrustful(tmp_path / "planner.yaml"), tmp_path / "logs") as (processes, bench):
        bench.listen("/ground_truth", Odometry, quality.STATE)
        bench.listen("/drive", AckermannDriveStamped, quality.COMMAND)
        bench.listen("/planner/status", PlannerStatus, quality.STATE)
        trust = bench.node.create_publisher(ModelTrust, "/told/trust", quality.LATCHED)
        car = Car(processes, bench)
        car.wait_for_speed(2.0, timeout_s=240.0)  # nothing heard of trust: as it is
        served = bench.latest("/planner/status").model_id

        def tell(level, cap=float("inf"), nominal=""):
            trust.publish(ModelTrust(level=level, speed_cap=cap, nominal_id=nominal, reason="a test"))

        def speed():
            return bench.latest("/ground_truth").twist.twist.linear.x

        tell(ModelTrust.CAUTIOUS, cap=1.0, nominal=served)
        bench.spin_until(lambda: 0.3 < speed() < 1.3, 60.0, "slower")
        bench.spin_for(3.0)
        assert 0.3 < speed() < 1.3
        tell(ModelTrust.TRUSTED)
        car.wait_for_speed(2.0)

        car.assert_brakes(lambda: tell(ModelTrust.NOMINAL, nominal="no such model"))
        tell(ModelTrust.NOMINAL, cap=1.5, nominal=served)
        car.wait_for_speed(0.8)
        assert bench.latest("/planner/status").model_id == served

        car.assert_brakes(lambda: tell(ModelTrust.STOP, nominal=served))
